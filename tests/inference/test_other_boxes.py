"""What a decoder is shown of a picture's other boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.other_boxes import OtherBoxes
from inference.overlap import painting_order

RECT = (0.0, 0.0, 8.0, 8.0)


def test_a_box_is_one_in_its_middle_half_at_its_edges_and_nothing_outside():
    edges = np.array([[0, 0, 8, 8], [1, 2, 6, 5]], float)
    smaller, larger = OtherBoxes(edges, 0).shown(RECT, 8)
    assert not larger.any()
    assert np.array_equal(np.argwhere(smaller), [(y, x) for y in (2, 3, 4) for x in range(1, 6)])
    assert smaller[3, 3] == 1.0  # pixel (3, 3), whose centre is the box's, (3.5, 3.5)
    assert smaller[3, 1] == pytest.approx(0.6)  # 4/5 of the way to the left side
    assert smaller[2, 3] == pytest.approx(2 / 3)  # 2/3 of the way to the upper side
    assert smaller[2, 1] == pytest.approx(0.6)  # the nearer side counts


def test_smaller_boxes_and_larger_ones_have_a_channel_each():
    edges = np.array([[2, 2, 4, 4], [0, 0, 8, 8], [2, 2, 6, 6]], float)
    above, below = OtherBoxes(edges, 2).shown(RECT, 8)
    assert (above > 0).sum() == 4 and (below > 0).sum() == 64


@pytest.mark.parametrize("edges", [[[1, 1, 5, 5]], [[1, 1, 5, 5], [8, 0, 9, 8], [-3, -3, 0, 0]]])
def test_a_box_that_is_alone_or_far_from_the_others_is_shown_none(edges):
    shown = OtherBoxes(np.array(edges, float), 0).shown(RECT, 8)
    assert shown.shape == (2, 8, 8) and shown.dtype == np.float32 and not shown.any()


def slowly(edges, index, rect, side):
    shown = np.zeros((2, side, side))
    sizes = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in edges]
    for k, (x0, y0, x1, y1) in enumerate(edges):
        if k == index:
            continue
        over = (sizes[k], -k) < (sizes[index], -index)
        for i in range(side):
            for j in range(side):
                y = rect[1] + (rect[3] - rect[1]) * (i + 0.5) / side
                x = rect[0] + (rect[2] - rect[0]) * (j + 0.5) / side
                u, v = (2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0)
                place = max(abs(u), abs(v))
                if place <= 1:
                    channel = shown[0 if over else 1]
                    channel[i, j] = max(channel[i, j], 1 - place / 2)
    return shown


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_boxes_are_shown_as_the_rule_reads(seed, count):
    dice = np.random.default_rng(seed)
    low = dice.uniform(-6, 8, (count, 2))
    edges = np.concatenate([low, low + dice.integers(1, 5, (count, 2))], 1)
    index = int(dice.integers(count))
    found = OtherBoxes(edges, index).shown((-2.0, 0.5, 7.0, 9.0), 6)
    assert np.allclose(found, slowly(edges, index, (-2.0, 0.5, 7.0, 9.0), 6), atol=1e-6)


def test_what_is_shown_above_is_what_is_painted_above():
    boxes = np.array([[0, 0, 3, 3], [4, 0, 7, 3], [0, 4, 2, 6], [4, 4, 7, 7]], float)
    edges = boxes + [0, 0, 1, 1]
    order = painting_order(boxes, "smaller-box")
    for index in range(4):
        above, below = OtherBoxes(edges, index).shown(RECT, 8)
        for other in set(range(4)) - {index}:
            x, y = int(boxes[other, 0]), int(boxes[other, 1])
            lies_above = order.index(other) > order.index(index)
            assert (above[y, x] > 0, below[y, x] > 0) == (lies_above, not lies_above)
