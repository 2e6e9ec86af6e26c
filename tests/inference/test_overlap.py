"""Masks to labels: whose a pixel of several masks is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.overlap import NESTED, paint, paint_by_logits, painting_order, ranks_of
from inference.postprocess import Mask
from tests.inference.builders import whole


@given(st.permutations([1, 2, 3, 4]), st.integers(0, 99))
def test_later_boxes_lie_over_earlier_ones_whatever_the_order_of_painting(order, seed):
    shapes = np.random.default_rng(seed).random((4, 5, 6)) < 0.5
    expected = np.zeros((7, 9), np.uint8)
    for label, inside in enumerate(shapes, 1):
        expected[whole(Mask(label // 2, label // 2, inside), (7, 9))] = label
    labels = np.zeros((7, 9), np.uint8)
    for label in order:
        paint(labels, Mask(label // 2, label // 2, shapes[label - 1]), label)
    assert np.array_equal(labels, expected)


@given(st.permutations([1, 2, 3, 4]), st.integers(0, 99))
def test_smaller_boxes_lie_over_larger_ones_whatever_the_order_of_painting(order, seed):
    shapes = np.random.default_rng(seed).random((4, 5, 6)) < 0.5
    boxes = np.array([[0, 0, 1, 1], [0, 0, 4, 4], [2, 2, 3, 3], [1, 1, 3, 2]], float)
    sizes = [4, 25, 4, 6]  # both ends inclusive; 1 and 3 are equal, the later lies above
    expected = np.zeros((7, 9), np.uint8)
    for label in (2, 4, 1, 3):
        expected[whole(Mask(label // 2, label // 2, shapes[label - 1]), (7, 9))] = label
    assert sorted(sizes, reverse=True) == [sizes[i - 1] for i in (2, 4, 1, 3)]
    ranks = ranks_of(boxes, "smaller-box")
    labels = np.zeros((7, 9), np.uint8)
    for label in order:
        paint(labels, Mask(label // 2, label // 2, shapes[label - 1]), label, ranks)
    assert np.array_equal(labels, expected)


def test_labels_rank_by_their_numbers_unless_smaller_boxes_win():
    boxes = np.array([[0, 0, 1, 1, 1, 1], [0, 0, 0, 9, 9, 9]], float)
    assert ranks_of(boxes, "later-box") is None
    assert ranks_of(boxes[:1], "smaller-box") is None
    assert ranks_of(boxes, "smaller-box").tolist() == [0, 2, 1]


def test_labels_beyond_a_byte_are_painted_whole():
    labels = np.zeros((2, 2), np.uint16)
    paint(labels, Mask(0, 0, np.ones((2, 2), bool)), 300)
    assert (labels == 300).all()


def test_an_empty_mask_paints_nothing():
    labels = np.zeros((3, 3), np.uint8)
    paint(labels, Mask(9, 9, np.zeros((0, 0), bool)), 1)
    assert not labels.any()


# --- the higher logit ---------------------------------------------------------------------------


def strip(*logits, left=0):
    """A mask of one row."""
    values = np.array([logits], np.float32)
    return Mask(0, left, values > 0, values)


def by_logits(masks, boxes, shape=(1, 12)):
    labels = np.zeros(shape, np.uint8)
    order = painting_order(np.array(boxes, float), "higher-logit")
    paint_by_logits(labels, (masks[i] for i in order), order)
    return labels


def test_neighbours_share_a_border_where_their_logits_are_equal():
    masks = [strip(9, 8, 7, 5, 3, 1), strip(2, 4, 5, 7, 8, left=3)]
    labels = by_logits(masks, [[0, 0, 5, 0], [3, 0, 7, 0]])
    assert labels.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0]]
    equal = [strip(1, 1, 1), strip(1, 1, left=2)]  # the smaller box, where nothing tells
    assert by_logits(equal, [[0, 0, 2, 0], [2, 0, 3, 0]])[0, :4].tolist() == [1, 1, 2, 2]


def test_an_object_inside_another_keeps_its_pixels_though_its_logits_are_lower():
    labels = by_logits([strip(1, 1, left=2), strip(9, 9, 9, 9, 9, 9)], [[2, 0, 3, 0], [0, 0, 5, 0]])
    assert labels.tolist() == [[2, 2, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(("shared", "kept"), [(9, 9), (8, 0)])
def test_nine_tenths_of_a_mask_in_another_are_inside_it(shared, kept):
    assert NESTED == 0.9
    outer, inner = strip(*[9] * 12), strip(*[1] * 10, left=12 - shared)
    labels = by_logits([outer, inner], [[0, 0, 11, 0], [12 - shared, 0, 21 - shared, 0]], (1, 24))
    assert np.count_nonzero(labels[0, :12] == 2) == kept
    assert (labels[0, 12 : 22 - shared] == 2).all()  # nobody else's


def test_an_object_inside_another_keeps_its_pixels_whoever_else_takes_a_part_of_that():
    outer, inner = strip(*[5] * 12), strip(1, 1, 1, 1, left=6)
    third = strip(*[9] * 6, left=8)  # holds half of what the inner one lies in
    boxes = [[0, 0, 11, 8], [8, 0, 13, 7], [6, 0, 9, 0]]
    labels = by_logits([outer, third, inner], boxes, (1, 14))
    assert labels.tolist() == [[1] * 6 + [3] * 2 + [2] * 6]  # of the third's only those it wins
    assert by_logits([outer, inner], [boxes[0], boxes[2]])[0, 6:10].tolist() == [2] * 4


def test_an_empty_mask_takes_nothing():
    nothing = Mask(3, 3, np.zeros((0, 0), bool))
    assert by_logits([nothing, strip(1)], [[0, 0, 0, 0], [0, 0, 3, 0]]).sum() == 2


@st.composite
def crowds(draw):
    """Masks with their logits in a picture of 8 x 9, and boxes of different sizes."""
    n = draw(st.integers(1, 5))
    dice = np.random.default_rng(draw(st.integers(0, 10**6)))
    masks = []
    for _ in range(n):
        height, width = dice.integers(1, 7, 2)
        logits = dice.integers(-3, 4, (height, width)).astype(np.float32)
        top, left = dice.integers(0, 9 - height), dice.integers(0, 10 - width)
        masks.append(Mask(int(top), int(left), logits > 0, logits))
    sizes = dice.permutation(n)
    return masks, np.array([[0, 0, 3, s] for s in sizes], float)


def pixel_by_pixel(masks, boxes, shape):
    """The rule as it reads, slowly."""
    labels, held = np.zeros(shape, int), np.zeros(shape)
    for i in sorted(range(len(masks)), key=lambda k: -boxes[k, 3]):
        mine = whole(masks[i], shape)
        logits = np.zeros(shape)
        h, w = masks[i].inside.shape
        logits[masks[i].top : masks[i].top + h, masks[i].left : masks[i].left + w] = masks[i].logits
        before = labels.copy()
        for y, x in np.argwhere(mine):
            other = before[y, x]
            inside = other and (whole(masks[other - 1], shape) & mine).sum() >= 0.9 * mine.sum()
            if not other or inside or logits[y, x] >= held[y, x]:
                labels[y, x], held[y, x] = i + 1, logits[y, x]
    return labels


@given(crowds())
def test_masks_share_pixels_as_the_rule_reads(crowd):
    masks, boxes = crowd
    labels = by_logits(masks, boxes, (8, 9))
    assert np.array_equal(labels, pixel_by_pixel(masks, boxes, (8, 9)))
    union = np.any([whole(mask, (8, 9)) for mask in masks], axis=0)
    assert np.array_equal(labels > 0, union)  # nothing is lost, nothing gained


@given(crowds(), st.randoms(use_true_random=False))
def test_the_order_of_the_boxes_does_not_matter(crowd, dice):
    masks, boxes = crowd
    order = list(range(len(masks)))
    dice.shuffle(order)
    labels = by_logits(masks, boxes, (8, 9))
    shuffled = by_logits([masks[i] for i in order], boxes[order], (8, 9))
    assert np.array_equal(labels, np.array([0, *(i + 1 for i in order)])[shuffled])


def test_in_volumes_the_rule_is_that_of_the_smaller_box():
    boxes = np.array([[0, 0, 1, 1, 1, 1], [0, 0, 0, 9, 9, 9]], float)
    assert painting_order(boxes, "higher-logit") == painting_order(boxes, "smaller-box") == [1, 0]
    assert ranks_of(boxes, "higher-logit").tolist() == [0, 2, 1]
