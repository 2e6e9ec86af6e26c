"""Lines, discs and connected parts, against Pillow and SciPy."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from inference.stroke_drawing import draw_disc, draw_line, fill_polygon, largest_part

SIDE = 64


def canvas():
    return np.zeros((SIDE, SIDE), np.bool_)


def pillow(draw):
    picture = Image.new("1", (SIDE, SIDE), 1)
    draw(ImageDraw.Draw(picture))
    return ~np.array(picture)


@pytest.mark.parametrize("width", range(3, 10))
def test_lines_cover_the_pixels_that_pillow_sets(width):
    random = np.random.default_rng(width)
    for _ in range(150):
        start = random.integers(-6, SIDE + 6, 2)
        end = start + random.integers(-21, 22, 2)
        ours = canvas()
        draw_line(ours, tuple(start.tolist()), tuple(end.tolist()), width)
        ends = [*start.tolist(), *end.tolist()]
        theirs = pillow(lambda pen, ends=ends: pen.line(ends, fill=0, width=width))
        assert np.array_equal(ours, theirs), (start, end)


@pytest.mark.parametrize("radius", range(4))
def test_discs_cover_the_pixels_that_pillow_sets(radius):
    random = np.random.default_rng(radius)
    for x, y in random.uniform(-5, SIDE + 5, (300, 2)):
        ours = canvas()
        draw_disc(ours, x, y, radius)
        ends = (x - radius, y - radius, x + radius, y + radius)
        theirs = pillow(lambda pen, ends=ends: pen.ellipse(ends, fill=0))
        assert np.array_equal(ours, theirs), (x, y)


def test_a_level_line_three_wide_is_three_rows():
    ours = canvas()
    draw_line(ours, (10, 20), (14, 20), 3)
    rows, columns = np.nonzero(ours)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 21, 10, 14)
    assert ours.sum() == 15


def test_a_triangle_holds_the_pixels_between_its_sides():
    ours = canvas()
    fill_polygon(ours, [(2, 2), (10, 2), (2, 10)])
    expected = canvas()
    for row in range(2, 11):
        expected[row, 2 : 13 - row] = True
    assert np.array_equal(ours, expected)


def test_sharp_corners_are_drawn_out_as_pillow_does():
    random = np.random.default_rng(5)
    for _ in range(400):
        corners = [tuple(corner) for corner in random.integers(-6, SIDE + 6, (3, 2)).tolist()]
        ours = canvas()
        fill_polygon(ours, corners)
        theirs = pillow(lambda pen, corners=corners: pen.polygon(corners, fill=0))
        assert np.array_equal(ours, theirs), corners


def test_the_largest_part_is_scipys():
    random = np.random.default_rng(0)
    for density in (0.05, 0.2, 0.4, 0.6, 1.0):
        for _ in range(20):
            mask = random.random((30, 40)) < density
            labels, count = ndimage.label(mask, np.ones((3, 3)))
            largest = np.argmax(np.bincount(labels.ravel())[1:]) + 1 if count else -1
            assert np.array_equal(largest_part(mask), labels == largest)


def test_of_equal_parts_the_first_from_the_top_and_of_nothing_nothing():
    mask = canvas()
    mask[30, 5:8] = mask[4, 50:53] = True
    assert np.argwhere(largest_part(mask)).tolist() == [[4, 50], [4, 51], [4, 52]]
    assert not largest_part(canvas()).any()
