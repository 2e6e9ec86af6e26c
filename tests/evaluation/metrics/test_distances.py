"""Sizes, IoU, distances and NSD curves: answers by hand and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics import surface_dice
from evaluation.metrics.distances import iou, surface_dice_curve, surface_distances
from tests.evaluation.builders import disk

TOLERANCES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0]


@st.composite
def mask_pairs(draw):
    """Two masks of one shape, and a spacing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=7))
    masks = [draw(hnp.arrays(bool, shape)) for _ in range(2)]
    return *masks, tuple(draw(st.sampled_from([0.5, 0.8, 1.0, 2.5])) for _ in shape)


def test_a_pixel_two_pixels_aside():
    """Corner points in columns 2 and 3 against 4 and 5 of 2.5 mm: half are 2.5, half 5 mm off."""
    one, other = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    one[4, 2], other[4, 4] = True, True
    found = surface_distances(one, other, (1, 2.5))
    assert found.average_mm == pytest.approx(3.75)
    assert found.hausdorff_mm() == 5.0
    assert found.hausdorff_mm(50) == 2.5
    assert found.surface_dice([2.4, 2.5, 5]) == [0.0, 0.5, 1.0]
    assert iou(one, other) == 0.0


def test_iou_of_a_half_overlap():
    truth, prediction = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    truth[:, :2], prediction[:, 1:] = True, True
    assert iou(truth, prediction) == 2 / 8


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_both_empty_is_agreement_and_one_empty_is_infinitely_far(shape):
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    spacing_mm = (1.0,) * len(shape)
    both = surface_distances(empty, empty, spacing_mm)
    assert (both.average_mm, both.hausdorff_mm(), iou(empty, empty)) == (0.0, 0.0, 1.0)
    assert both.surface_dice([0, 2]) == [1.0, 1.0]
    for pair in ((empty, full), (full, empty)):
        one = surface_distances(*pair, spacing_mm)
        assert (one.average_mm, one.hausdorff_mm(), iou(*pair)) == (math.inf, math.inf, 0.0)
        assert one.surface_dice([0, 2]) == [0.0, 0.0]


def test_concentric_disks_are_as_far_apart_as_their_radii():
    large, small = (disk((80, 80), (40, 40), radius) for radius in (30, 24))
    found = surface_distances(large, small, (0.5, 0.5))
    assert found.average_mm == pytest.approx(3.0, abs=0.2)
    assert found.hausdorff_mm() == pytest.approx(3.0, abs=0.3)


@settings(deadline=None)
@given(mask_pairs())
def test_a_curve_is_nsd_at_each_tolerance_and_never_falls(pair):
    curve = surface_dice_curve(*pair, TOLERANCES)
    assert curve == sorted(curve)
    assert curve == [
        pytest.approx(surface_dice(*pair, tolerance_mm), abs=1e-12) for tolerance_mm in TOLERANCES
    ]


@settings(deadline=None)
@given(mask_pairs())
def test_distances_are_symmetric_and_ordered(pair):
    truth, prediction, spacing_mm = pair
    forth, back = (
        surface_distances(*masks, spacing_mm)
        for masks in ((truth, prediction), (prediction, truth))
    )
    assert forth.average_mm == pytest.approx(back.average_mm, abs=1e-12)
    assert forth.hausdorff_mm() == back.hausdorff_mm()
    assert forth.hausdorff_mm(50) <= forth.hausdorff_mm() <= forth.hausdorff_mm(100)
    assert forth.average_mm <= forth.hausdorff_mm(100) + 1e-12
