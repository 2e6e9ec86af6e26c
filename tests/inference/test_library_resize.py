"""The published programs' resizers, against the libraries themselves where they are there."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import transform

from inference.library_resize import resize_like

SIZES = [((40, 64), (20, 32)), ((60, 80), (13, 17)), ((33, 21), (48, 31)), ((50, 50), (16, 33))]
"""Halved, shrunk, enlarged, and one axis each way."""


def noisy(shape, channels=3):
    rng = np.random.default_rng(shape[0])
    smooth = np.add.outer(np.arange(shape[0]) * 2, np.arange(shape[1])) % 200
    picture = smooth[:, :, None] + rng.integers(0, 56, (*shape, channels))
    return picture.astype(np.uint8)


def test_an_area_is_a_mean_and_a_half_goes_up_when_halved():
    picture = np.array([[0, 1, 10, 20], [0, 1, 30, 41]], np.uint8)
    assert resize_like(picture, (1, 2), "area").tolist() == [[1, 25]]  # 0.5 and 25.25


@pytest.mark.parametrize("rule", ["area", "linear"])
def test_half_the_size_is_the_mean_of_four_by_both_rules(rule):
    picture = np.random.default_rng(2).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    found = resize_like(picture, (3, 5), rule)
    for y, x, c in np.ndindex(3, 5, 3):
        four = picture[2 * y : 2 * y + 2, 2 * x : 2 * x + 2, c]
        assert found[y, x, c] == (int(four.sum()) + 2) // 4


def test_a_half_goes_to_the_even_number_by_any_other_factor():
    picture = np.array([[0, 1, 0, 1, 4, 5, 4, 5]], np.uint8).repeat(4, 0)
    assert resize_like(picture, (1, 2), "area").tolist() == [[0, 4]]  # 0.5 and 4.5


def test_an_area_counts_part_of_a_pixel():
    picture = np.array([[0, 90, 30]], np.uint8)  # 1.5 pixels each: (0 + 45) / 1.5, (45 + 30) / 1.5
    assert resize_like(picture, (1, 2), "area").tolist() == [[30, 50]]


def test_linear_looks_at_the_two_nearest_pixels_however_far_it_shrinks():
    picture = np.zeros((1, 30), np.uint8)
    picture[0, [4, 15]] = 200  # centres of the three new pixels: 4.5, 14.5, 24.5 (index space)
    assert resize_like(picture, (1, 3), "linear").tolist() == [[100, 100, 0]]


@pytest.mark.parametrize("rule", ["area", "linear", "pillow", "spline"])
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_a_constant_picture_stays_constant(rule, shape, size):
    for value in (0, 7, 255):
        picture = np.full((*shape, 3), value, np.uint8)
        assert (resize_like(picture, size, rule) == value).all()


@pytest.mark.parametrize("rule", ["area", "linear", "pillow", "spline"])
def test_a_grey_picture_is_one_channel_of_a_colour_one(rule):
    picture = noisy((30, 40), 1)
    grey = resize_like(picture[:, :, 0], (12, 16), rule)
    colour = resize_like(np.repeat(picture, 3, 2), (12, 16), rule)
    assert grey.shape == (12, 16)
    assert all(np.array_equal(grey, colour[:, :, i]) for i in range(3))


@given(*[st.integers(1, 150)] * 4, st.integers(0, 99))
def test_pillow_gives_what_pillow_gives_to_the_bit(height, width, rows, columns, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # In two steps: Pillow 13 takes the rows first where that is less work.
    narrow = Image.fromarray(picture).resize((columns, height), Image.Resampling.BILINEAR)
    expected = narrow.resize((columns, rows), Image.Resampling.BILINEAR)
    assert np.array_equal(resize_like(picture, (rows, columns), "pillow"), np.asarray(expected))


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_spline_gives_what_scikit_image_gives(shape, size):
    picture = noisy(shape)
    floats = transform.resize(picture, size, order=3, preserve_range=True, anti_aliasing=True)
    assert np.array_equal(resize_like(picture, size, "spline"), floats.astype(np.uint8))


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="opencv is not installed")
@pytest.mark.parametrize(("shape", "size"), SIZES)
@pytest.mark.parametrize("rule", ["area", "linear"])
def test_area_and_linear_give_what_opencv_gives(rule, shape, size):
    import cv2

    flag = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}[rule]
    picture = noisy(shape)
    expected = cv2.resize(picture, size[::-1], interpolation=flag).astype(int)
    difference = np.abs(resize_like(picture, size, rule).astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
