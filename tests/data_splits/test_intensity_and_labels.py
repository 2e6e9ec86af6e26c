"""Greys and labels, by hand and against NumPy, SciPy."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from scipy import ndimage

from data_splits.errors import SourceError
from data_splits.intensity import default_rule, positive_percentiles, rule_from, to_eight_bit
from data_splits.labels import SmallObjects, prepare
from data_splits.organisers import OrganiserSettings, organiser_greys, organiser_labels
from data_splits.readers.dicom_suv import suv_factor
from data_splits.sources import SourceImage, paint

# --- intensity ----------------------------------------------------------------------------------


def image_of(values, **settings):
    return SourceImage(np.asarray(values), None, "nifti", (), **settings)


def test_a_ct_window_by_hand():
    greys = to_eight_bit(image_of([[-1000, -160, 40, 239, 240, 3000]]), default_rule("CT", 3))
    assert greys.tolist() == [[0, 0, 127, 254, 255, 255]]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("lung", -1350, 150), ("40/400", -160, 240), ("-50..75.5", -50, 75.5), ("suv:0,15", 0, 15)],
)
def test_rules_are_read(text, low, high):
    rule = rule_from(text)
    assert (rule.low, rule.high) == (low, high)


@pytest.mark.parametrize("text", ["", "lungs", "400..-400", "percentiles:5", "40/-4"])
def test_false_rules_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        rule_from(text)


@settings(deadline=None, max_examples=80)
@given(
    arrays(st.sampled_from([np.int16, np.uint16, np.uint8, np.int8]), (2, 3, 4)),
    st.floats(0, 40),
    st.floats(60, 100),
)
def test_counted_percentiles_are_those_of_numpy(pixels, low, high):
    positive = pixels[pixels > 0]
    expected = np.percentile(positive.astype(float), [low, high]) if positive.size else (0, 0)
    assert positive_percentiles(pixels, low, high) == pytest.approx(tuple(expected))


@settings(deadline=None, max_examples=60)
@given(arrays(np.int16, (2, 3, 4)))
def test_looked_up_greys_are_those_of_the_formula(pixels):
    rule = rule_from("percentiles")
    counted = to_eight_bit(image_of(pixels), rule)
    computed = to_eight_bit(image_of(pixels.astype(np.float64)), rule)
    assert np.array_equal(counted, computed)
    assert (counted[pixels == 0] == 0).all()


def test_constant_and_eight_bit_pictures():
    assert not to_eight_bit(image_of(np.full((3, 3), 7, np.int16)), rule_from("minmax")).any()
    picture = np.random.default_rng(0).integers(50, 90, (4, 4, 3)).astype(np.uint8)
    assert np.array_equal(to_eight_bit(image_of(picture), default_rule("US", 2)), picture)


# --- SUV ----------------------------------------------------------------------------------------


def pet(**changes) -> Dataset:
    injected = Dataset()
    injected.RadionuclideTotalDose = 370e6
    injected.RadionuclideHalfLife = 6586.2
    injected.RadiopharmaceuticalStartTime = "100000"
    dataset = Dataset()
    tags = {
        "Modality": "PT", "Units": "BQML", "CorrectedImage": ["ATTN", "DECY"], "PatientWeight": 70,
        "DecayCorrection": "START", "SeriesDate": "20200102", "SeriesTime": "110000",
        "AcquisitionDate": "20200102", "AcquisitionTime": "110000",
        "RadiopharmaceuticalInformationSequence": [injected],
    }  # fmt: skip
    for key, value in (tags | changes).items():
        setattr(dataset, key, value)
    return dataset


def test_suv_of_an_hour_after_injection_by_hand():
    factor, _ = suv_factor(pet())
    assert factor == pytest.approx(70_000 / (370e6 * 0.5 ** (3600 / 6586.2)))
    assert suv_factor(pet(DecayCorrection="ADMIN"))[0] == pytest.approx(70_000 / 370e6)
    assert suv_factor(pet(Units="GML")) == (1.0, "")


def test_injection_before_midnight_is_the_day_before():
    early = pet(SeriesTime="003000", AcquisitionTime="003000")
    early.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "233000"
    assert suv_factor(early)[0] == pytest.approx(70_000 / (370e6 * 0.5 ** (3600 / 6586.2)))


def test_a_series_written_later_than_it_was_taken_counts_from_the_acquisition():
    later = (datetime(2020, 1, 2, 11) + timedelta(hours=5)).strftime("%H%M%S")
    assert suv_factor(pet(SeriesTime=later)) == suv_factor(pet())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Units": "CNTS"}, "counts"),
        ({"Units": "PROPCPS"}, "PROPCPS"),
        ({"PatientWeight": None}, "PatientWeight"),
        ({"CorrectedImage": ["DECY"]}, "attenuation"),
        ({"DecayCorrection": "NONE"}, "NONE"),
        ({"AcquisitionTime": None, "SeriesTime": None}, "time"),
    ],
)
def test_suv_is_refused_with_the_tag_that_is_missing(changes, reason):
    factor, obstacle = suv_factor(pet(**changes))
    assert factor is None and reason in obstacle
    image = image_of(np.ones((2, 2)), suv_factor=None, suv_obstacle=obstacle)
    with pytest.raises(SourceError, match=reason):
        to_eight_bit(image, rule_from("suv"))


# --- labels -------------------------------------------------------------------------------------


def test_labels_become_contiguous_and_keep_numbers_and_names():
    labels = np.array([[[0, 7, 7], [300, 0, 2]]], np.uint16)
    made, table, dropped = prepare(labels, {7: "liver", 9: "absent"})
    assert made.tolist() == [[[0, 2, 2], [3, 0, 1]]]
    assert table.values == (2, 7, 300) and table.names == ("", "liver", "")
    assert dropped == 0 and made.dtype == np.uint8


def test_a_countable_label_is_split_where_it_does_not_touch():
    labels = np.array([[1, 1, 0, 5], [0, 0, 0, 0], [5, 0, 0, 1], [0, 5, 0, 1]], np.uint8)
    made, table, _ = prepare(labels, {5: "cell"}, instances=["cell"])
    assert table.values == (1, 5, 5)
    assert made.tolist() == [[1, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 1], [0, 3, 0, 1]]
    assert prepare(labels, {}, instances=["all"])[1].values == (1, 1, 5, 5)
    with pytest.raises(SourceError, match="found tumour"):
        prepare(labels, {}, instances=["tumour"])


def test_small_objects_are_dropped_in_the_volume_and_then_in_slices():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, :2, :2] = 1  # 4 pixels here ...
    labels[1, 0, 0] = 1  # ... and one in the next slice: 5 voxels together
    labels[2, 3, 2:] = 2  # 2 voxels
    made, table, dropped = prepare(labels, {}, small=SmallObjects(5, 0))
    assert table.values == (1,) and dropped == 2
    made, table, dropped = prepare(labels, {}, small=SmallObjects(5, 2))
    assert dropped == 3 and not made[1:].any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_dropping_agrees_with_scipy(seed, least):
    labels = np.random.default_rng(seed).integers(0, 3, (4, 6, 6)).astype(np.uint8)
    made, table, _ = prepare(labels, {}, small=SmallObjects(least, 0))
    expected = np.zeros_like(labels)
    for value in (1, 2):
        parts, count = ndimage.label(labels == value, np.ones((3, 3, 3)))
        for part in range(1, count + 1):
            if (parts == part).sum() >= least:
                expected[parts == part] = value
    assert np.array_equal(np.array([0, *table.values], np.uint8)[made], expected)


def test_what_lies_inside_stays_whole_when_masks_overlap():
    outer = np.ones((4, 4), bool)
    inner = np.zeros((4, 4), bool)
    inner[1:3, 1:3] = True
    for order in ((outer, inner), (inner, outer)):
        labels, notes = paint(order, (1, 2), ("a", "b"))
        assert (labels == (2 if order[1] is inner else 1)).sum() == 4
        assert "4 of 16" in notes[0]


# --- the organisers' script, its defects by hand ------------------------------------------------


def test_organisers_labels_keep_gaps_and_wrap():
    labels = np.zeros((2, 30, 30), np.uint8)
    labels[0, :20, :20], labels[1, :20, :20], labels[0, 25, 25] = 3, 12, 7
    kept = organiser_labels(labels.copy(), OrganiserSettings())
    assert set(np.unique(kept)) == {0, 3}
    kept = organiser_labels(labels.copy(), OrganiserSettings(remove=(), tumour=12))
    assert set(np.unique(kept)) == {0, 3, 8}  # 7 was the highest when the tumour was numbered


def test_organisers_windows_are_stretched_over_what_is_found():
    pixels = np.array([[[-60, 40, 140]]], np.int16)
    assert organiser_greys(pixels, "CT", OrganiserSettings()).tolist() == [[[0, 127, 255]]]
    assert to_eight_bit(image_of(pixels), rule_from("abdomen")).tolist() == [[[63, 127, 191]]]
