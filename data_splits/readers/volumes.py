"""NIfTI by nibabel; NRRD, MetaImage and anything else of ITK's by SimpleITK."""

import re
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from data_splits.errors import SourceError, one_line
from data_splits.geometry import Grid, grid_from_ras
from data_splits.sources import SourceImage, SourceLabels, label_type

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")

_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
"""By NIfTI's xyzt_units; unknown is taken for mm, as every other reader does."""


def read_volume(path: Path) -> SourceImage:
    """A volume with its grid; raises SourceError when it is none."""
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        pixels, grid, notes = _read_nifti(path)
        kind = "nifti"
    else:
        pixels, grid, _ = _read_itk(path)
        kind, notes = ("nrrd" if path.suffix.lower() in (".nrrd", ".nhdr") else "mha"), ()
    if pixels.ndim != 3:
        raise SourceError(f"{path.name}: expected one value a voxel, found {pixels.shape[-1]}")
    _require_finite(path, pixels)
    return SourceImage(pixels, grid, kind, (path,), notes=notes)


def read_label_volume(path: Path) -> SourceLabels:
    """A label map with its grid, and names where the file has them (3D Slicer's .seg.nrrd)."""
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        values, grid, notes = _read_nifti(path)
        names: dict[int, str] = {}
    else:
        values, grid, metadata = _read_itk(path)
        names, values = _slicer_segments(values, metadata)
        notes = ()
    if values.ndim != 3:
        raise SourceError(f"{path.name}: expected one label a voxel, found {values.shape[-1]}")
    return SourceLabels(whole_labels(path.name, values), grid, names, notes)


def whole_labels(name: str, values: NDArray[np.generic]) -> NDArray[np.unsignedinteger]:
    """``values`` as unsigned labels; refuses negative ones and fractions."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise SourceError(f"{name}: expected whole labels, found {values.dtype}")
    if values.size == 0:
        return values.astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all() or low < 0 or high >= 1 << 32:
        raise SourceError(f"{name}: expected labels of 0 or more, found {low:g} to {high:g}")
    labels = values.astype(label_type(int(high)), copy=False)
    if values.dtype.kind == "f" and not np.array_equal(labels, values):
        raise SourceError(f"{name}: expected whole labels, found fractions (a soft mask?)")
    return labels


def _read_nifti(path: Path) -> tuple[NDArray[np.generic], Grid, tuple[str, ...]]:
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)  # (x, y, z, ...), scaled where the header says so
    except (ImageFileError, OSError, ValueError, EOFError, zlib.error, OverflowError) as error:
        raise SourceError(
            f"{path.name}: expected a readable NIfTI, found: {one_line(error)}"
        ) from error
    if values.dtype.kind not in "iufb":
        raise SourceError(f"{path.name}: expected real numbers, found {values.dtype}")
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    while values.ndim < 3:
        values = values[..., None]
    if values.ndim > 3:
        raise SourceError(
            f"{path.name}: expected one volume (x, y, z), found {values.shape}; split the series"
        )
    notes = []
    header = image.header
    factor = 1.0
    if hasattr(header, "get_xyzt_units"):
        unit = header.get_xyzt_units()[0]
        factor = _MM_PER_UNIT.get(unit, 1.0)
        if factor != 1.0:
            notes.append(f"geometry is in {unit} and was made mm")
        if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
            notes.append("header states no orientation; NIfTI's default (x to the left) was taken")
    affine = np.diag([factor, factor, factor, 1.0]) @ np.asarray(image.affine, np.float64)
    shape_zyx = (values.shape[2], values.shape[1], values.shape[0])
    return values.transpose(2, 1, 0), grid_from_ras(shape_zyx, affine), tuple(notes)


def _read_itk(path: Path) -> tuple[NDArray[np.generic], Grid, dict[str, str]]:
    """Values (D, H, W) or (D, H, W, C), grid, and the file's own fields."""
    try:
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(image)
    except RuntimeError as error:
        lines = [s for s in str(error).splitlines() if s.strip()]
        raise SourceError(
            f"{path.name}: expected a readable volume, found: {' '.join(lines[-1:]).strip()}"
        ) from error
    if image.GetDimension() == 2:
        image, values = sitk.JoinSeries(image), values[None]
    if image.GetDimension() != 3:
        raise SourceError(
            f"{path.name}: expected one volume (x, y, z), found {image.GetDimension()} axes"
        )
    if values.dtype.kind not in "iuf":
        raise SourceError(f"{path.name}: expected real numbers, found {values.dtype}")
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return values, Grid((values.shape[0], values.shape[1], values.shape[2]), affine), metadata


def _slicer_segments(
    values: NDArray[np.generic], metadata: dict[str, str]
) -> tuple[dict[int, str], NDArray[np.generic]]:
    """Names by value of a .seg.nrrd, whose layers, which may overlap, become one.

    Labels of later layers, numbered on after those of the layers before, lie over earlier ones.
    """
    segments = sorted({m.group(1) for key in metadata if (m := re.match(r"(Segment\d+)_", key))})
    names: dict[int, str] = {}
    if values.ndim == 3:
        for segment in segments:
            value = metadata.get(f"{segment}_LabelValue", "")
            if value.isdigit():
                names[int(value)] = metadata.get(f"{segment}_Name", segment)
        return names, values
    merged = np.zeros(values.shape[:3], np.uint32)
    for segment in segments:
        layer = int(metadata.get(f"{segment}_Layer", "0"))
        number = len(names) + 1
        names[number] = metadata.get(f"{segment}_Name", segment)
        merged[values[..., layer] == int(metadata.get(f"{segment}_LabelValue", "1"))] = number
    return names, merged if segments else values


def _require_finite(path: Path, pixels: NDArray[np.generic]) -> None:
    if pixels.size == 0:
        raise SourceError(f"{path.name}: expected at least one voxel, found {pixels.shape}")
    if pixels.dtype.kind == "f" and not (np.isfinite(pixels.min()) and np.isfinite(pixels.max())):
        count = int((~np.isfinite(pixels)).sum())
        raise SourceError(f"{path.name}: expected finite values, found {count} NaN or infinite")
