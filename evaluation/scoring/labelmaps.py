"""Label maps on disk: the truth of a case (`gts`) and a team's mask (`segs`).

Both are read from npz files that may hold anything: nothing is unpickled, and a mask is
decompressed only after its header has declared the truth's shape and an integer type, so that a
small file cannot fill the memory. Organisers who keep their truth as NIfTI need not convert it (see
`nifti_truth`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluation.dataset import array_headers
from evaluation.errors import DatasetError, ScoreError
from evaluation.metrics.label_maps import LabelMap, Labels, map_labels
from evaluation.running.outcomes import Status
from evaluation.scoring.nifti_truth import NIFTI_SUFFIXES, read_nifti

MISSING = str(Status.MISSING_OUTPUT)
UNREADABLE = str(Status.UNREADABLE_OUTPUT)
WRONG_SHAPE = str(Status.WRONG_SHAPE)
WRONG_TYPE = str(Status.WRONG_TYPE)
"""What can be wrong with a mask; the values are statuses of a case in scores.csv."""


class MaskFault(ScoreError):
    """A team's mask cannot be scored; `status` is one of the four constants of this module."""

    def __init__(self, status: str, reason: str) -> None:
        """Keep the status beside the message."""
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Truth:
    """Truth labels of a case and the grid that they live on."""

    labels: Labels
    spacing_mm: tuple[float, ...]
    """In the order of the array's axes; ones (pixels) in 2D."""
    spacing_origin: str
    """Where the spacing comes from: `truth`, `case`, `pixels` (2D) or `assumed` (1 mm, none
    stored)."""
    known_map: LabelMap | None = field(default=None, repr=False, compare=False)
    """Of the labels, where it was kept."""

    @cached_property
    def map(self) -> LabelMap:
        """Its labels, sizes and boxes, worked out once for all teams."""
        return self.known_map or map_labels(self.labels)


def truth_file(folder: Path, case: str) -> Path:
    """The truth of a case in a folder: its npz, or else its NIfTI file."""
    names = [f"{case}{suffix}" for suffix in (".npz", *NIFTI_SUFFIXES)]
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def truth_cases(folder: Path) -> list[str]:
    """Cases that a folder has a truth of, by name."""
    suffixes = (".npz", *NIFTI_SUFFIXES)
    names = [path.name for path in folder.iterdir() if path.name.endswith(suffixes)]
    return sorted({name.removesuffix(next(filter(name.endswith, suffixes))) for name in names})


def read_truth(path: Path, case_path: Path | None = None) -> Truth:
    """Read `gts` of one case; the spacing of a volume may lie in the case file instead.

    Files store the spacing as x, y, z and arrays as z, y, x (pre_CT_MR.py writes SimpleITK's
    GetSpacing next to GetArrayFromImage), so it is reversed here; the organisers' script forgets
    to. Where there is no npz but a NIfTI file of the same name, that is the truth. Raises
    ScoreError for a truth that is missing or no label map.
    """
    if not path.is_file():
        path = truth_file(path.parent, path.stem)
    if not path.is_file():
        raise ScoreError(f"{path}: expected the truth of a case, found no such file")
    if path.name.endswith(NIFTI_SUFFIXES):
        labels, spacing_mm = read_nifti(path, case_path)
        return Truth(labels, spacing_mm, "truth" if labels.ndim == 3 else "pixels")
    try:
        shape, dtype = _declared(path, "gts")
        if len(shape) not in (2, 3) or dtype.kind not in "biu":
            raise ScoreError(
                f"{path}: gts must be integer and (H, W) or (D, H, W), found {dtype} {shape}"
            )
        labels = _read(path, "gts")
        if _has_negative(labels):
            raise ScoreError(f"{path}: gts must be 0 or above, found {labels.min()}")
        spacing_mm, origin = _spacing(path, case_path, len(shape))
    except ScoreError:
        raise
    except MemoryError:  # of ours, and no fault of the file
        raise
    except Exception as error:
        raise ScoreError(f"{path}: expected a truth npz with gts, found: {error}") from error
    return Truth(labels, spacing_mm, origin)


def read_mask(path: Path, shape: tuple[int, ...]) -> Labels:
    """Read a team's `segs`, which must be integer, 0 or above and of the truth's shape.

    Raises MaskFault with a status and a reason for everything else.
    """
    if not path.is_file() or path.is_symlink():
        raise MaskFault(MISSING, f"{path.name}: expected a mask file, found none")
    try:
        found_shape, dtype = _declared(path, "segs")
    except DatasetError as error:
        raise MaskFault(UNREADABLE, str(error)) from error
    if dtype.kind not in "biu":
        name = "pickled objects" if dtype.hasobject else str(dtype)
        raise MaskFault(WRONG_TYPE, f"{path.name}: segs must be integer, found {name}")
    if found_shape != shape:
        raise MaskFault(WRONG_SHAPE, f"{path.name}: segs must be {shape}, found {found_shape}")
    try:
        labels = _read(path, "segs")
    except MemoryError:  # of ours, and no fault of the file
        raise
    except Exception as error:  # what a stranger's bytes raise is no closed set
        raise MaskFault(UNREADABLE, f"{path.name}: segs cannot be read: {error}") from error
    if _has_negative(labels):
        raise MaskFault(
            WRONG_TYPE, f"{path.name}: segs must be 0 or above, found {int(labels.min())}"
        )
    return labels


def read_mask_leniently(path: Path, shape: tuple[int, ...]) -> Labels:
    """Read a team's `segs` as the organisers' script compares it, of any number type.

    Only values that equal a label count there, so that fractions and negative ones become 0.
    Raises MaskFault where the script would crash; that NumPy stretches some other shapes is left
    out.
    """
    try:
        return read_mask(path, shape)
    except MaskFault as fault:
        if fault.status != WRONG_TYPE:
            raise
        strict = fault
    found_shape, dtype = _declared(path, "segs")
    if found_shape != shape or dtype.kind not in "if":
        raise strict
    try:
        values = _read(path, "segs")
    except MemoryError:  # of ours, and no fault of the file
        raise
    except Exception as error:  # what a stranger's bytes raise is no closed set
        raise MaskFault(UNREADABLE, f"{path.name}: segs cannot be read: {error}") from error
    with np.errstate(invalid="ignore"):
        labels: Labels = np.where(values > 0, values, 0).astype(np.int64)
    return np.where(labels == values, labels, 0)


def _declared(path: Path, key: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    headers = array_headers(path)
    if key not in headers:
        found = ", ".join(sorted(headers)) or "nothing"
        raise DatasetError(f"{path.name}: expected key {key}, found {found}")
    return headers[key]


def _read(path: Path, key: str) -> Labels:
    """Read one array; a boolean one becomes labels 0 and 1."""
    with np.load(path, allow_pickle=False) as archive:
        labels: Labels = archive[key]
    return labels.astype(np.uint8) if labels.dtype.kind == "b" else labels


def _has_negative(labels: Labels) -> bool:
    return labels.dtype.kind == "i" and labels.size > 0 and bool(labels.min() < 0)


def _spacing(path: Path, case_path: Path | None, dimensions: int) -> tuple[tuple[float, ...], str]:
    if dimensions == 2:
        return (1.0, 1.0), "pixels"
    for origin, source in (("truth", path), ("case", case_path)):
        if source is None or not source.is_file():
            continue
        with np.load(source, allow_pickle=False) as archive:
            if "spacing" not in archive.files:
                continue
            xyz = np.asarray(archive["spacing"], dtype=np.float64).ravel()
        if xyz.shape != (3,) or not np.isfinite(xyz).all() or (xyz <= 0).any():
            raise ScoreError(f"{source}: spacing must be 3 positive numbers, found {xyz.tolist()}")
        return (float(xyz[2]), float(xyz[1]), float(xyz[0])), origin
    return (1.0, 1.0, 1.0), "assumed"
