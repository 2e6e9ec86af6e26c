"""Builders of scanner files, from seeds: DICOM series, pictures, NIfTI."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SeriesMaker = Callable[..., Path]

STORAGE = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
}


def make_dataset(
    path: Path, pixels: np.ndarray, modality: str = "CT", frames: int = 0, **tags: Any
) -> Dataset:
    """Write one DICOM file of stored ``pixels`` (H, W), (H, W, 3) or (N, H, W) with ``frames``."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = STORAGE.get(modality, STORAGE["CT"])
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = modality
    colour = pixels.ndim == 3 and not frames
    dataset.Rows, dataset.Columns = pixels.shape[1:] if frames else pixels.shape[:2]
    if frames:
        dataset.NumberOfFrames = frames
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    for key, value in tags.items():
        setattr(dataset, key, value)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


@pytest.fixture
def make_series(tmp_path: Path) -> SeriesMaker:
    """Write a CT series, a file a slice, in an order of names that is not that of the slices."""

    def make(
        volume: np.ndarray,
        positions: Sequence[Sequence[float]] | None = None,
        folder: str = "series",
        orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
        **tags: Any,
    ) -> Path:
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        series = generate_uid()
        places = positions or [(-10.0, -20.0, 100.0 + 2.5 * z) for z in range(len(volume))]
        for z, (plane, place) in enumerate(zip(volume, places, strict=True)):
            name = f"{(z * 7) % 31:03d}_{z}.dcm"
            settings = {
                "SeriesInstanceUID": series,
                "StudyInstanceUID": series + ".1",
                "FrameOfReferenceUID": series + ".2",
                "ImagePositionPatient": [float(v) for v in place],
                "ImageOrientationPatient": [float(v) for v in orientation],
                "PixelSpacing": [0.9, 0.8],
                "RescaleSlope": 1,
                "RescaleIntercept": -1024,
            }
            make_dataset(out / name, plane, **(settings | tags))
        return out

    return make


@pytest.fixture
def volume() -> np.ndarray:
    """(5, 12, 10) stored values, each one different."""
    return (900 + np.arange(600).reshape(5, 12, 10)).astype(np.int16)


def save_nifti(path: Path, array_zyx: np.ndarray, affine: np.ndarray | None = None) -> Path:
    image = nib.Nifti1Image(array_zyx.transpose(2, 1, 0), np.eye(4) if affine is None else affine)
    nib.save(image, path)
    return path
