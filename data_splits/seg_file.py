"""DICOM segmentations by highdicom, on the series that the case was made from."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, DT, TM

from data_splits.casefile import Origin
from data_splits.errors import SourceError, one_line
from data_splits.labels import LabelTable
from data_splits.readers.dicom_files import NOT_IMAGES, is_dicom, read_dataset
from data_splits.readers.dicom_series import read_dicom

MANUFACTURER = "medsam-laptop"

_MOMENTS = {"DA": DA, "TM": TM, "DT": DT}
"""Readers of dates and times by value representation."""


class SeriesIndex:
    """The image series below a folder, found once."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._paths: dict[str, list[Path]] | None = None

    def files(self, origin: Origin) -> list[Dataset]:
        """The data sets of a case's series in the order of its slices.

        Raises SourceError where the folder does not hold it.
        """
        if self.folder is None:
            raise SourceError("dicom-seg: expected --source, the folder with the DICOM series")
        if self._paths is None:
            self._paths = self._search(self.folder)
        paths = self._paths.get(origin.series_uid, [])
        if not origin.series_uid or not paths:
            raise SourceError(
                f"{self.folder}: expected series {origin.series_uid or '(none stored)'} of "
                f"{origin.name}, found none of its files"
            )
        image = read_dicom(paths[0] if len(paths) == 1 else paths[0].parent, origin.series_uid)
        return [read_dataset(path) for path in image.files]

    @staticmethod
    def _search(folder: Path) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and is_dicom(p)):
            try:
                tags = pydicom.dcmread(
                    path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Modality"]
                )
            except Exception:  # a file that cannot be read is not the one that is looked for
                continue
            if str(tags.get("Modality", "")) not in NOT_IMAGES:
                found.setdefault(str(tags.get("SeriesInstanceUID", "")), []).append(path)
        return found


def _acceptable(dataset: Dataset) -> Dataset:
    """The data set without values that the standard forbids, such as the date 20120000 that some
    anonymisers leave: highdicom copies them and would refuse."""
    if not dataset.get("SpecificCharacterSet", "ISO_IR 100"):
        del dataset.SpecificCharacterSet
    for element in list(dataset):
        reader = _MOMENTS.get(element.VR)
        if reader is not None and element.value:
            try:
                reader(str(element.value))
            except (ValueError, TypeError):
                element.value = None
    return dataset


def _placed(
    labels: NDArray[np.unsignedinteger], origin: Origin, datasets: list[Dataset]
) -> NDArray[np.unsignedinteger] | hd.Volume:
    """Labels as highdicom wants them: slice by slice as the data sets, or, of a multi-frame file
    whose frames may lie in any order, with their place."""
    if int(datasets[0].get("NumberOfFrames") or 1) == 1 or origin.source_grid is None:
        return labels
    return hd.Volume(
        array=labels,
        affine=origin.source_grid.affine_lps[:, [2, 1, 0, 3]],
        coordinate_system="PATIENT",
        frame_of_reference_uid=datasets[0].FrameOfReferenceUID,
    )


def write_seg(
    path: Path,
    labels: NDArray[np.unsignedinteger],
    table: LabelTable,
    origin: Origin,
    datasets: list[Dataset],
) -> None:
    """Write labels (D, H, W) of the source's grid as binary segments, named and numbered 1..N."""
    count = int(labels.max()) if labels.size else 0
    if count == 0:
        raise SourceError("dicom-seg: expected at least one labelled voxel, found none")
    frames = {str(dataset.get("FrameOfReferenceUID", "")) for dataset in datasets}
    if len(frames) > 1:
        raise SourceError(
            f"dicom-seg: {origin.name}: expected one frame of reference, found {len(frames)}: "
            "a SEG cannot lie in several; use --format nifti"
        )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=index + 1,
            segment_label=table.names[index][:64],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name=MANUFACTURER,
                version="1",
                family=codes.DCM.ArtificialIntelligence,
            ),
        )
        for index in range(count)
    ]
    try:
        seg = hd.seg.Segmentation(
            source_images=[_acceptable(dataset) for dataset in datasets],
            pixel_array=_placed(labels, origin, datasets),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=9000,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions="1",
            device_serial_number="0",
        )
        seg.save_as(path)
    except OSError:
        raise
    except Exception as error:  # highdicom checks by many kinds of exceptions
        raise SourceError(f"dicom-seg: {origin.name}: {one_line(error)}") from error
