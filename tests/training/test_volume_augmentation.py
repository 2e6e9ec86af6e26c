"""What is done to an object of a volume leaves its box the box of its mask."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.volume_augmentation import (
    Piece,
    augment_cells,
    coarsen,
    flip,
    loosen,
    sampled_piece,
    tight_edges,
    turn,
)

SEEDS = st.integers(0, 10_000)
GRID = (8, 16, 16)


def ball(shape=(16, 30, 36), centre=(7.0, 13.0, 20.0), radii=(5.0, 8.0, 9.0)):
    """A bright ellipsoid in the dark, nearer to one side than to the other."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    mask = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) <= 1
    edges = tight_edges(mask)
    picture = np.where(mask, 200, 40).astype(np.uint8)
    return Piece(picture, mask, None, edges, (60.0, 90.0))


def test_tight_edges_by_hand():
    mask = np.zeros((5, 6, 7), bool)
    assert tight_edges(mask) is None
    mask[1, 2, 3] = mask[4, 2, 5] = True
    assert tight_edges(mask) == (3, 2, 1, 6, 3, 5)


@given(SEEDS)
def test_a_flipped_box_is_the_box_of_the_flipped_mask(seed):
    piece = ball()
    flipped = flip(piece, np.random.default_rng(seed))
    assert tight_edges(flipped.mask) == flipped.edges
    assert np.array_equal(flipped.picture > 100, flipped.mask)
    turned = flipped.mask.shape != piece.mask.shape
    assert flipped.side == ((90.0, 60.0) if turned else (60.0, 90.0))


@given(SEEDS)
def test_a_coarser_volume_shows_the_same_object_in_fewer_voxels(seed):
    piece = ball()
    coarse = coarsen(piece, np.random.default_rng(seed))
    assert coarse is not None and coarse.mask.size < piece.mask.size
    assert tight_edges(coarse.mask) == coarse.edges
    assert coarse.mask.mean() == pytest.approx(piece.mask.mean(), rel=0.35)
    scale = coarse.mask.shape[1] / piece.mask.shape[1]
    assert coarse.side[0] == pytest.approx(60 * scale)


def test_an_object_that_vanishes_in_coarser_voxels_is_none():
    piece = ball(radii=(1.0, 1.0, 1.0))
    assert sampled_piece(piece, (3, 3, 3)) is None
    same = sampled_piece(piece, piece.mask.shape)
    assert same is not None and np.array_equal(same.mask, piece.mask)


@given(SEEDS)
def test_a_turned_object_keeps_its_size_and_knows_what_came_from_outside(seed):
    piece = ball()
    turned = turn(piece, GRID, np.random.default_rng(seed))
    assert turned is not None and turned.known is not None
    assert tight_edges(turned.mask) == turned.edges
    assert turned.mask.sum() == pytest.approx(piece.mask.sum(), rel=0.5)
    assert set(np.unique(turned.known)) <= {0, 1}
    assert not turned.mask[turned.known == 0].any()
    assert np.abs(turned.picture[turned.mask].mean() - 200) < 40


def test_a_large_piece_is_turned_on_at_most_twice_the_grid():
    piece = ball((50, 90, 96), (25, 45, 48), (20, 36, 40))
    turned = turn(piece, GRID, np.random.default_rng(0))
    assert turned is not None and turned.mask.shape == (16, 32, 32)


@given(SEEDS, st.booleans(), st.booleans())
def test_a_loosened_box_contains_the_object_in_x_and_y(seed, loosened, moved_ends):
    piece = ball()
    box = loosen(piece, loosened, moved_ends, np.random.default_rng(seed)).edges
    before = np.array(piece.edges)
    outward = (before - box) * [1, 1, 1, -1, -1, -1]
    reach = np.array([0.05 * 90, 0.05 * 60]) if loosened else np.zeros(2)
    assert (outward[[0, 1, 3, 4]] >= 0).all() and (outward[[0, 1, 3, 4]] <= [*reach, *reach]).all()
    assert np.abs(outward[[2, 5]]).max() <= (1 if moved_ends else 0)
    assert (np.array(box) == np.round(box)).all()


def test_a_thin_object_keeps_its_ends():
    piece = replace(ball(), edges=(5.0, 6.0, 3.0, 20.0, 20.0, 5.0))
    for seed in range(20):
        box = loosen(piece, False, True, np.random.default_rng(seed)).edges
        assert (box[2], box[5]) == (3.0, 5.0)


@given(SEEDS)
def test_greys_stay_greys(seed):
    cells = np.linspace(-1, 256, 8 * 16 * 16, dtype=np.float32).reshape(GRID)
    before = cells.copy()
    found = augment_cells(cells, np.random.default_rng(seed))
    assert found.dtype == np.float32 and found.shape == GRID
    assert found.min() >= 0 and found.max() <= 255
    assert np.array_equal(cells, before)
