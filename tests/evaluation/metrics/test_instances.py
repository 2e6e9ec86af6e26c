"""Instance scores: pictures small enough to count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics import dice, score_case

MAPS = hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 4))


def instances(truth, prediction):
    return score_case(np.array(truth), np.array(prediction), (1, 1)).instances


def test_the_numbers_of_the_objects_mean_nothing():
    found = instances([[1, 1, 0, 2, 2]], [[7, 7, 0, 1, 1]])
    assert (found.f1, found.dsc, found.matches) == (1.0, 1.0, 2)


def test_a_match_needs_half_of_the_union():
    # object 1: overlap 2 of a union of 4; object 2: overlap 1 of a union of 4; one more invented
    found = instances(
        [[1, 1, 1, 0, 0, 2, 2, 2, 0, 0]],
        [[0, 5, 5, 5, 0, 0, 0, 6, 6, 9]],
    )
    assert found.matches == 1
    assert found.f1 == 2 * 1 / (2 + 3)
    assert found.dsc == 2 * 2 / (3 + 3)


def test_one_object_cannot_match_twice():
    """Two halves of one object both have an IoU of one half with it."""
    for pair in (([[1, 1, 1, 1]], [[2, 2, 3, 3]]), ([[2, 2, 3, 3]], [[1, 1, 1, 1]])):
        found = instances(*pair)
        assert (found.matches, found.f1) == (1, 2 / 3)
        assert found.dsc == pytest.approx(2 / 3)


def test_without_objects_all_is_found_and_without_a_match_there_is_no_dice():
    assert instances([[0, 0]], [[0, 0]]).f1 == 1.0
    for pair in (([[0, 0]], [[1, 0]]), ([[1, 0]], [[0, 0]]), ([[1, 0]], [[0, 1]])):
        found = instances(*pair)
        assert (found.f1, found.dsc, found.matches) == (0.0, None, 0)


def test_numbers_may_be_huge():
    found = instances([[1, 0, 2**40]], [[2**41, 0, 1]])
    assert (found.f1, found.matches) == (1.0, 2)


@settings(deadline=None)
@given(MAPS, MAPS)
def test_matches_are_those_of_all_pairs(truth, prediction):
    """Where no IoU is exactly one half, the pairs above it are the matches."""
    pairs = []
    for label in set(truth[truth > 0].tolist()):
        for other in set(prediction[prediction > 0].tolist()):
            masks = truth == label, prediction == other
            overlap = np.count_nonzero(masks[0] & masks[1])
            union = np.count_nonzero(masks[0] | masks[1])
            if 2 * overlap == union:
                return
            if 2 * overlap > union:
                pairs.append(dice(*masks))
    found = instances(truth, prediction)
    assert found.matches == len(pairs)
    assert found.dsc == (pytest.approx(np.mean(pairs)) if pairs else None)
