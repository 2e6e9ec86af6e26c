"""Formats of two open data sets that are plain text: OpenKBP's sparse CSV, Sunnybrook's contours.

They are read by NumPy and csv; there is no library for either.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_splits.errors import SourceError
from data_splits.geometry import Grid
from data_splits.readers.polygons import fill_polygons
from data_splits.sources import SourceImage, SourceLabels, paint

OPENKBP_SHAPE = (128, 128, 128)
"""y, x, z; the flat index runs over it in C order (ababier/open-kbp); x to the left, y to the back,
z to the feet, as the parotids' names and the pictures show."""

_NOT_ORGANS = ("ct", "dose", "voxel_dimensions", "possible_dose_mask")

_WALLS = {"icontour": "endocardium", "ocontour": "epicardium"}


def is_openkbp(folder: Path) -> bool:
    """Whether a folder is a patient of OpenKBP."""
    return (folder / "ct.csv").is_file() and (folder / "voxel_dimensions.csv").is_file()


def read_openkbp(folder: Path) -> SourceImage:
    """CT in HU (stored + 1024), (D, H, W); no origin is known, so the corner voxel has it."""
    index, values = _sparse(folder / "ct.csv")
    dense = np.zeros(int(np.prod(OPENKBP_SHAPE)), np.float32)
    dense[index] = values
    pixels = dense.reshape(OPENKBP_SHAPE).transpose(2, 0, 1) - 1024
    note = "no origin is stored; voxel (0, 0, 0) was put at 0, 0, 0 mm"
    files = (folder / "ct.csv",)
    return SourceImage(
        pixels.astype(np.int16), _openkbp_grid(folder), "openkbp", files, "CT", notes=(note,)
    )


def read_openkbp_labels(folder: Path) -> SourceLabels:
    """Every organ file in the order of their names; smaller organs over larger ones."""
    masks, names = [], []
    for path in sorted(folder.glob("*.csv")):
        if path.stem not in _NOT_ORGANS:
            flat = np.zeros(int(np.prod(OPENKBP_SHAPE)), np.bool_)
            flat[_sparse(path)[0]] = True
            masks.append(flat.reshape(OPENKBP_SHAPE).transpose(2, 0, 1))
            names.append(path.stem)
    if not masks:
        raise SourceError(f"{folder.name}: expected organ files, found none")
    values = list(range(1, len(masks) + 1))
    labels, notes = paint(masks, values, names)
    names_of = dict(zip(values, names, strict=True))
    return SourceLabels(labels, _openkbp_grid(folder), names_of, notes)


def _openkbp_grid(folder: Path) -> Grid:
    try:
        spacing = np.loadtxt(folder / "voxel_dimensions.csv").reshape(3)
    except (OSError, ValueError) as error:
        raise SourceError(f"{folder.name}/voxel_dimensions.csv: expected 3 numbers") from error
    y_mm, x_mm, z_mm = (float(v) for v in spacing)
    shape = (OPENKBP_SHAPE[2], OPENKBP_SHAPE[0], OPENKBP_SHAPE[1])
    return Grid(shape, np.diag([x_mm, y_mm, -z_mm, 1.0]))  # the first slice is the highest


def _sparse(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Flat indices and values (0 where the file has none)."""
    index, values = [], []
    try:
        with path.open(newline="") as stream:
            rows = csv.reader(stream)
            next(rows, None)
            for row in rows:
                index.append(int(row[0]))
                values.append(float(row[1]) if len(row) > 1 and row[1] else 0.0)
    except (OSError, ValueError, IndexError) as error:
        raise SourceError(f"{path.name}: expected rows index,value: {error}") from error
    places = np.array(index, np.int64)
    if places.size and (places.min() < 0 or places.max() >= np.prod(OPENKBP_SHAPE)):
        raise SourceError(f"{path.name}: expected indices below 128**3, found {places.max()}")
    return places, np.array(values, np.float32)


def is_contour_folder(folder: Path) -> bool:
    """Whether a folder holds Sunnybrook's contour files."""
    return any(folder.glob("*contour*.txt"))


def read_contour_folder(folder: Path, image: SourceImage) -> SourceLabels:
    """Contours ``IM-0001-<number>-<i|o>contour-*.txt``: x and y in pixels, on the slice whose file
    is named by the number.

    Label 1 is what lies inside the inner contour, 2 the wall between it and the outer one.
    """
    if image.grid is None:
        raise SourceError(f"{folder.name}: expected a series of slices, found a picture")
    slice_of = {path.stem.lstrip("0"): z for z, path in enumerate(image.files)}
    masks: dict[str, NDArray[np.bool_]] = defaultdict(
        lambda: np.zeros(image.pixels.shape, np.bool_)
    )
    for path in sorted(folder.glob("*contour*.txt")):
        found = re.search(r"-(\d+)-(icontour|ocontour)", path.name)
        if found is None:
            raise SourceError(f"{path.name}: expected IM-0001-<number>-icontour or -ocontour")
        number = found.group(1).lstrip("0")
        if number not in slice_of:
            raise SourceError(f"{path.name}: expected a slice named {number}, found none")
        try:
            points = np.loadtxt(path).reshape(-1, 2)
        except ValueError as error:
            raise SourceError(f"{path.name}: expected rows x y: {error}") from error
        plane = fill_polygons([points], image.pixels.shape[1:])
        masks[_WALLS[found.group(2)]][slice_of[number]] |= plane
    names = [name for name in _WALLS.values() if name in masks]
    values = list(range(1, len(names) + 1))
    labels, _ = paint([masks[name] for name in names], values, names)
    return SourceLabels(labels, image.grid, dict(zip(values, names, strict=True)))
