"""Names give the modality, arrays give the dimensions, digests give the identity."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation.dataset import (
    array_headers,
    digest_of,
    dimensions_of,
    modality_of,
    read_case,
    read_cases,
)
from evaluation.errors import DatasetError

Factory = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("3DBox_CT_0566", "CT"),
        ("2DBox_CT_12", "CT"),
        ("CT_AMOS_amos_0004", "CT"),
        ("2DBox_OCT_3", "OCT"),
        ("OCT_drusen_3", "OCT"),
        ("3DBox_MR_0621", "MR"),
        ("3DBox_MRI_5", "MR"),
        ("3DBox_PET_7", "PET"),
        ("2DBox_US_1", "Ultrasound"),
        ("2DBox_Ultrasound_1", "Ultrasound"),
        ("2DBox_Ultra_1", "Ultrasound"),
        ("2DBox_X-Ray_1", "X-Ray"),
        ("2DBox_XRay_1", "X-Ray"),
        ("2DBox_CXR_1", "X-Ray"),
        ("2DBox_XR_1", "X-Ray"),
        ("2DBox_Dermoscope_1", "Dermoscopy"),
        ("2DBox_Dermoscopy_1", "Dermoscopy"),
        ("2DBox_Endoscope_1", "Endoscopy"),
        ("2DBox_Endoscopy_1", "Endoscopy"),
        ("2DBox_Fundus_1", "Fundus"),
        ("2DBox_Microscope_1", "Microscopy"),
        ("2DBox_Microscopy_1", "Microscopy"),
        ("2DBox_Mammography_demo", "Mammography"),
        ("2DBox_Mamm_1", "Mammography"),
        ("3dbox_ct_1", "CT"),
        ("patient_12_CT", "CT"),
        ("2DBox_US_octopus", "Ultrasound"),
        ("2DBox_Thermography_1", "Unknown"),
        ("user_1", "Unknown"),
    ],
)
def test_a_name_states_its_modality(name: str, modality: str) -> None:
    assert modality_of(name) == modality


@pytest.mark.parametrize(
    ("image", "boxes", "dimensions"),
    [
        ((8, 9), (1, 4), 2),
        ((8, 9, 3), (2, 4), 2),
        ((8, 9, 4), (4,), 2),
        ((5, 8, 9), (2, 6), 3),
        ((5, 8, 3), (6,), 3),
        ((8, 9, 3), (0, 4), 2),
        ((5, 8, 3), (0, 6), 3),
        ((5, 8, 9), None, 3),
        ((8, 9, 3), None, 2),
        ((8, 9, 1), (0,), 2),
    ],
)
def test_dimensions_are_those_of_the_arrays(
    image: tuple[int, ...], boxes: tuple[int, ...] | None, dimensions: int
) -> None:
    assert dimensions_of(image, boxes) == dimensions


def test_a_prefix_does_not_decide_the_dimensions(make_case: Factory) -> None:
    case = read_case(make_case("2DBox_CT_1", depth=4))
    assert (case.name, case.modality, case.dimensions) == ("2DBox_CT_1", "CT", 3)
    assert not case.has_truth


def test_cases_come_by_name_and_know_whether_they_hold_the_truth(make_case: Factory) -> None:
    make_case("2DBox_US_2")
    folder = make_case("2DBox_US_1", truth=True).parent
    (folder / "notes.txt").write_text("not a case")
    assert [(c.name, c.has_truth) for c in read_cases(folder)] == [
        ("2DBox_US_1", True),
        ("2DBox_US_2", False),
    ]


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected cases"):
        read_cases(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        read_cases(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file: expected a folder of cases, found a file"):
        read_cases(tmp_path / "file")


def test_one_broken_case_refuses_the_folder_and_is_named(make_case: Factory) -> None:
    whole = make_case("2DBox_US_1")
    (whole.parent / "2DBox_US_2.npz").write_bytes(whole.read_bytes()[:-40])
    np.savez(whole.parent / "2DBox_US_3.npz", boxes=np.zeros((1, 4)))
    with pytest.raises(DatasetError, match=r"2 of 3 cases.*2DBox_US_2.npz.*US_3.npz: expected key"):
        read_cases(whole.parent)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.npz"
    np.savez(path, imgs=np.zeros((2, 2)))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("imgs.npy", b"")
    with pytest.raises(DatasetError, match="imgs once"):
        array_headers(path)


def test_headers_are_read_without_the_arrays(make_case: Factory) -> None:
    headers = array_headers(make_case(depth=3))
    assert headers["imgs"] == ((3, 8, 9), np.dtype(np.uint8))
    assert headers["boxes"][0] == (1, 6)


def test_a_digest_is_the_files_sha256(make_case: Factory) -> None:
    path = make_case()
    assert digest_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_name_that_is_no_utf8_is_refused_beforehand(tmp_path):
    import os

    np.savez(tmp_path / "good.npz", imgs=np.zeros((4, 4)), boxes=[[0, 0, 1, 1]])
    os.rename(tmp_path / "good.npz", os.fsencode(tmp_path) + b"/2DBox_US_\xe9.npz")
    with pytest.raises(DatasetError, match="expected a name in UTF-8"):
        read_cases(tmp_path)
