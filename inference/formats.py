"""NIfTI volumes and PNG pictures beside npz cases: read with their boxes, answered in kind.

A picture or volume is a case when a boxes file next to it speaks of it
(:mod:`inference.box_lists`).  Numbers are pixels or voxels *of the file*, counted from 0, x first,
both ends inside; the answer is a label map of the file's own shape, type and place.

Volumes are turned to the slices that the scanner took before they are segmented, and back after.
nibabel and Pillow are imported by the first file that needs them; npz cases need neither.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.box_lists import NIFTI, PNG, SUFFIXES, Rows, boxes_of, folder_list, has_own_list
from inference.case import Case, make_case, write_whole
from inference.errors import CaseError
from inference.modality import UNKNOWN, modality_of
from inference.npz import MAX_IMAGE_BYTES

HU_LOW, HU_HIGH = -160.0, 240.0
"""Ends of the CT window: level 40, width 400."""

AIR_HU = -500
"""A volume of unknown modality that reaches below is taken for CT."""

PERCENTILES = (0.5, 99.5)
"""Of the voxels above 0, for other volumes."""

ACQUIRED_RATIO = 1.5
"""A volume whose coarsest spacing is this many times the next was taken slice by slice."""

_VIEWS = {0: "PIL", 1: "LIP", 2: "LPS"}
"""By the patient axis that slices are stacked along: where x, y and z of the case grow to."""

Labels = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Scan:
    """A picture or volume as a case, and how to write its answer."""

    case: Case
    modality: str
    write: Callable[[Path, Labels], None]
    """Writes labels of the case's shape to a path in the file's own format."""


def picture_files(folder: Path, names: list[str]) -> list[Path]:
    """The NIfTI and PNG files among ``names`` that a boxes file speaks of, and those that it names
    and that are not there: they are refused when they are read.

    Raises UsageError for a boxes file that cannot be read.
    """
    pictures = [name for name in names if name.lower().endswith(SUFFIXES)]
    listed = folder_list(folder, names)
    asked = {n for n in pictures if n in listed or has_own_list(folder / n, names)}
    lost = {Path(n).name for n in listed if n.lower().endswith(SUFFIXES)} - set(names)
    return [folder / n for n in asked | lost]


def read_scan(path: Path) -> Scan:
    """Read a picture or volume with its boxes; raises CaseError with the reason."""
    try:
        if not path.is_file():
            raise CaseError("expected the file that boxes.json or boxes.csv names, found none")
        flat = path.name.lower().endswith(PNG)
        rows = boxes_of(path, flat)
        return _read_png(path, rows) if flat else _read_nifti(path, rows)
    except CaseError as error:
        raise CaseError(f"{path.name}: {error}") from None


def _read_png(path: Path, rows: Rows) -> Scan:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as image:
            grey = image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")
            pixels = np.array(image if grey else image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise CaseError(f"expected a readable PNG, found: {error}") from error
    except Image.DecompressionBombError as error:
        raise CaseError(f"expected a picture of a usual size, found: {error}") from error
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[:, :, 0]
    boxes = np.array([[row[0], row[1], row[3], row[4]] for row in rows]).reshape(-1, 4)
    return Scan(make_case(path.name, pixels, boxes), modality_of(path.name), _write_png)


def _write_png(path: Path, labels: Labels) -> None:
    from PIL import Image

    if labels.dtype.itemsize > 2:
        raise CaseError(f"{path.name}: expected at most 65535 boxes for a PNG")
    write_whole(path, lambda partial: Image.fromarray(labels).save(partial, "PNG"), ".png")


def _read_nifti(path: Path, rows: Rows) -> Scan:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nib.load(path)
        shape = tuple(n for i, n in enumerate(image.shape) if i < 3 or n != 1)
        if len(shape) != 3 or int(np.prod(shape, dtype=np.int64)) > MAX_IMAGE_BYTES:
            raise CaseError(f"expected one volume (x, y, z), found {image.shape}")
        values = np.asanyarray(image.dataobj).reshape(shape)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise CaseError(f"expected a readable NIfTI, found: {error}") from error
    ornt, back = _orientations(image.affine)
    turned = nib.orientations.apply_orientation(values, ornt)  # (x, y, z) as looked at
    modality = modality_of(path.name)
    if modality == UNKNOWN and float(values.min()) < AIR_HU:
        modality = "CT"
    greys = _windowed(turned, modality).transpose(2, 1, 0)  # (D, H, W)
    boxes = _turned_boxes(rows, ornt, shape)

    def write(target: Path, labels: Labels) -> None:
        stored = nib.orientations.apply_orientation(labels.transpose(2, 1, 0), back)
        header = image.header.copy()
        header.set_data_dtype(stored.dtype)
        header["scl_slope"], header["scl_inter"] = 1, 0
        header["cal_min"] = header["cal_max"] = 0
        made = type(image)(stored, image.affine, header)
        ending = next(suffix for suffix in NIFTI if target.name.lower().endswith(suffix))
        write_whole(target, lambda partial: nib.save(made, partial), ending)

    return Scan(make_case(path.name, greys, boxes), modality, write)


def _orientations(
    affine: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """nibabel's orientations that turn a volume to its acquired slices, as usually looked at, and
    back."""
    import nibabel as nib

    stored = nib.orientations.io_orientation(affine)
    if np.isnan(stored).any():
        raise CaseError("expected an affine that can be inverted, found a flat one")
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    order = np.argsort(spacing)
    stacked = 2
    if spacing[order[2]] >= ACQUIRED_RATIO * spacing[order[1]]:
        stacked = int(stored[order[2], 0])
    view = nib.orientations.axcodes2ornt(_VIEWS[stacked])
    transform = nib.orientations.ornt_transform
    return transform(stored, view), transform(view, stored)


def _turned_boxes(
    rows: Rows, ornt: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Boxes in voxels of the file as boxes of the turned volume."""
    given = np.array(rows, np.float64).reshape(-1, 6)
    boxes = np.empty_like(given)
    for axis in range(3):
        to, flip = int(ornt[axis, 0]), ornt[axis, 1] < 0
        low, high = given[:, axis], given[:, axis + 3]
        last = shape[axis] - 1
        boxes[:, to], boxes[:, to + 3] = (last - high, last - low) if flip else (low, high)
    return boxes


def _windowed(values: NDArray[Any], modality: str) -> NDArray[np.uint8]:
    """0..255: HU 40/400 for CT, else percentiles of what is above 0."""
    if values.dtype.kind not in "iuf" or values.size == 0:
        raise CaseError(f"expected real numbers, found {values.dtype} {values.shape}")
    if values.dtype.kind == "f" and not np.isfinite([values.min(), values.max()]).all():
        raise CaseError("expected finite values, found NaN or infinite")
    if modality == "CT":
        low, high = HU_LOW, HU_HIGH
    else:
        positive = values[values > 0]
        if positive.size == 0:
            return np.zeros(values.shape, np.uint8)
        low, high = (float(v) for v in np.percentile(positive, PERCENTILES))
    greys = np.clip(values.astype(np.float32), low, high) - low
    greys *= 255.0 / max(high - low, 1e-6)
    if modality != "CT":
        greys[values == 0] = 0
    return greys.astype(np.uint8)
