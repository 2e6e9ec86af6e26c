"""Boxes: inclusive as given, edges inside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.prompt import box_edges, box_regions, mask_edges, middle_slice, slice_depth
from inference.rules import RegionRule

RULE = RegionRule(side=8, margin=0.25, max_aspect=2.0, min_pixels=12.0)


def test_the_last_pixel_of_a_box_belongs_to_it():
    assert box_edges(np.array([[2, 3, 2, 5]])).tolist() == [[2, 3, 3, 6]]


def test_edges_are_floating_point_and_the_boxes_stay_as_they_are():
    boxes = np.array([[0.5, 1.25, 7.5, 9.0]])
    assert box_edges(boxes).tolist() == [[0.5, 1.25, 8.5, 10.0]]
    assert boxes.tolist() == [[0.5, 1.25, 7.5, 9.0]]


def test_a_region_is_the_box_with_a_margin_on_every_side():
    # 40 x 20 and a quarter of each on either side: 60 x 30 around the same middle
    assert box_regions(np.array([[10.0, 10, 50, 30]]), RULE).tolist() == [[0, 5, 60, 35]]


def test_a_thin_box_is_widened_to_the_largest_aspect():
    # 80 x 10: height becomes 80 / 2 = 40, then both grow by half
    assert box_regions(np.array([[0.0, 20, 80, 30]]), RULE).tolist() == [[-20, -5, 100, 55]]


def test_a_tiny_box_gets_the_smallest_region():
    assert box_regions(np.array([[5.0, 5, 6, 6]]), RULE).tolist() == [[-0.5, -0.5, 11.5, 11.5]]


def test_no_boxes_have_no_regions():
    assert box_regions(np.zeros((0, 4)), RULE).shape == (0, 4)


def test_mask_edges_are_tight():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3] = mask[3, 5] = True
    assert mask_edges(mask) == (3, 2, 6, 4)


def test_an_empty_mask_has_no_edges():
    assert mask_edges(np.zeros((3, 3), bool)) is None


@pytest.mark.parametrize(("ends", "middle"), [((0, 0), 0), ((2, 6), 4), ((2, 5), 3), ((0, 1), 0)])
def test_propagation_starts_in_the_middle_the_lower_of_two(ends, middle):
    assert middle_slice(*ends) == middle


def test_depth_is_the_distance_from_the_middle_of_the_range():
    # slices 2..5: the range's middle lies at 4, its half width is 2
    assert [slice_depth(z, 2, 5) for z in (2, 3, 4, 5)] == [0.75, 0.25, 0.25, 0.75]
    assert slice_depth(7, 7, 7) == 0


@given(st.integers(0, 50), st.integers(0, 50))
def test_depth_is_symmetric_and_below_one(z_min, extent):
    z_max = z_min + extent
    depths = [slice_depth(z, z_min, z_max) for z in range(z_min, z_max + 1)]
    assert depths == depths[::-1]
    assert all(0 <= depth < 1 for depth in depths)
