"""The modality is the only thing that a file name says."""

import pytest

from inference.modality import UNKNOWN, dims_of, modality_of


@pytest.mark.parametrize(
    ("token", "modality"),
    [
        ("CT", "CT"),
        ("MR", "MR"),
        ("PET", "PET"),
        ("US", "Ultrasound"),
        ("Ultrasound", "Ultrasound"),
        ("Ultra-Sound", "Ultrasound"),
        ("X-Ray", "X-Ray"),
        ("XRay", "X-Ray"),
        ("CXR", "X-Ray"),
        ("XR", "X-Ray"),
        ("Dermoscope", "Dermoscopy"),
        ("Dermoscopy", "Dermoscopy"),
        ("Endoscope", "Endoscopy"),
        ("Endoscopy", "Endoscopy"),
        ("Fundus", "Fundus"),
        ("Microscope", "Microscopy"),
        ("Microscopy", "Microscopy"),
        ("Mamm", "Mammography"),
        ("Mammography", "Mammography"),
        ("OCT", "OCT"),
    ],
)
@pytest.mark.parametrize("form", ["2DBox_{}_0001.npz", "3DBox_{}_0001.npz", "{}_AMOS_1.npz"])
@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_every_spelling_of_the_challenge_is_known(form, token, modality, spell):
    assert modality_of(form.format(spell(token))) == modality


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("2DBox_OCT_CT.npz", "OCT"),
        ("2DBox_CT_OCT.npz", "CT"),
        ("OCT.npz", "OCT"),
        ("2DBox_US_CT-lookalike.npz", "Ultrasound"),
        ("2DBox_CT-lung_7.npz", "CT"),
        ("MRI_7.npz", "MR"),
        ("CT", "CT"),
    ],
)
def test_the_first_part_that_names_a_modality_wins(name, modality):
    assert modality_of(name) == modality


@pytest.mark.parametrize(
    "name", ["case_0001.npz", "2DBox.npz", "user_1.npz", "ctenophore_1.npz", "petri_1.npz", ".npz"]
)
def test_other_words_that_begin_alike_name_nothing(name):
    assert modality_of(name) == UNKNOWN


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("3DBox_CT_1.npz", "3D"),
        ("2dbox_us", "2D"),
        ("CT_3D.npz", None),
        ("4D_CT", None),
        ("", None),
    ],
)
def test_a_name_may_say_whether_to_expect_a_picture_or_a_volume(name, dims):
    assert dims_of(name) == dims
