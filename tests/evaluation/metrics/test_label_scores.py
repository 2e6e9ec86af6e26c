"""DSC and NSD of masks and label maps: hand-worked answers and properties."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics import dice, score_case, surface_dice
from evaluation.metrics.distances import surface_dice_curve
from tests.evaluation.builders import disk

SPACINGS = st.sampled_from([0.5, 0.8, 1.0, 2.5, 5.0])
TOLERANCES = st.sampled_from([0.0, 0.8, 1.0, 2.0, 2.5, 5.0])


@st.composite
def mask_pairs(draw):
    """Two masks of one shape, a spacing and a tolerance."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=7))
    masks = [draw(hnp.arrays(bool, shape)) for _ in range(2)]
    return *masks, tuple(draw(SPACINGS) for _ in shape), draw(TOLERANCES)


@st.composite
def label_pairs(draw):
    """Two label maps of one 2D shape with labels up to 4."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8))
    return tuple(draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 4))) for _ in range(2))


def test_dice_of_a_half_overlap():
    truth, prediction = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    truth[:, :2], prediction[:, 1:] = True, True
    assert dice(truth, prediction) == 2 * 2 / (4 + 6)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_both_empty_is_agreement_and_one_empty_is_none(shape):
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    spacing_mm = (1.0,) * len(shape)
    assert dice(empty, empty) == surface_dice(empty, empty, spacing_mm, 2) == 1.0
    for pair in ((empty, full), (full, empty)):
        assert dice(*pair) == surface_dice(*pair, spacing_mm, 2) == 0.0


def test_a_disk_in_a_larger_disk_has_no_contour_within_two_pixels():
    """Reference notes: radius 20 against 16 gives 0 by contours and 0.894 as the official slab."""
    large, small = disk((60, 60), (30, 30), 20), disk((60, 60), (30, 30), 16)
    assert dice(large, small) == pytest.approx(0.778, abs=5e-4)
    assert surface_dice(large, small, (1, 1), 2) == 0.0
    assert surface_dice(large, small, (1, 1), 4.5) == 1.0


def test_a_shifted_disk_scores_as_in_the_reference_notes():
    disks = [disk((60, 60), (30, x), 20) for x in (28, 33)]
    assert dice(*disks) == pytest.approx(0.843, abs=5e-4)
    assert surface_dice(*disks, (1, 1), 2) == pytest.approx(0.310, abs=5e-4)


def test_spacing_is_in_the_order_of_the_axes():
    """One voxel 5 mm thick, moved by one slice or by two columns of 0.8 mm."""
    masks = np.zeros((3, 6, 9, 9), bool)
    masks[0, 2, 4, 4] = masks[1, 3, 4, 4] = masks[2, 2, 4, 6] = True
    assert surface_dice(masks[0], masks[1], (5, 0.8, 0.8), 2) == 0.5
    assert surface_dice(masks[0], masks[2], (5, 0.8, 0.8), 2) == 1.0
    assert surface_dice(masks[0], masks[1], (0.8, 0.8, 5), 2) == 1.0


@settings(deadline=None)
@given(mask_pairs())
def test_metrics_are_symmetric(pair):
    truth, prediction, spacing_mm, tolerance_mm = pair
    assert dice(truth, prediction) == dice(prediction, truth)
    forth = surface_dice(truth, prediction, spacing_mm, tolerance_mm)
    assert forth == surface_dice(prediction, truth, spacing_mm, tolerance_mm)
    assert 0 <= forth <= 1


@settings(deadline=None)
@given(mask_pairs(), TOLERANCES)
def test_surface_dice_never_falls_when_the_tolerance_grows(pair, more):
    truth, prediction, spacing_mm, tolerance_mm = pair
    small = surface_dice(truth, prediction, spacing_mm, tolerance_mm)
    assert small <= surface_dice(truth, prediction, spacing_mm, tolerance_mm + more)


@settings(deadline=None)
@given(mask_pairs())
def test_a_mask_agrees_with_itself(pair):
    truth, _, spacing_mm, tolerance_mm = pair
    assert dice(truth, truth) == surface_dice(truth, truth, spacing_mm, tolerance_mm) == 1.0


@settings(deadline=None)
@given(mask_pairs(), st.integers(0, 2))
def test_flipping_an_axis_changes_nothing(pair, axis):
    truth, prediction, spacing_mm, tolerance_mm = pair
    axis %= truth.ndim
    flipped = [np.flip(mask, axis) for mask in (truth, prediction)]
    assert dice(*flipped) == dice(truth, prediction)
    assert surface_dice(*flipped, spacing_mm, tolerance_mm) == pytest.approx(
        surface_dice(truth, prediction, spacing_mm, tolerance_mm), abs=1e-12
    )


@settings(deadline=None)
@given(mask_pairs(), st.integers(1, 4), st.integers(0, 4))
def test_empty_margins_change_nothing(pair, before, after):
    truth, prediction, spacing_mm, tolerance_mm = pair
    padded = [np.pad(mask, (before, after)) for mask in (truth, prediction)]
    assert surface_dice(*padded, spacing_mm, tolerance_mm) == surface_dice(
        truth, prediction, spacing_mm, tolerance_mm
    )


@settings(deadline=None)
@given(label_pairs(), st.permutations([1, 2, 3, 4]))
def test_renaming_the_labels_of_both_changes_no_mean(pair, names):
    renamed = [np.array([0, *names], np.uint16)[labels] for labels in pair]
    before, after = score_case(*pair, (1, 1)), score_case(*renamed, (1, 1))
    assert after.dsc == pytest.approx(before.dsc, abs=1e-15)
    assert after.nsd == pytest.approx(before.nsd, abs=1e-15)
    assert after.false_positive_voxels == before.false_positive_voxels


@settings(deadline=None)
@given(label_pairs())
def test_a_case_is_the_mean_of_its_labels_scored_alone(pair):
    truth, prediction = pair
    labels = [label for label in np.unique(truth) if label]
    found = score_case(truth, prediction, (1, 1))
    assert [label.label for label in found.labels] == labels
    for label in found.labels:
        masks = truth == label.label, prediction == label.label
        assert label.dsc == dice(*masks)
        assert label.nsd == surface_dice(*masks, (1, 1), 2)
    if labels:
        assert found.dsc == math.fsum(label.dsc for label in found.labels) / len(labels)


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (names, dtype)
        for names in [(1, 3), (2, 255), (255, 300), (7, 70_000), (1, 2**40)]
        for dtype in ["u1", "u2", "i4", "u8", ">i2"]
        if names[1] <= np.iinfo(dtype).max
    ],
)
def test_labels_are_those_of_the_truth_whatever_their_numbers_and_type(names, dtype):
    truth = np.zeros((6, 12), dtype)
    truth[1:3, 1:5], truth[3:5, 6:10] = names
    score = score_case(truth, truth.copy(), (1, 1))
    assert [label.label for label in score.labels] == list(names)
    assert (score.dsc, score.nsd) == (1.0, 1.0)


def test_truth_and_prediction_may_have_different_types():
    truth, prediction = np.zeros((2, 5, 5), np.int64), np.zeros((2, 5, 5), np.uint8)
    truth[:, 1:4, 1:4] = prediction[:, 1:4, 1:4] = 200
    assert score_case(truth, prediction, (1, 1, 1)).dsc == 1.0


def test_a_missed_label_counts_zero_and_raw_counts_are_kept():
    truth, prediction = np.zeros((8, 20), np.uint8), np.zeros((8, 20), np.uint8)
    truth[2:5, 2:6], truth[2:5, 12:16] = 1, 2
    prediction[2:5, 2:6] = 1
    score = score_case(truth, prediction, (1, 1))
    found, missed = score.labels
    assert (score.dsc, score.nsd) == (0.5, 0.5)
    assert (found.truth_voxels, found.predicted_voxels, found.overlap_voxels) == (12, 12, 12)
    assert (missed.truth_voxels, missed.predicted_voxels, missed.overlap_voxels) == (12, 0, 0)
    contour = 2 * 2 + 2 * 3 + 4 * math.sqrt(0.5)
    assert missed.truth_surface == pytest.approx(contour)
    assert (missed.predicted_surface, missed.truth_surface_within) == (0, 0)


def test_labels_only_in_the_prediction_are_reported_and_leave_the_mean_alone():
    truth, prediction = np.zeros((8, 20), np.uint8), np.zeros((8, 20), np.uint8)
    truth[2:5, 2:6] = prediction[2:5, 2:6] = 1
    prediction[6:8, 10:15] = 9
    score = score_case(truth, prediction, (1, 1))
    assert score.dsc == 1.0
    assert score.false_positive_labels == (9,)
    assert score.false_positive_voxels == 10


def test_a_truth_without_labels_agrees_only_with_an_empty_prediction():
    empty, found = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8)
    assert score_case(empty, empty, (1, 1)).dsc == 1.0
    score = score_case(empty, found, (1, 1))
    assert (score.dsc, score.nsd, score.labels) == (0.0, 0.0, ())
    assert score.false_positive_labels == (1,)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"one shape, found \(2, 2\) and \(2, 3\)"):
        dice(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match=r"one shape, found \(2, 2\) and \(2, 3\)"):
        score_case(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), (1, 1))


def test_a_fine_spacing_costs_no_memory():
    """The tolerance of 2 mm is 2,000 voxels of 1 um: nothing of the grid is that large."""
    truth = np.zeros((20, 30, 30), np.uint8)
    truth[5:14, 6:20, 8:22] = 1
    found = np.roll(truth, 3, axis=2)
    tracemalloc.start()
    fine = score_case(truth, found, (0.001,) * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fine.nsd == 1.0 and fine.dsc == score_case(truth, found, (1.0,) * 3).dsc
    assert peak < 50e6
    for spacing_mm in ((0.001, 1.0, 1.0), (1.0, 0.001, 1.0)):  # the shift is of 3 mm
        uneven = surface_dice(truth > 0, found > 0, spacing_mm, 2.0)
        curve = surface_dice_curve(truth > 0, found > 0, spacing_mm, [2.0])
        assert 0 < uneven < 1 and uneven == pytest.approx(curve[0], abs=1e-12)
