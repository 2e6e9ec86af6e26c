"""A DICOM series, a multi-frame file or a single picture, by pydicom and highdicom.

Slices are sorted by their positions, never by name or number. What is not one regular volume (a
slice missing, given twice, at uneven distances, turned, or of another size) is refused with the
reason: a volume that is guessed would put masks in the wrong place.
"""

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from data_splits.errors import SourceError, one_line
from data_splits.geometry import Grid
from data_splits.readers.dicom_files import challenge_modality, read_series
from data_splits.readers.dicom_suv import suv_factor
from data_splits.sources import SourceImage

UNEVEN_TOLERANCE = 0.01
"""Largest part of the slice distance by which one position may be off the even grid."""

_DECODING_FAULTS = (RuntimeError, ValueError, AttributeError, NotImplementedError, TypeError)


def read_dicom(path: Path, series_uid: str = "") -> SourceImage:
    """A series (folder) or a file, in rescaled values (HU, for CT)."""
    files = read_series(path, series_uid)
    first = files[0][1]
    if int(first.get("NumberOfFrames") or 1) > 1:
        return _read_multi_frame(files)
    if any("ImagePositionPatient" not in dataset for _, dataset in files):
        return _read_picture(files)
    return _read_slices(files)


def _read_slices(files: list[tuple[Path, Dataset]]) -> SourceImage:
    files, grid, notes = _sorted_slices(files)
    slices = [_rescaled(dataset, _stored(path, dataset), path) for path, dataset in files]
    pixels = np.stack(slices)
    if pixels.ndim != 3:
        raise SourceError(f"{files[0][0].name}: expected grey slices, found colour")
    first = files[0][1]
    frames = {str(dataset.get("FrameOfReferenceUID", "")) for _, dataset in files}
    if len(frames) > 1:
        notes = (*notes, f"slices state {len(frames)} frames of reference; taken for one")
    factor, obstacle = suv_factor(first)
    return SourceImage(
        pixels=pixels,
        grid=grid,
        format="dicom",
        files=tuple(path for path, _ in files),
        modality=challenge_modality(first),
        inverted=str(first.get("PhotometricInterpretation", "")) == "MONOCHROME1",
        suv_factor=factor,
        suv_obstacle=obstacle,
        series_uid=str(first.get("SeriesInstanceUID", "")),
        notes=notes,
    )


def _sorted_slices(
    files: list[tuple[Path, Dataset]],
) -> tuple[list[tuple[Path, Dataset]], Grid, tuple[str, ...]]:
    """Files in the order of their positions, and the grid they make."""
    first = files[0][1]
    try:
        orientation = np.array([float(v) for v in first.ImageOrientationPatient])
        row_mm, column_mm = (float(v) for v in first.PixelSpacing)
        shape = (int(first.Rows), int(first.Columns))
        positions = np.array([[float(v) for v in d.ImagePositionPatient] for _, d in files])
    except (AttributeError, TypeError, ValueError) as error:
        name = files[0][0].name
        raise SourceError(f"{name}: expected position, orientation, spacing: {error}") from error
    for path, dataset in files:
        turned = np.abs(np.array(dataset.get("ImageOrientationPatient"), float) - orientation).max()
        if turned > 1e-3:
            raise SourceError(f"{path.name}: expected slices of one orientation (a localizer?)")
        found = (int(dataset.Rows), int(dataset.Columns))
        spacing = [float(v) for v in dataset.get("PixelSpacing", [])]
        if found != shape or not np.allclose(spacing, [row_mm, column_mm], rtol=1e-4):
            raise SourceError(
                f"{path.name}: expected {shape} pixels of {row_mm:g} x {column_mm:g} mm as in "
                f"{files[0][0].name}, found {found} of {spacing} mm"
            )
    normal = np.cross(orientation[:3], orientation[3:])
    order = np.argsort(positions @ normal, kind="stable")
    files = [files[i] for i in order]
    positions = positions[order]
    step, notes = _slice_step(files, positions, normal)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * column_mm
    affine[:3, 1] = orientation[3:] * row_mm
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    grid = Grid((len(files), *shape), affine)
    grid.require_orthogonal()
    return files, grid, notes


def _slice_step(
    files: list[tuple[Path, Dataset]],
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Vector from a slice to the next, in mm; refuses positions that are not evenly spaced."""
    if len(files) == 1:
        first = files[0][1]
        for key in ("SpacingBetweenSlices", "SliceThickness"):
            if float(first.get(key) or 0) > 0:
                return normal * float(first[key].value), (f"one slice: z spacing from {key}",)
        return normal, ("one slice without thickness: z spacing 1 mm assumed",)
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        pair = f"{files[index][0].name} and {files[index + 1][0].name}"
        if gap < 1e-3:
            raise SourceError(
                f"{pair}: expected one slice a position, found both at "
                f"{float(positions[index] @ normal):.3f} mm (several phases or echoes?)"
            )
        if abs(gap - usual) > UNEVEN_TOLERANCE * usual:
            skipped = gap / usual - 1
            whole = skipped > 0.5 and abs(skipped - round(skipped)) < 0.05
            what = f"{round(skipped)} slice(s) missing" if whole else "slices unevenly spaced"
            raise SourceError(
                f"{pair}: expected {usual:.4g} mm between slices, found {gap:.4g} mm: {what}"
            )
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(files) - 1)
    even = positions[0] + np.arange(len(files))[:, None] * step
    if np.abs(even - positions).max() > UNEVEN_TOLERANCE * usual * 2:
        raise SourceError(f"{files[0][0].parent.name}: expected slices on a straight line")
    return step, ()


def _read_multi_frame(files: list[tuple[Path, Dataset]]) -> SourceImage:
    """An enhanced CT, MR or PET file, whose frames have positions."""
    path, dataset = files[0]
    frames = int(dataset.NumberOfFrames)
    if len(files) > 1:
        raise SourceError(f"{path.parent.name}: expected one multi-frame file, found {len(files)}")
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        raise SourceError(
            f"{path.name}: expected frames with positions, found {frames} without any "
            "(a film or legacy multi-frame file); convert single frames"
        )
    try:
        volume = hd.image.Image.from_dataset(dataset).get_volume(dtype=np.float32)
    except Exception as error:  # highdicom checks by many kinds of exceptions
        raise SourceError(
            f"{path.name}: expected {frames} frames of one regular volume, found: {one_line(error)}"
        ) from error
    pixels = np.asarray(volume.array)
    if pixels.ndim != 3:
        raise SourceError(f"{path.name}: expected grey frames, found {pixels.shape}")
    affine = np.asarray(volume.affine, np.float64)[:, [2, 1, 0, 3]]  # highdicom: z, y, x
    grid = Grid((pixels.shape[0], pixels.shape[1], pixels.shape[2]), affine)
    grid.require_orthogonal()
    return SourceImage(
        pixels=pixels,
        grid=grid,
        format="dicom",
        files=(path,),
        modality=challenge_modality(dataset),
        inverted=str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1",
        suv_obstacle="a multi-frame file has no factor of its own; convert its values first",
        series_uid=str(dataset.get("SeriesInstanceUID", "")),
    )


def _read_picture(files: list[tuple[Path, Dataset]]) -> SourceImage:
    """A picture without a place in the patient: X-ray, mammogram, ultrasound, photograph."""
    path, dataset = files[0]
    if len(files) > 1:
        raise SourceError(
            f"{path.parent.name}: expected slices with ImagePositionPatient, "
            f"found {len(files)} files without; convert them one by one"
        )
    pixels = _rescaled(dataset, _stored(path, dataset), path)
    return SourceImage(
        pixels=pixels,
        grid=None,
        format="dicom",
        files=(path,),
        modality=challenge_modality(dataset),
        inverted=str(dataset.get("PhotometricInterpretation", "")) == "MONOCHROME1",
        series_uid=str(dataset.get("SeriesInstanceUID", "")),
    )


def _stored(path: Path, dataset: Dataset) -> NDArray[Any]:
    """Decoded pixels, (H, W) or (H, W, 3) in RGB; by GDCM where pydicom has no decoder.

    Raises SourceError for a truncated file or a transfer syntax that nothing here reads.
    """
    try:
        pixels = pixel_array(dataset)  # (H, W[, 3]), YBR made RGB
        if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
            return np.asarray(pixels >> 8 if pixels.dtype.itemsize > 1 else pixels)
        return np.asarray(pixels)
    except _DECODING_FAULTS as error:
        first_error = one_line(error)
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None or not syntax.is_compressed:
        raise SourceError(f"{path.name}: expected readable pixels, found: {first_error}")
    try:
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(image)[0].astype(np.float64)
    except (RuntimeError, IndexError):
        raise SourceError(
            f"{path.name}: expected a transfer syntax that can be decoded, found {syntax.name}: "
            f"{first_error[:160]}; decompress it first (gdcmconv --raw)"
        ) from None
    slope, intercept = _rescale_of(dataset)  # ITK has rescaled already
    return np.asarray(np.round((values - intercept) / slope).astype(np.int32))


def _rescale_of(dataset: Dataset) -> tuple[float, float]:
    slope = float(dataset.get("RescaleSlope", 1) or 1)
    return slope, float(dataset.get("RescaleIntercept", 0) or 0)


def _rescaled(dataset: Dataset, stored: NDArray[Any], path: Path) -> NDArray[np.generic]:
    """Stored values -> values of the modality; whole numbers stay whole.

    Pixels that the file calls padding take the least of the other values, so that a frame of -2000
    does not stretch a picture's greys.
    """
    if stored.ndim == 3:
        return stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    if "PixelPaddingValue" in dataset:
        padding = stored == dataset.PixelPaddingValue
        if padding.any() and not padding.all():
            stored = np.where(padding, stored[~padding].min(), stored)
    slope, intercept = _rescale_of(dataset)
    if slope == 1 and intercept == int(intercept):
        return stored.astype(np.int32) + np.int32(intercept)
    return (stored * slope + intercept).astype(np.float32)
