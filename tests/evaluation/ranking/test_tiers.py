"""Telling teams apart: signs counted by hand, and tiers that follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.ranking.score_matrix import build_matrix
from evaluation.ranking.tiers import contributions, sign_flip_p, tiers_of, told_apart_by_ranks
from evaluation.running.ranking_rules import RankingRules
from tests.evaluation.builders import score_row


def test_signs_by_hand():
    """1 + 2 + 3 = 6 is reached by none of the eight sums but +++ and ---."""
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 0.25
    # 3 + 2 - 1 = 4: |sum| >= 4 for +++, ---, ++- with the signs of 1 either way: 4 of 8
    assert sign_flip_p(np.array([-1.0, 2.0, 3.0])) == 0.5
    assert sign_flip_p(np.zeros(5)) == 1.0
    assert sign_flip_p(np.array([])) == 1.0
    assert sign_flip_p(np.array([0.7])) == 1.0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_many_contributions_agree_with_drawing_signs(seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(0.15, 1.0, 60)
    signs = rng.choice([-1.0, 1.0], size=(20000, 60))
    expected = (np.abs(signs @ differences) >= abs(differences.sum())).mean()
    assert sign_flip_p(differences) == pytest.approx(expected, abs=0.02)


def test_contributions_add_up_to_the_balanced_mean():
    rows = {
        "a": [score_row("a", f"c{k}", 0.1 * k, modality="CT" if k < 3 else "MR") for k in range(5)]
    }
    matrix = build_matrix(rows, groups={"c0": "g", "c1": "g"})
    found = contributions(matrix, "dsc", matrix.values["dsc"], RankingRules())
    assert found.shape == (1, 4)
    assert found.sum() == pytest.approx((0.1 + 0.35) / 2)


def test_a_team_that_always_wins_is_told_apart_only_with_enough_cases():
    for cases, expected in ((3, False), (5, False), (6, True), (40, True)):
        rows = {
            team: [score_row(team, f"c{k}", dsc) for k in range(cases)]
            for team, dsc in (("a", 0.9), ("b", 0.8))
        }
        better = told_apart_by_ranks(build_matrix(rows), RankingRules())
        assert better.tolist() == [[False, expected], [False, False]]


def test_ten_frames_of_one_patient_tell_nobody_apart():
    rows = {
        team: [score_row(team, f"c{k}", dsc) for k in range(10)]
        for team, dsc in (("a", 0.9), ("b", 0.8))
    }
    groups = {f"c{k}": "one patient" for k in range(10)}
    assert not told_apart_by_ranks(build_matrix(rows, groups=groups), RankingRules()).any()


def test_tiers_end_where_all_above_are_better_than_all_below():
    """a, b cannot be told apart, nor b, c: one tier of three; d is worse than all."""
    better = np.zeros((4, 4), dtype=bool)
    better[0, 2] = True
    better[:3, 3] = True
    assert tiers_of(np.array([1, 2, 3, 4]), better).tolist() == [1, 1, 1, 2]
    better[0, 1] = better[1, 2] = True
    assert tiers_of(np.array([1, 2, 3, 4]), better).tolist() == [1, 2, 3, 4]
    assert tiers_of(np.array([1, 1, 3, 4]), better).tolist() == [1, 1, 2, 3]  # equal places
    assert tiers_of(np.array([4, 3, 2, 1]), better).tolist() == [1, 1, 1, 1]  # the wrong way
