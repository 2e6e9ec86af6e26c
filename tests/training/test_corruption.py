"""Corruptions keep the picture's form, and each does what its device does."""

import numpy as np
import pytest
from scipy import ndimage

from training.corruption import CORRUPTIONS, corrupt, ghosting, low_dose, scatter, shadow, speckle
from training.synthesis import random_ground, synthetic_picture

KINDS = sorted({kind for kinds in CORRUPTIONS.values() for kind in kinds}, key=lambda k: k.__name__)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture
def picture():
    y, x = np.mgrid[:50, :70]
    grey = 0.2 + 0.5 * ((y - 25) ** 2 + (x - 30) ** 2 < 150) + 0.1 * (x > 55)
    return np.repeat(grey.astype(np.float32)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_corruption_changes_values_and_nothing_else(kind, picture, rng):
    before = picture.copy()
    spoilt = kind(picture, rng)
    assert spoilt.shape == picture.shape and spoilt.dtype == np.float32
    assert np.isfinite(spoilt).all() and not np.allclose(spoilt, before)
    assert np.array_equal(picture, before)
    bright = np.clip(spoilt[15:35, 20:40].mean() - spoilt[:8, :8].mean(), -1, 1)
    assert bright > 0.1  # the object still stands out where it was


@pytest.mark.parametrize("modality", [*CORRUPTIONS, "Unknown"])
def test_every_modality_has_its_own(modality, picture, rng):
    eight = np.rint(picture * 255).astype(np.uint8)
    spoilt = corrupt(eight, modality, rng)
    assert spoilt.dtype == np.uint8 and spoilt.shape == eight.shape
    assert not np.array_equal(spoilt, eight)


def test_the_seed_decides(picture):
    eight = np.rint(picture * 255).astype(np.uint8)
    twice = [corrupt(eight, "MR", np.random.default_rng(3)) for _ in "ab"]
    assert np.array_equal(*twice)


def test_speckle_is_multiplicative(picture, rng):
    spoilt = speckle(np.concatenate([picture * 0, picture * 0 + 0.5]), rng)
    assert not spoilt[:50].any() and spoilt[50:].std() > 0.02
    assert spoilt[50:].mean() == pytest.approx(0.5, rel=0.05)


def test_a_shadow_never_brightens_and_is_deepest_below(picture, rng):
    kept = shadow(np.ones_like(picture), rng)
    assert kept.max() <= 1 and (np.diff(kept[:, :, 0].min(axis=1)) <= 1e-6).all()


def test_ghosts_stand_apart_by_a_part_of_the_picture():
    point = np.zeros((60, 60, 3), np.float32)
    point[30, 30] = 1
    spoilt = ghosting(point, np.random.default_rng(2))[:, :, 0]
    along = spoilt[30] if spoilt[30].sum() > spoilt[:, 30].sum() else spoilt[:, 30]
    ghosts = np.flatnonzero(along > 0.01)
    assert len(ghosts) > 1 and (60 % np.diff(ghosts) == 0).all()  # every n-th line: 60/n apart


def test_low_dose_noise_has_no_low_frequencies(rng):
    flat = np.full((256, 256, 3), 0.5, np.float32)
    noise = (low_dose(flat, rng) - flat)[:, :, 0]
    assert ndimage.uniform_filter(noise, 64).std() < 0.2 * noise.std()


def test_scatter_takes_contrast_and_keeps_the_mean(picture, rng):
    spoilt = scatter(picture, rng)
    assert spoilt.std() < picture.std()
    assert spoilt.mean() == pytest.approx(picture.mean(), rel=0.05)


def test_a_synthetic_picture_has_the_outlines_of_its_labels(rng):
    labels = np.zeros((60, 80), np.uint16)
    labels[10:40, 20:50], labels[45:55, 60:75] = 3, 9
    grey = np.full((60, 80, 3), 7, np.uint8)
    inside, colours = [], set()
    for _ in range(20):
        made = synthetic_picture(labels, grey, rng)
        assert made.shape == (60, 80, 3) and made.dtype == np.uint8
        assert np.array_equal(made[..., 0], made[..., 2])
        inside.append(made[15:35, 25:45, 0].astype(float).std())
        colours.add(int(made[15:35, 25:45, 0].mean()) // 32)
    assert np.median(inside) < 30 and len(colours) >= 4  # one tissue each, another every time


def test_a_synthetic_picture_is_coloured_where_the_real_one_is(rng):
    labels = np.zeros((40, 40), np.uint16)
    labels[10:30, 10:30] = 1
    coloured = np.zeros((40, 40, 3), np.uint8)
    coloured[..., 0] = 200
    made = synthetic_picture(labels, coloured, rng).astype(int)
    assert np.abs(made[..., 0] - made[..., 2]).max() > 10


def test_the_ground_has_at_most_so_many_parts(rng):
    ground = random_ground((40, 50), 4, rng)
    assert ground.shape == (40, 50) and set(np.unique(ground)) <= {0, 1, 2, 3}
    assert len(np.unique(ground)) > 1
