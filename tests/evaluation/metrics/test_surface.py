"""Surface elements and distances: answers worked out by hand, and an oracle that tries all
pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics import label_surfaces
from evaluation.metrics.label_surfaces import overlap_surfaces
from evaluation.metrics.nearest import nearest_distances
from evaluation.metrics.surface import neighbour_codes, surface_points, union_box
from evaluation.metrics.surfels import element_sizes
from tests.evaluation.builders import disk, random_mask

DIAGONAL_2D = math.hypot(2, 3) / 2
"""From the middle of one edge to the middle of the next, in pixels of 2 x 3 mm."""


def brute_force_nsd(truth, prediction, spacing_mm, tolerance_mm):
    """Surface dice by the distance between every two corner points, no cropping and no
    transform."""
    sides = []
    for mask in (truth, prediction):
        codes = {}
        padded = np.pad(mask, 1)
        for corner in itertools.product(*(range(size + 1) for size in mask.shape)):
            code = 0
            for offset in itertools.product((0, 1), repeat=mask.ndim):
                bit = sum(step << axis for axis, step in enumerate(offset))
                code |= int(padded[tuple(np.add(corner, offset))]) << bit
            if 0 < code < 2 ** (2**mask.ndim) - 1:
                codes[corner] = code
        sides.append(codes)
    sizes = element_sizes(spacing_mm)
    total = within = 0.0
    for own, other in (sides, sides[::-1]):
        for corner, code in own.items():
            total += sizes[code]
            steps = [np.subtract(corner, point) * spacing_mm for point in other]
            distances = [math.sqrt(sum(step**2)) for step in steps]
            within += sizes[code] if distances and min(distances) <= tolerance_mm else 0.0
    return within / total if total else 1.0


def test_codes_all_outside_and_all_inside_have_no_surface():
    for spacing_mm, everything in (((1, 1), 15), ((1, 1, 1), 255)):
        sizes = element_sizes(spacing_mm)
        assert sizes[0] == sizes[everything] == 0
        assert (sizes[1:everything] > 0).all()


def test_a_code_and_its_complement_have_the_same_size():
    for spacing_mm in ((2, 3), (5, 0.8, 0.7)):
        sizes = element_sizes(spacing_mm)
        np.testing.assert_array_equal(sizes, sizes[::-1])


def test_lengths_of_plane_codes_by_hand():
    sizes = element_sizes((2, 3))
    assert sizes[0b0001] == pytest.approx(DIAGONAL_2D)  # one corner
    assert sizes[0b0101] == 3  # both pixels of row 0: a line along the second axis
    assert sizes[0b0011] == 2  # both pixels of column 0: a line down the first axis
    assert sizes[0b1001] == pytest.approx(2 * DIAGONAL_2D)  # two corners on a diagonal


def test_areas_of_space_codes_by_hand():
    spacing_mm = depth, height, width = (5.0, 0.8, 0.7)
    sizes = element_sizes(spacing_mm)
    half = np.array(spacing_mm) / 2
    corner = 0.5 * math.sqrt(
        (half[0] * half[1]) ** 2 + (half[0] * half[2]) ** 2 + (half[1] * half[2]) ** 2
    )
    assert sizes[0b00000001] == pytest.approx(corner)
    assert sizes[0b10000001] == pytest.approx(2 * corner)  # opposite corners
    assert sizes[0b01010101] == pytest.approx(height * width)  # the half towards axis 0
    assert sizes[0b00110011] == pytest.approx(depth * width)
    assert sizes[0b00001111] == pytest.approx(depth * height)
    edge = math.hypot(half[1], half[2]) * depth  # the pair along axis 0 is cut off by a rectangle
    assert sizes[0b00000011] == pytest.approx(edge)


def test_an_ell_of_three_voxels_is_a_triangle_and_a_trapezoid():
    """Voxels (0,0,0), (1,0,0), (0,1,0): half a face above, and the plane x + y + z = 3/2 below
    it."""
    triangle = 0.5
    # an equilateral triangle of side sqrt(2) less its tip of side sqrt(1/2)
    trapezoid = math.sqrt(3) / 4 * (2 - 1 / 2)
    assert element_sizes((1, 1, 1))[0b00000111] == pytest.approx(triangle + trapezoid)


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (5, 0.8, 0.7)])
def test_sizes_do_not_depend_on_how_the_neighbourhood_is_turned(spacing_mm):
    """Mirrored or with its axes exchanged, a code keeps its area (spacings exchanged with it)."""
    sizes = element_sizes(spacing_mm)
    for code in range(256):
        cube = np.array([code >> bit & 1 for bit in range(8)]).reshape(2, 2, 2, order="F")
        for order in itertools.permutations(range(3)):
            for flips in itertools.product((1, -1), repeat=3):
                turned = cube.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
                other = sum(int(bit) << k for k, bit in enumerate(turned.ravel(order="F")))
                turned_sizes = element_sizes(tuple(spacing_mm[axis] for axis in order))
                assert turned_sizes[other] == pytest.approx(sizes[code], abs=1e-12)


def test_a_single_pixel_has_four_corner_points():
    codes = neighbour_codes(np.ones((1, 1), bool))
    np.testing.assert_array_equal(codes, [[0b1000, 0b0010], [0b0100, 0b0001]])
    assert surface_points(codes, 2).all()


def test_contour_of_a_square_is_its_sides_with_cut_corners():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    overlap = overlap_surfaces(mask, mask, (1, 1), 0)
    assert overlap.truth == pytest.approx(4 * 9 + 4 * math.sqrt(0.5))
    assert overlap.truth == overlap.prediction == overlap.truth_within == overlap.prediction_within


def test_area_of_a_ball_is_near_that_of_a_sphere():
    ball = disk((44, 44, 44), (22, 22, 22), 18)
    area = overlap_surfaces(ball, ball, (1, 1, 1), 0).truth
    assert area == pytest.approx(4 * math.pi * 18**2, rel=0.1)


def test_a_distance_of_exactly_the_tolerance_counts_as_within():
    one, other = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    one[4, 2], other[4, 4] = True, True
    assert overlap_surfaces(one, other, (1, 2.5), 5.0).surface_dice == 1.0
    # 4.99 mm: only the column of corner points between the two pixels is near enough
    assert overlap_surfaces(one, other, (1, 2.5), 4.99).surface_dice == 0.5


def test_one_slice_aside_half_of_a_voxels_surface_is_near():
    """Table of edge cases in the reference notes: a single voxel one slice of 5 mm away gives
    0.5."""
    one, other = np.zeros((4, 9, 9), bool), np.zeros((4, 9, 9), bool)
    one[1, 4, 4], other[2, 4, 4] = True, True
    assert overlap_surfaces(one, other, (5, 0.8, 0.8), 2.0).surface_dice == 0.5


def test_nothing_is_near_an_empty_set():
    points, nothing = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    distances_mm = nearest_distances(points, nothing, (1, 1), 100)
    assert [len(found) for found in distances_mm] == [9, 0]
    assert (distances_mm[0] == math.inf).all()


def test_union_box_of_empty_masks_is_empty():
    empty = np.zeros((4, 5), bool)
    assert empty[union_box(empty, empty)].size == 0


def test_shapes_and_spacings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"one shape, found \(2, 3\) and \(3, 2\)"):
        overlap_surfaces(np.zeros((2, 3), bool), np.zeros((3, 2), bool), (1, 1), 1)
    with pytest.raises(ValueError, match="must have 2 values, found 3"):
        overlap_surfaces(np.zeros((2, 3), bool), np.zeros((2, 3), bool), (1, 1, 1), 1)
    with pytest.raises(ValueError, match="2 or 3 values, found 1"):
        element_sizes((1,))


@pytest.mark.parametrize("grows", [False, True], ids=["transform", "growth"])
@pytest.mark.parametrize("seed", range(30))
def test_surface_dice_is_that_of_all_pairs(seed, grows, monkeypatch):
    monkeypatch.setattr(label_surfaces, "can_grow", lambda *_: grows)
    rng = np.random.default_rng(seed)
    dims = 2 + seed % 2
    shape = tuple(rng.integers(1, 6 if dims == 3 else 9, dims))
    truth, prediction = random_mask(rng, shape), random_mask(rng, shape)
    spacing_mm = tuple(rng.choice([0.5, 0.8, 1.0, 2.5, 5.0], dims).tolist())
    tolerance_mm = float(rng.choice([0.0, 0.8, 1.0, 2.0, 2.5, 5.0]))
    found = overlap_surfaces(truth, prediction, spacing_mm, tolerance_mm).surface_dice
    assert found == pytest.approx(
        brute_force_nsd(truth, prediction, spacing_mm, tolerance_mm), abs=1e-12
    )


@settings(deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6)), st.data())
def test_parts_within_the_tolerance_are_never_larger_than_the_surface(truth, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    overlap = overlap_surfaces(truth, prediction, (1.5,) * truth.ndim, 1.6)
    assert 0 <= overlap.truth_within <= overlap.truth
    assert 0 <= overlap.prediction_within <= overlap.prediction
