"""DICOM files of a folder: which of them are images, and of which series."""

from collections import defaultdict
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from data_splits.errors import SourceError, one_line

NOT_IMAGES = ("SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "KO", "PR", "REG")
"""Modalities of files that lie beside a series and are no part of it."""

_MODALITIES = {
    "CT": "CT",
    "MR": "MR",
    "PT": "PET",
    "US": "US",
    "IVUS": "US",
    "CR": "XRay",
    "DX": "XRay",
    "RF": "XRay",
    "XA": "XRay",
    "PX": "XRay",
    "MG": "Mammography",
    "OPT": "OCT",
    "IVOCT": "OCT",
    "OP": "Fundus",
    "ES": "Endoscopy",
    "GM": "Microscopy",
    "SM": "Microscopy",
    "DMS": "Dermoscopy",
}
"""DICOM's modality (PS3.3 C.7.3.1.1.1) -> the challenge's word."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, or is named .dcm."""
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_series(folder: Path) -> bool:
    """Whether a DICOM file lies directly in ``folder``."""
    return any(p.is_file() and p.name != "DICOMDIR" and is_dicom(p) for p in folder.iterdir())


def read_dataset(path: Path) -> Dataset:
    """One file as pydicom reads it; raises SourceError where it cannot."""
    try:
        return pydicom.dcmread(path)
    except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise SourceError(
            f"{path.name}: expected a readable DICOM file, found: {one_line(error)}"
        ) from error


def challenge_modality(dataset: Dataset) -> str | None:
    """The challenge's word for a data set's modality; None where it has none."""
    return _MODALITIES.get(str(dataset.get("Modality", "")))


def read_series(path: Path, series_uid: str = "") -> list[tuple[Path, Dataset]]:
    """The image files of one series: a file, or all of a folder's that are images.

    Raises SourceError for a folder with several series, of which ``series_uid`` may choose one.
    """
    paths = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    found: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for file in paths:
        if file.name == "DICOMDIR" or not (path.is_file() or is_dicom(file)):
            continue
        dataset = read_dataset(file)
        if path.is_file() or str(dataset.get("Modality", "")) not in NOT_IMAGES:
            found[str(dataset.get("SeriesInstanceUID", ""))].append((file, dataset))
    if series_uid:
        found = defaultdict(list, {k: v for k, v in found.items() if k == series_uid})
    if not found:
        raise SourceError(f"{path.name}: expected a DICOM series, found no image")
    if len(found) > 1:
        listed = "; ".join(
            f"{uid} ({len(files)} files, {files[0][1].get('SeriesDescription', 'no description')})"
            for uid, files in sorted(found.items())
        )
        raise SourceError(
            f"{path.name}: expected one series, found {len(found)}: {listed}; choose with --series"
        )
    return next(iter(found.values()))
