"""How closely a box fits, seen from the answer to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.box_fit import largest_gap

COVERS = (10.0, 20.0, 26.0, 36.0)
"""16 x 16 cells of one pixel."""


def logits_of(x0, y0, x1, y1):
    """Distance to the nearest side of a rectangle of edges, as a decoder might give it."""
    x, y = 10.5 + np.arange(16), 20.5 + np.arange(16)[:, None]
    inside = np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))
    return inside.astype(np.float32)


@given(
    st.tuples(*[st.floats(0, 3.4)] * 4),
)
def test_the_gap_is_the_largest_of_the_four_sides_finer_than_the_grid(gaps):
    box = (13.0, 22.0, 23.0, 34.0)
    left, top, right, bottom = gaps
    shown = logits_of(box[0] + left, box[1] + top, box[2] - right, box[3] - bottom)
    expected = max(left / 10, right / 10, top / 12, bottom / 12)
    assert largest_gap(shown, COVERS, box, 0.0) == pytest.approx(expected, abs=0.01)


def test_an_object_over_the_sides_is_no_distance_from_them():
    assert largest_gap(logits_of(10, 20, 26, 36), COVERS, (13.0, 23.0, 23.0, 33.0), 0.0) == 0


def test_an_object_that_fills_the_region_ends_at_its_edges():
    full = np.ones((4, 4), np.float32)
    assert largest_gap(full, (0, 0, 8, 8), (-1.0, 0.0, 9.0, 8.0), 0.0) == pytest.approx(0.1)


def test_the_threshold_moves_the_outline():
    box = (13.0, 22.0, 23.0, 34.0)
    shown = logits_of(*box)
    assert largest_gap(shown, COVERS, box, 0.0) == pytest.approx(0, abs=1e-6)
    assert largest_gap(shown, COVERS, box, 1.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "logits", [np.full((4, 4), -1, np.float32), np.full((4, 4), np.nan, np.float32)]
)
def test_nothing_is_infinitely_far(logits):
    assert largest_gap(logits, (0, 0, 4, 4), (0, 0, 4, 4), 0.0) == float("inf")
