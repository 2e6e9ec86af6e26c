"""Thin wrappers over well-kept readers: any file to a SourceImage or SourceLabels.

volumes: NIfTI (nibabel), NRRD and MetaImage (SimpleITK); dicom_*: pydicom and highdicom; pictures:
Pillow and tifffile; coco: pycocotools; tables: two data sets' own text files.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_splits.errors import SourceError
from data_splits.geometry import move
from data_splits.readers.dicom_files import holds_series, is_dicom
from data_splits.readers.dicom_labels import read_dicom_labels
from data_splits.readers.dicom_series import read_dicom
from data_splits.readers.pictures import PICTURE_SUFFIXES, read_label_picture, read_picture
from data_splits.readers.tables import (
    is_contour_folder,
    is_openkbp,
    read_contour_folder,
    read_openkbp,
    read_openkbp_labels,
)
from data_splits.readers.volumes import (
    ITK_SUFFIXES,
    NIFTI_SUFFIXES,
    read_label_volume,
    read_volume,
)
from data_splits.sources import SourceImage, SourceLabels, paint

VOLUME_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES


def is_source(path: Path) -> bool:
    """Whether a file or folder is one that :func:`read_image` may read."""
    if path.is_dir():
        return holds_series(path) or is_openkbp(path)
    return path.name.lower().endswith(VOLUME_SUFFIXES + PICTURE_SUFFIXES) or is_dicom(path)


def stem_of(path: Path) -> str:
    """File name without its suffix, the double one of .nii.gz and .seg.nrrd included."""
    if path.is_dir():
        return path.name
    name = path.name
    for suffix in (".nii.gz", ".seg.nrrd", ".seg.nii", path.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)]
    return name


def read_image(path: Path, series_uid: str = "") -> SourceImage:
    """A picture, volume or DICOM series; raises SourceError with the reason."""
    _require_there(path)
    if path.is_dir():
        return read_openkbp(path) if is_openkbp(path) else read_dicom(path, series_uid)
    name = path.name.lower()
    if name.endswith(VOLUME_SUFFIXES):
        return read_volume(path)
    if name.endswith(PICTURE_SUFFIXES):
        return read_picture(path)
    if is_dicom(path):
        return read_dicom(path, series_uid)
    raise SourceError(f"{path.name}: expected NIfTI, NRRD, MHA, DICOM, PNG, JPEG or TIFF")


def read_labels(paths: Sequence[Path], image: SourceImage) -> SourceLabels:
    """Labels on the image's own grid.

    One path is a label map, SEG, RTSTRUCT or folder of contours. Several, or a folder of files, are
    a mask each: value i for the i-th by name, named by the file, smaller ones on top.
    """
    if len(paths) == 1:
        path = paths[0]
        _require_there(path)
        if path.is_dir() and is_openkbp(path):
            return _on_grid(read_openkbp_labels(path), image, path)
        if path.is_dir() and is_contour_folder(path):
            return read_contour_folder(path, image)
        if not path.is_dir():
            return _on_grid(_read_one(path, image), image, path)
        paths = sorted(p for p in path.iterdir() if p.is_file() and is_source(p))
        if not paths:
            raise SourceError(f"{path.name}: expected label files, found none")
        if len(paths) == 1:
            return _on_grid(_read_one(paths[0], image), image, paths[0])
    masks: list[NDArray[np.bool_]] = []
    names: list[str] = []
    notes: list[str] = []
    for path in paths:
        _require_there(path)
        one = _on_grid(_read_one(path, image), image, path)
        masks.append(np.asarray(one.labels > 0, np.bool_))
        names.append(stem_of(path))
        notes += one.notes
    values = list(range(1, len(masks) + 1))
    labels, lost = paint(masks, values, names)
    return SourceLabels(labels, image.grid, dict(zip(values, names, strict=True)), (*notes, *lost))


def _read_one(path: Path, image: SourceImage) -> SourceLabels:
    name = path.name.lower()
    if name.endswith(VOLUME_SUFFIXES):
        return read_label_volume(path)
    if name.endswith(PICTURE_SUFFIXES):
        return read_label_picture(path)
    if is_dicom(path):
        return read_dicom_labels(path, image)
    raise SourceError(f"{path.name}: expected a label map, SEG, RTSTRUCT or mask picture")


def _on_grid(found: SourceLabels, image: SourceImage, path: Path) -> SourceLabels:
    """The same labels on the image's grid, moved there if their own differs in order only."""
    if found.grid is not None and image.grid is not None:
        moved = move(found.labels, found.grid, image.grid, what=path.name)
        labels = np.asarray(moved).astype(found.labels.dtype, copy=False)
        return SourceLabels(labels, image.grid, found.names, found.notes)
    shape = image.pixels.shape if image.grid is not None else image.pixels.shape[:2]
    labels = found.labels
    if labels.ndim == 3 and len(labels) == 1 and len(shape) == 2:
        labels = labels[0]
    if labels.ndim == 2 and len(shape) == 3 and shape[0] == 1:
        labels = labels[None]
    if labels.shape != shape:
        raise SourceError(
            f"{path.name}: expected labels of the image's shape {shape}, found {labels.shape}"
        )
    return SourceLabels(labels, image.grid, found.names, found.notes)


def _require_there(path: Path) -> None:
    if not path.exists():
        raise SourceError(f"{path}: expected a file or folder, found none")
