"""From a picture to the encoder's input, and from any numbers to eight bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inference import preprocess
from inference.preprocess import Frame, eight_bit, encoder_input
from inference.rules import Normalisation


def test_the_longest_side_fills_the_input():
    assert Frame.fit(50, 100, 256, "longest-side") == Frame(50, 100, 128, 256, 256)
    assert Frame.fit(1000, 250, 256, "longest-side") == Frame(1000, 250, 256, 64, 256)


def test_stretching_fills_the_square():
    assert Frame.fit(50, 100, 256, "stretch") == Frame(50, 100, 256, 256, 256, True)


def test_a_line_of_pixels_keeps_one_row():
    assert Frame.fit(1, 10_000, 256, "longest-side").rows == 1


def test_boxes_are_scaled_in_floating_point():
    # challenge.md B3: x 131..475 of 2604 columns is 12.88..46.70, not 12..46
    frame = Frame.fit(1726, 2604, 256, "longest-side")
    x0, _, x1, _ = frame.to_input(np.array([[131.0, 0, 475, 100]]))[0]
    assert x0 == pytest.approx(12.88, abs=0.005)
    assert x1 == pytest.approx(46.70, abs=0.005)


def test_the_whole_input_reaches_beyond_the_picture_by_its_padding():
    assert Frame.fit(50, 100, 256, "longest-side").input_rect == (0, 0, 100, 100)
    assert Frame.fit(50, 100, 256, "stretch").input_rect == (0, 0, 100, 50)


def test_padding_lies_right_and_below_and_is_zero():
    frame = Frame.fit(2, 4, 4, "longest-side")
    found = encoder_input(np.full((2, 4, 3), 9, np.uint8), frame, Normalisation())
    assert found.shape == (1, 3, 4, 4) and found.dtype == np.float32
    assert (found[0, :, :2] == 9).all() and (found[0, :, 2:] == 0).all()


def test_grey_pictures_fill_three_channels():
    frame = Frame.fit(4, 4, 4, "longest-side")
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.array_equal(encoder_input(grey, frame, Normalisation())[0], [grey] * 3)


def test_mean_and_std_are_of_each_channel_and_padding_stays_zero():
    rule = Normalisation("mean-std", (10.0, 20.0, 30.0), (1.0, 2.0, 4.0))
    frame = Frame.fit(1, 2, 2, "longest-side")
    found = encoder_input(np.full((1, 2, 3), 50, np.uint8), frame, rule)
    assert found[0, :, 0, 0].tolist() == [40, 15, 5]
    assert not found[0, :, 1].any()


def test_min_max_spreads_over_zero_to_one():
    frame = Frame.fit(1, 3, 3, "longest-side")
    found = encoder_input(np.array([[50, 100, 150]], np.uint8), frame, Normalisation("min-max"))
    assert found[0, 0, 0].tolist() == [0, 0.5, 1]


def test_min_max_of_a_constant_picture_is_zero():
    frame = Frame.fit(2, 2, 2, "longest-side")
    rule = Normalisation("min-max")
    assert not encoder_input(np.full((2, 2), 77, np.uint8), frame, rule).any()


# --- eight bits ---------------------------------------------------------------------------------


def test_bytes_are_not_even_copied():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert eight_bit(picture) is picture


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int64", "f2", "f4", "f8", ">f4", ">i2", "g"])
def test_numbers_that_fit_a_byte_stay(dtype):
    assert eight_bit(np.array([[0, 7, 255]], dtype)).tolist() == [[0, 7, 255]]


def test_fractions_are_rounded():
    assert eight_bit(np.array([[0.4, 1.6, 254.6]])).tolist() == [[0, 2, 255]]


def test_wide_numbers_are_spread_over_a_byte():
    assert eight_bit(np.array([[0, 500, 1000]] * 9, np.uint16))[0].tolist() == [0, 128, 255]


def test_hounsfield_units_are_spread_over_a_byte():
    assert eight_bit(np.array([[-1000, 0, 1000]] * 9, np.int16))[0].tolist() == [0, 128, 255]


def test_pictures_of_zero_to_one_are_spread():
    assert eight_bit(np.array([[0, 0.5, 1.0]] * 9))[0].tolist() == [0, 128, 255]
    assert eight_bit(np.array([[False, True]])).tolist() == [[0, 255]]


def test_half_a_percent_on_either_end_is_clipped():
    values = np.full((100, 100), 500.0)
    values[:50] = 1000
    values[0, :3], values[99, :3] = 1e6, -1e6  # 0.03 % each
    assert (eight_bit(values) == np.repeat([[255], [0]], 50, axis=0)).all()


def test_a_speck_too_small_for_percentiles_is_still_seen():
    values = np.zeros((100, 100), np.float32)
    values[3, 4] = 7000
    assert eight_bit(values)[3, 4] == 255


@pytest.mark.parametrize("value", [-3, 1000, 1e308, -1e308, 0.5])
def test_a_constant_picture_becomes_black(value):
    assert not eight_bit(np.full((3, 3), value)).any()


@pytest.mark.parametrize("values", [[-1e308, 0, 1e308], [0, 5e-324, 1e-323], [1e-300, 1, 1e300]])
def test_the_ends_of_floating_point_overflow_nothing(values):
    found = eight_bit(np.array([values] * 200))
    assert found[0, 0] == 0 and found[0, 2] == 255


NUMBERS = st.sampled_from(["?", "i1", "u2", "<i4", ">i4", "i8", "u8", "f2", "f4", ">f8"])


@settings(deadline=None)
@given(st.data(), NUMBERS)
def test_any_numbers_keep_their_order(data, dtype):
    finite = {"allow_nan": False, "allow_infinity": False} if "f" in dtype else {}
    shape = arrays.array_shapes(min_dims=2, max_dims=3, max_side=8)
    elements = arrays.from_dtype(np.dtype(dtype), **finite)
    values = data.draw(arrays.arrays(dtype, shape, elements=elements))
    found = eight_bit(values)
    assert found.dtype == np.uint8 and found.shape == values.shape
    order = np.argsort(values, axis=None)
    assert (np.diff(found.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("layout", ["C", "F"])
def test_working_on_a_few_rows_at_a_time_changes_nothing(layout, monkeypatch):
    values = np.random.default_rng(0).normal(0, 900, (37, 11, 3)).astype("f4", order=layout)
    whole = eight_bit(values)
    monkeypatch.setattr(preprocess, "_VALUES_AT_ONCE", 100)
    assert np.array_equal(eight_bit(values), whole)
