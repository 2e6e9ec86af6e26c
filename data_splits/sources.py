"""What a reader returns: an image or labels with their place, before anything is converted."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_splits.geometry import Grid


@dataclass(frozen=True)
class SourceImage:
    """A picture or volume in the units of its file."""

    pixels: NDArray[np.generic]
    """(D, H, W) with a grid; (H, W) or (H, W, 3) without."""
    grid: Grid | None
    """None for a picture that lies nowhere."""
    format: str
    """``nifti``, ``nrrd``, ``mha``, ``dicom``, ``picture`` or ``openkbp``."""
    files: tuple[Path, ...]
    """What was read; of a DICOM series in the order of the slices."""
    modality: str | None = None
    """As the file says, in the challenge's words (CT, MR, PET, ...); None if it does not."""
    inverted: bool = False
    """Whether low values are to be shown bright (DICOM MONOCHROME1)."""
    suv_factor: float | None = None
    """What makes SUV (g/mL, body weight) of the values; None where the tags do not tell."""
    suv_obstacle: str = "the file is no DICOM PET series"
    """Why there is no factor."""
    series_uid: str = ""
    notes: tuple[str, ...] = ()
    """What was assumed or put right while reading, for the person who converts."""


@dataclass(frozen=True)
class SourceLabels:
    """Labels as their file numbers them: 0 is background."""

    labels: NDArray[np.unsignedinteger]
    """(D, H, W) with a grid, else (H, W)."""
    grid: Grid | None
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of the values that have one."""
    notes: tuple[str, ...] = ()


def paint(
    masks: Sequence[NDArray[np.bool_]], values: Sequence[int], names: Sequence[str]
) -> tuple[NDArray[np.unsignedinteger], tuple[str, ...]]:
    """One label map of masks that may overlap, and a note for each that lost voxels.

    Larger masks are painted first, so that what lies inside another object stays whole: an outline
    of the heart's outer wall and one of the inner become a ring and a disc.
    """
    kind = label_type(max(values, default=0))
    labels: NDArray[np.unsignedinteger] = np.zeros(masks[0].shape, kind)
    sizes = [int(np.count_nonzero(mask)) for mask in masks]
    for index in sorted(range(len(masks)), key=lambda i: (-sizes[i], i)):
        labels[masks[index]] = values[index]
    notes = []
    for mask, value, name, size in zip(masks, values, names, sizes, strict=True):
        lost = size - int(np.count_nonzero(labels[mask] == value))
        if lost:
            notes.append(f"{name or value}: {lost} of {size} voxels lie under smaller objects")
    return labels, tuple(notes)


def label_type(largest: int) -> type[np.unsignedinteger]:
    """Smallest unsigned type that holds ``largest``."""
    return np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.uint32


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of the bytes of one file; of several, that of their digests in ascending order."""
    each = []
    for path in files:
        with path.open("rb") as stream:
            each.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(each) == 1:
        return each[0]
    return hashlib.sha256("\n".join(sorted(each)).encode()).hexdigest()
