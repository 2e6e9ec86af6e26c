"""Labels in a stack: apart from each other, and found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics import dice, label_stack, score_case, surface_dice
from evaluation.metrics.label_maps import hulls, map_labels
from evaluation.metrics.label_stack import plan_stacks, stack_codes
from evaluation.metrics.reach import grow, margins_of
from evaluation.metrics.surface import neighbour_codes

SPACINGS = st.sampled_from([0.4, 0.5, 1.0, 2.5, 5.0])


@st.composite
def label_pairs(draw):
    """Two label maps of one shape with up to five labels, and a spacing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9))
    elements = st.integers(0, 5)
    maps = [draw(hnp.arrays(np.uint8, shape, elements=elements)) for _ in range(2)]
    return *maps, tuple(draw(SPACINGS) for _ in shape)


@settings(deadline=None)
@given(label_pairs(), st.sampled_from([1, 300, 1 << 18]), st.sampled_from([0.0, 1.0, 2.0, 3.5]))
def test_labels_of_one_stack_score_as_each_alone(pair, limit, tolerance_mm):
    truth, prediction, spacing_mm = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_stack, "_STACK_POINTS", limit)
        found = score_case(truth, prediction, spacing_mm, tolerance_mm)
    for label in found.labels:
        masks = truth == label.label, prediction == label.label
        assert label.dsc == dice(*masks)
        alone = surface_dice(*masks, spacing_mm, tolerance_mm)
        assert label.nsd == pytest.approx(alone, abs=1e-12)


@settings(deadline=None)
@given(label_pairs(), st.sampled_from([1, 300, 1 << 18]))
def test_a_stack_holds_every_label_once_with_its_own_codes(pair, limit):
    array, _, spacing_mm = pair
    labels = map_labels(array)
    boxes = hulls(labels, labels, np.arange(len(labels.labels)))
    margins = margins_of(spacing_mm, 2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_stack, "_STACK_POINTS", limit)
        plans = list(plan_stacks(boxes, margins))
    assert sorted(place for plan in plans for place in plan.labels) == list(range(len(boxes)))
    for plan in plans:
        codes = stack_codes(plan, labels.labels, labels).reshape(plan.shape)
        counts = plan.count_codes(np.flatnonzero(codes), codes.reshape(-1))
        for index, place in enumerate(plan.labels):
            alone = neighbour_codes(array[boxes[place]] == labels.labels[place])
            np.testing.assert_array_equal(codes[plan.corner_boxes()[index]], alone)
            expected = np.bincount(alone[alone > 0], minlength=counts.shape[1])
            np.testing.assert_array_equal(counts[index], expected)
        assert counts.sum() == np.count_nonzero(codes)  # and nothing lies between them


@settings(deadline=None)
@given(st.lists(SPACINGS, min_size=2, max_size=3), st.sampled_from([0.0, 0.8, 2.0, 5.0]), st.data())
def test_growing_reaches_all_points_within_the_tolerance_and_no_other(spacing, tolerance_mm, data):
    spacing_mm = tuple(spacing)
    margins = margins_of(spacing_mm, tolerance_mm)
    inner = [data.draw(st.integers(1, 4)) for _ in spacing]
    shape = tuple(extent + 2 * margin for extent, margin in zip(inner, margins, strict=True))
    start = tuple(
        data.draw(st.integers(margin, margin + extent - 1))
        for extent, margin in zip(inner, margins, strict=True)
    )
    points = np.zeros(shape, bool)
    points[start] = True
    grown = grow(points.reshape(-1), shape, spacing_mm, tolerance_mm).reshape(shape)
    steps = np.indices(shape) - np.array(start).reshape(-1, *[1] * len(shape))
    squares = (steps * np.array(spacing_mm).reshape(-1, *[1] * len(shape))) ** 2
    np.testing.assert_array_equal(grown, np.sqrt(squares.sum(axis=0)) <= tolerance_mm)
