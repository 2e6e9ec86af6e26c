"""Labels that lie beside a DICOM series: segmentations (SEG) and contours (RTSTRUCT)."""

from collections import defaultdict
from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from data_splits.errors import SourceError, one_line
from data_splits.geometry import Grid, move
from data_splits.readers.dicom_files import read_dataset
from data_splits.readers.polygons import fill_polygons
from data_splits.sources import SourceImage, SourceLabels, paint

OFF_SLICE_TOLERANCE = 0.1
"""Part of the slice distance by which a contour may lie off its slice without a note."""


def read_dicom_labels(path: Path, image: SourceImage) -> SourceLabels:
    """Labels of a SEG or RTSTRUCT file on the grid of ``image``."""
    dataset = read_dataset(path)
    kind = str(dataset.get("Modality", ""))
    if image.grid is None:
        raise SourceError(f"{path.name}: expected an image with positions, found a plain picture")
    if kind == "SEG":
        return _read_seg(path, dataset, image.grid)
    if kind == "RTSTRUCT":
        return _read_contours(path, dataset, image.grid)
    raise SourceError(f"{path.name}: expected a DICOM SEG or RTSTRUCT, found {kind or 'neither'}")


def _read_seg(path: Path, dataset: Dataset, grid: Grid) -> SourceLabels:
    """Every segment as the label of its number; fractional ones from one half on."""
    masks, values, names = [], [], []
    try:
        seg = hd.seg.Segmentation.from_dataset(dataset)
        for number in seg.segment_numbers:
            volume = seg.get_volume(
                segment_numbers=[number], combine_segments=False, allow_missing_positions=True
            )
            affine = np.asarray(volume.affine, np.float64)[:, [2, 1, 0, 3]]
            array = np.asarray(volume.array)[..., 0]
            own = Grid((array.shape[0], array.shape[1], array.shape[2]), affine)
            masks.append(move(array >= 0.5, own, grid, what=f"{path.name}, segment {number}"))
            values.append(int(number))
            names.append(str(seg.get_segment_description(number).segment_label))
    except SourceError:
        raise
    except Exception as error:  # highdicom checks by many kinds of exceptions
        raise SourceError(f"{path.name}: expected a DICOM SEG, found: {one_line(error)}") from error
    labels, notes = paint([np.asarray(m, bool) for m in masks], values, names)
    return SourceLabels(labels, grid, dict(zip(values, names, strict=True)), notes)


def _read_contours(path: Path, dataset: Dataset, grid: Grid) -> SourceLabels:
    """Every region of interest as the label of its number; points and open contours are left out.

    A voxel belongs to a region if its centre lies inside an odd number of its contours in that
    slice, so that a contour within a contour is a hole.
    """
    names = {
        int(item.ROINumber): str(item.get("ROIName", ""))
        for item in dataset.get("StructureSetROISequence", [])
    }
    to_index = np.linalg.inv(grid.affine_lps).astype(np.float64)
    masks, values, notes = [], [], []
    for item in dataset.get("ROIContourSequence", []):
        number = int(item.ReferencedROINumber)
        name = names.get(number, "")
        contours, left_out = _closed_contours(item, path)
        if left_out:
            notes.append(f"{name or number}: {left_out} contour(s) that are not closed left out")
        if contours:
            mask, off = _filled(path.name, name or str(number), contours, to_index, grid)
            notes += off
            masks.append(mask)
            values.append(number)
    if not masks:
        raise SourceError(f"{path.name}: expected closed contours, found none")
    labels, lost = paint(masks, values, [names.get(v, "") for v in values])
    return SourceLabels(labels, grid, {v: names.get(v, "") for v in values}, (*notes, *lost))


def _closed_contours(item: Dataset, path: Path) -> tuple[list[NDArray[np.float64]], int]:
    contours, left_out = [], 0
    for contour in item.get("ContourSequence", []):
        if not str(contour.get("ContourGeometricType", "")).startswith("CLOSED_PLANAR"):
            left_out += 1
            continue
        data = contour.get("ContourData") or []
        if len(data) % 3:
            raise SourceError(f"{path.name}: expected x, y, z of each point, found {len(data)}")
        points = np.array([float(v) for v in data], np.float64).reshape(-1, 3)
        if len(points) > 2:
            contours.append(points)
        else:
            left_out += 1
    return contours, left_out


def _filled(
    file: str, name: str, contours: list[NDArray[np.float64]], to_index: NDArray[np.float64],
    grid: Grid,
) -> tuple[NDArray[np.bool_], list[str]]:  # fmt: skip
    """Mask (D, H, W) of contours in mm, and notes about those that lie between slices."""
    by_slice: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    farthest = 0.0
    for points in contours:
        index = points @ to_index[:3, :3].T + to_index[:3, 3]  # x, y, z
        depth = float(index[:, 2].mean())
        if np.ptp(index[:, 2]) > 0.5:
            raise SourceError(
                f"{file}: {name}: expected contours in the plane of the slices, "
                f"found one that crosses {np.ptp(index[:, 2]):.1f} of them"
            )
        if not -0.5 <= depth <= grid.shape_zyx[0] - 0.5:
            raise SourceError(
                f"{file}: {name}: expected contours on slices 0 to {grid.shape_zyx[0] - 1}, "
                f"found one at {depth:.2f}; is this the series that was drawn on?"
            )
        farthest = max(farthest, abs(depth - round(depth)))
        by_slice[min(max(round(depth), 0), grid.shape_zyx[0] - 1)].append(index[:, :2])
    mask = np.zeros(grid.shape_zyx, np.bool_)
    for depth_index, polygons in by_slice.items():
        mask[depth_index] = fill_polygons(polygons, grid.shape_zyx[1:])
    if farthest > OFF_SLICE_TOLERANCE:
        return mask, [
            f"{name}: contours lie up to {farthest:.2f} slices off; the nearest was taken"
        ]
    return mask, []
