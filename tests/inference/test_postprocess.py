"""Logits to masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from inference.postprocess import Mask, add_ellipse, draw_mask, sample_mask
from tests.inference.builders import whole

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6))


@given(MASKS, st.integers(0, 9), st.integers(0, 9))
def test_edges_are_the_bounding_box_in_the_picture(inside, top, left):
    mask = Mask(top, left, inside)
    found = ndimage.find_objects(whole(mask, (20, 20)).astype(int))
    assert mask.is_empty == (not found)
    if found:
        rows, columns = found[0]
        assert mask.edges == (columns.start, rows.start, columns.stop, rows.stop)
    else:
        assert mask.edges is None


def test_a_window_without_pixels_is_empty():
    assert Mask(3, 4, np.zeros((0, 0), bool)).is_empty


def test_logits_on_the_pictures_own_grid_are_thresholded():
    logits = np.array([[1, -1, 0.5], [0, 2, -3]], np.float32)
    mask = draw_mask(logits, (0, 0, 3, 2), (2, 3), 0.0)
    assert mask.inside.tolist() == [[True, False, True], [False, True, False]]


def test_only_what_is_above_the_threshold_belongs():
    logits = np.array([[0.4, 0.5, 0.6]], np.float32)
    assert draw_mask(logits, (0, 0, 3, 1), (1, 3), 0.5).inside.tolist() == [[False, False, True]]


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 2.0])
def test_nothing_is_set_outside_of_what_the_logits_cover(threshold):
    logits = np.full((4, 4), 9, np.float32)
    mask = draw_mask(logits, (2.6, 1.0, 6.4, 5.0), (8, 10), threshold)
    expected = np.zeros((8, 10), bool)
    expected[1:5, 3:6] = True  # the centres of columns 2 and 6 lie outside, by a tenth of a pixel
    assert np.array_equal(whole(mask, (8, 10)), expected)


def test_a_region_over_the_border_is_cut_at_it():
    mask = draw_mask(np.full((4, 4), 9, np.float32), (-2, -2, 2, 2), (5, 5), 0.0)
    assert np.array_equal(np.argwhere(whole(mask, (5, 5))), [[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize("covers", [(20, 0, 24, 4), (-9, -9, -5, -5)])
def test_a_region_beside_the_picture_gives_an_empty_mask(covers):
    assert draw_mask(np.full((4, 4), 9, np.float32), covers, (5, 5), 0.0).is_empty


def test_a_kept_box_cuts_the_mask_at_the_pixels_whose_centres_it_holds():
    logits = np.full((6, 6), 9, np.float32)
    mask = draw_mask(logits, (0, 0, 6, 6), (6, 6), 0.0, keep=(1.0, 2.4, 4.0, 5.6))
    expected = np.zeros((6, 6), bool)
    expected[2:6, 1:4] = True  # rows 2 (centre 2.5) to 5 (centre 5.5)
    assert np.array_equal(whole(mask, (6, 6)), expected)


def test_logits_are_enlarged_bilinearly_once():
    # 1 and -1 side by side over eight columns: zero is crossed in the middle
    mask = draw_mask(np.array([[1, -1]], np.float32), (0, 0, 8, 1), (1, 8), 0.0)
    assert mask.inside.tolist() == [[True] * 4 + [False] * 4]


def test_logits_that_are_no_numbers_belong_to_nothing():
    assert draw_mask(np.full((3, 3), np.nan, np.float32), (0, 0, 3, 3), (3, 3), 0.0).is_empty


def test_a_mask_is_sampled_as_shares():
    mask = Mask(1, 1, np.ones((2, 2), bool))
    found = sample_mask(mask, (0, 0, 4, 4), (4, 4))
    assert np.array_equal(found, whole(mask, (4, 4)))


def test_outside_of_its_window_a_mask_is_empty():
    mask = Mask(2, 2, np.ones((2, 2), bool))
    assert not sample_mask(mask, (10, 10, 14, 14), (4, 4)).any()
    assert not sample_mask(Mask(0, 0, np.zeros((0, 0), bool)), (0, 0, 4, 4), (4, 4)).any()


def test_the_ellipse_prior_is_one_in_the_middle_nothing_on_the_ellipse_and_bounded_outside():
    flat = np.zeros((8, 8), np.float32)
    added = add_ellipse(flat, (0.0, 0.0, 8.0, 8.0), (1.5, 2.5, 5.5, 6.5), 2.0)
    assert added[4, 3] == 2.0  # pixel (3, 4) has its centre in the box's middle, (3.5, 4.5)
    assert added[4, 5] == 0.0 and added[6, 3] == 0.0  # centres on the box's sides, (5.5, 4.5)
    assert added[4, 4] == 1.5  # half way: 2 * (1 - 0.5 ** 2)
    assert added.min() == -2.0
    assert not flat.any()
