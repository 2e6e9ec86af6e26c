"""Resampling: Pillow's BILINEAR, of any rectangle, with zeros outside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inference.resample import axis_weights, block_means, resample


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pillow(picture, rect, size):
    resized = Image.fromarray(picture.astype(np.float32)).resize(
        size[::-1], Image.Resampling.BILINEAR, box=rect
    )
    return np.asarray(resized)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_inside_the_picture_it_is_what_pillow_does(data):
    height, width = data.draw(st.tuples(st.integers(3, 30), st.integers(3, 30)))
    x0 = data.draw(st.floats(0, width - 1.5))
    y0 = data.draw(st.floats(0, height - 1.5))
    x1 = data.draw(st.floats(x0 + 1, width))
    y1 = data.draw(st.floats(y0 + 1, height))
    size = data.draw(st.tuples(st.integers(4, 40), st.integers(4, 40)))
    picture = noise(height, width, seed=data.draw(st.integers(0, 99)))
    found = resample(picture, (x0, y0, x1, y1), size)
    assert found.dtype == np.float32 and found.shape == size
    # Pillow cuts its triangles at whole pixels, which moves weights below a hundredth
    np.testing.assert_allclose(found, pillow(picture, (x0, y0, x1, y1), size), atol=0.02 * 255)


@pytest.mark.parametrize("size", [(20, 30), (40, 60), (7, 11), (10, 12), (50, 13)])
def test_whole_pictures_are_what_pillow_makes_of_them(size):
    picture = noise(40, 60)
    found = resample(picture, (0, 0, 60, 40), size)
    np.testing.assert_allclose(found, pillow(picture, (0, 0, 60, 40), size), atol=0.01)


def test_a_large_picture_goes_through_block_means_and_stays_close_to_pillow():
    rows, columns = np.mgrid[0:600, 0:800]
    picture = (127 + 60 * np.sin(rows / 40) + 60 * np.cos(columns / 50)).astype(np.uint8)
    found = resample(picture, (0, 0, 800, 600), (30, 40))
    np.testing.assert_allclose(found, pillow(picture, (0, 0, 800, 600), (30, 40)), atol=1.5)


def test_the_same_grid_gives_the_same_numbers():
    picture = noise(9, 13)
    assert np.array_equal(resample(picture, (0, 0, 13, 9), (9, 13)), picture)


def test_a_part_at_its_own_resolution_is_cut_out():
    picture = noise(9, 13)
    assert np.array_equal(resample(picture, (2, 1, 7, 5), (4, 5)), picture[1:5, 2:7])


def test_halving_a_step_by_hand():
    # centres at 1 and 3, triangles of half width 2: pixels 0, 1, 2 weigh .75, .75, .25 of 1.75
    weights = axis_weights(0, 4, 4, 2)
    expected = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_outside_the_picture_is_zero():
    picture = np.full((4, 4), 200, np.uint8)
    found = resample(picture, (-4, -4, 8, 8), (12, 12))
    assert np.array_equal(found[4:8, 4:8], picture)
    assert found.sum() == 16 * 200


@pytest.mark.parametrize("rect", [(50, 0, 60, 10), (-60, 0, -50, 10), (0, 99, 10, 109)])
def test_a_rectangle_beside_the_picture_is_empty(rect):
    assert not resample(np.full((8, 8), 9, np.uint8), rect, (5, 5)).any()


def test_every_channel_is_resampled_alone():
    picture = noise(20, 30, 3)
    found = resample(picture, (1.5, 2.25, 28, 19), (9, 7))
    for channel in range(3):
        alone = resample(picture[:, :, channel], (1.5, 2.25, 28, 19), (9, 7))
        np.testing.assert_allclose(found[:, :, channel], alone, rtol=1e-6)


def test_one_pixel_fills_whatever_it_is_asked_for():
    assert (resample(np.full((1, 1), 7, np.uint8), (0, 0, 1, 1), (5, 6)) == 7).all()


@given(st.integers(1, 40), st.integers(1, 60), st.floats(-20, 20), st.floats(0.5, 80))
def test_weights_of_a_pixel_are_shares_or_nothing(size_in, size_out, low, extent):
    total = axis_weights(low, low + extent, size_in, size_out).sum(1)
    assert np.all(np.isclose(total, 1, atol=1e-5) | (total == 0))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_block_means_are_means_of_blocks(height, width, by, bx, colour):
    picture = noise(height, width, 3) if colour else noise(height, width)
    found = block_means(picture, by, bx)
    assert found.shape[:2] == (-(-height // by), -(-width // bx))
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            block = picture[row * by : (row + 1) * by, column * bx : (column + 1) * bx]
            expected = block.reshape(-1, *picture.shape[2:]).mean(0)
            np.testing.assert_allclose(found[row, column], expected, rtol=1e-6)


def test_block_sums_of_white_pixels_do_not_overflow():
    assert (block_means(np.full((600, 8), 255, np.uint8), 300, 8) == 255).all()
    assert (block_means(np.full((257, 300), 255, np.uint8), 257, 300) == 255).all()
