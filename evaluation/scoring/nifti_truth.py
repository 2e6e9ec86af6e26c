"""Truth label maps of organisers who keep NIfTI files, put onto the grid of the case's arrays.

NIfTI arrays are x, y, z and cases z, y, x. Which way each axis runs is not stored in a case of the
challenge: its converter (pre_CT_MR.py) takes the voxels in the order of the file, so the same is
done here. A case that states its `orientation` (letters such as LPS, as `data_splits convert`
writes them) gets the truth turned that way. Shape and spacing are checked against the case file.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.dataset import read_case
from evaluation.errors import DatasetError, ScoreError
from evaluation.metrics.label_maps import Labels

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage

NIFTI_SUFFIXES = (".nii.gz", ".nii")

SPACING_TOLERANCE = 1e-3
"""Relative; NIfTI headers hold single precision."""


def read_nifti(path: Path, case_path: Path | None) -> tuple[Labels, tuple[float, ...]]:
    """Labels (D, H, W) or (H, W), and the spacing in mm in that order, ones (pixels) in 2D.

    Without a case file nothing can be checked but the labels themselves. Raises ScoreError for a
    file that cannot be read, for values that are no labels, and for a grid that is not the case's.
    """
    import nibabel  # slow to import, and only needed here

    try:
        image: Any = nibabel.load(path)
        image = _turned(image, _orientation(case_path))
        values = np.squeeze(np.asanyarray(image.dataobj))
        zooms = image.header.get_zooms()
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise ScoreError(f"{path}: expected a NIfTI label map, found: {error}") from error
    if values.ndim not in (2, 3):
        raise ScoreError(f"{path}: label map must be 2D or 3D, found shape {image.shape}")
    labels = np.ascontiguousarray(_labels(path, values).T)
    spacing_mm = (1.0, 1.0) if labels.ndim == 2 else tuple(float(mm) for mm in zooms[2::-1])
    if case_path is not None and case_path.is_file():
        _check_grid(path, case_path, labels, spacing_mm)
    return labels, spacing_mm


def _orientation(case_path: Path | None) -> str:
    """Letters that a case states, towards which x, y and z run; empty where it states none."""
    if case_path is None or not case_path.is_file():
        return ""
    with np.load(case_path, allow_pickle=False) as archive:
        return str(archive["orientation"]) if "orientation" in archive.files else ""


def _turned(image: SpatialImage, orientation: str) -> SpatialImage:
    if not orientation or len(image.shape) < 3:
        return image
    orientations: Any = import_module("nibabel.orientations")  # without types of its own

    if sorted(map("RLAPIS".find, orientation)) not in _AXES:
        raise ValueError(f"orientation of the case: three letters of R/L, A/P, I/S: {orientation}")
    stored = orientations.io_orientation(image.affine)
    wanted = orientations.axcodes2ornt(tuple(orientation))
    turned: SpatialImage = image.as_reoriented(orientations.ornt_transform(stored, wanted))
    return turned


_AXES = [[a, b, c] for a in (0, 1) for b in (2, 3) for c in (4, 5)]
"""One letter of each pair of RLAPIS."""


def _labels(path: Path, values: NDArray[Any]) -> Labels:
    """Integers 0 or above; files often hold them as floating point numbers."""
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            raise ScoreError(f"{path}: labels must be whole numbers, found fractions or NaN")
        values = whole.astype(np.int64)
    if values.dtype.kind not in "biu" or (values.size and values.min() < 0):
        raise ScoreError(f"{path}: labels must be integers, 0 or above, found {values.dtype}")
    return values.astype(np.uint8) if values.dtype.kind == "b" else values


def _check_grid(path: Path, case_path: Path, labels: Labels, spacing_mm: tuple[float, ...]) -> None:
    try:
        shape = read_case(case_path).shape
        with np.load(case_path, allow_pickle=False) as archive:
            stored = archive["spacing"].astype(float) if "spacing" in archive.files else None
    except (DatasetError, OSError, ValueError) as error:
        raise ScoreError(f"{case_path}: expected a case, found: {error}") from error
    if labels.shape != shape:
        raise ScoreError(
            f"{path}: grid must be {shape} (z, y, x) as in {case_path.name}, found {labels.shape}"
        )
    if stored is None or labels.ndim == 2:
        return
    expected = tuple(stored.ravel()[::-1].tolist())
    if len(expected) != 3 or not np.allclose(spacing_mm, expected, rtol=SPACING_TOLERANCE, atol=0):
        raise ScoreError(
            f"{path}: spacing must be {_millimetres(expected)} mm (z, y, x) as in "
            f"{case_path.name}, found {_millimetres(spacing_mm)}"
        )


def _millimetres(spacing_mm: tuple[float, ...]) -> str:
    return " ".join(f"{mm:.6g}" for mm in spacing_mm)
