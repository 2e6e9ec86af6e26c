"""Grids: orientations by hand, and moving there and back for any grid."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_splits.errors import SourceError
from data_splits.geometry import (
    RAS_FROM_LPS,
    Grid,
    check_orientation,
    grid_from_ras,
    move,
    oriented,
)

CODES = ("LPS", "RAS", "PIL", "LIP", "SAR", "IRP")


def grid(shape=(4, 5, 6), spacing=(0.7, 0.9, 3.0), origin=(-10.0, 20.0, 30.0)) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Grid(shape, affine)


def test_stated_geometry_by_hand():
    g = grid()
    assert g.orientation == "LPS"
    assert g.spacing_xyz_mm.tolist() == [0.7, 0.9, 3.0]
    turned = oriented(g, "RAS")
    assert turned.shape_zyx == (4, 5, 6) and turned.orientation == "RAS"
    assert turned.origin_lps_mm == pytest.approx([-10 + 5 * 0.7, 20 + 4 * 0.9, 30])
    sagittal = oriented(g, "PIL")  # x to the back, y to the feet, z to the left
    assert sagittal.shape_zyx == (6, 4, 5)
    assert sagittal.origin_lps_mm == pytest.approx([-10, 20, 30 + 3 * 3.0])


def test_an_array_moves_as_written_by_hand():
    array = np.arange(6).reshape(1, 2, 3)
    moved = move(array, grid((1, 2, 3)), oriented(grid((1, 2, 3)), "RPS"))
    assert moved.tolist() == [[[2, 1, 0], [5, 4, 3]]]


@pytest.mark.parametrize(
    ("spacing", "orientation"),
    [((0.5, 0.5, 4), "LPS"), ((4, 0.5, 0.5), "PIL"), ((0.5, 4, 0.5), "LIP"), ((1, 1, 1.2), "LPS")],
)
def test_acquired_slices_are_kept(spacing, orientation):
    assert oriented(grid(spacing=spacing), "acquired").orientation == orientation


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from(CODES), st.sampled_from([*CODES, "acquired"]))
def test_any_grid_comes_back_whole_and_every_voxel_keeps_its_place(seed, stored, wanted):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(np.eye(3) + rng.normal(0, 0.15, (3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = q * np.sign(np.diag(q)) * rng.uniform(0.3, 5, 3)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    shape = tuple(int(n) for n in rng.integers(1, 7, 3))
    start = oriented(Grid(shape, affine), stored)
    array = rng.integers(1, 100, start.shape_zyx)
    target = oriented(start, wanted)
    moved = move(array, start, target)
    assert np.array_equal(move(moved, target, start), array)
    axcodes = "".join(nib.aff2axcodes(RAS_FROM_LPS @ target.affine_lps))
    assert target.orientation == axcodes
    z, y, x = (int(rng.integers(0, n)) for n in moved.shape)
    place = target.affine_lps @ [x, y, z, 1]
    i, j, k = np.round(np.linalg.solve(start.affine_lps, place)[:3]).astype(int)
    assert array[k, j, i] == moved[z, y, x]


def test_a_crop_goes_back_to_its_slices():
    g = grid()
    labels = np.ones((2, 5, 6), np.uint8)
    back = move(labels, g.cropped(1, 2), g)
    assert back.any(axis=(1, 2)).tolist() == [False, True, True, False]
    with pytest.raises(SourceError, match="60 outside"):
        move(np.ones(g.shape_zyx, np.uint8), g, g.cropped(1, 2))


def test_rounding_of_headers_is_the_same_grid_and_half_a_voxel_is_not():
    near, far = grid(origin=(-10.001, 20, 30)), grid(origin=(-10.3, 20, 30))
    assert move(np.ones((4, 5, 6)), near, grid()).all()
    with pytest.raises(SourceError, match="own grid"):
        move(np.zeros((4, 5, 6)), far, grid())


def test_ras_is_lps_with_two_signs_turned():
    assert grid_from_ras((1, 1, 1), np.eye(4)).orientation == "RAS"


@pytest.mark.parametrize("code", ["LPX", "LL", "LRS", "", "LPSA"])
def test_false_orientations_are_refused(code):
    with pytest.raises(ValueError, match="three letters"):
        check_orientation(code)
