"""The three schemes: hand-worked boards, challengeR's own test cases, and what must always hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.ranking.leaderboard import build_boards
from evaluation.ranking.schemes import (
    aggregate_then_rank,
    rank_then_average,
    ranks_by_case,
    shared_ranks,
)
from evaluation.ranking.score_matrix import FailureValues, build_matrix, official_matrix
from evaluation.running.ranking_rules import SCHEMES, RankingRules
from tests.evaluation.builders import score_row

DSC_ONLY = RankingRules(weights={"dsc": 1.0, "nsd": 0.0, "seconds": 0.0}, bootstraps=20)


def scores_of(*rows):
    teams = {}
    for row in rows:
        teams.setdefault(row.team, []).append(row)
    return teams


def matrix_of(*rows, **more):
    return build_matrix(scores_of(*rows), **more)


def once(matrix):
    return np.ones((1, len(matrix.cases)), dtype=np.uint8)


def boards_of(rows, rules=None, **more):
    scores = scores_of(*rows)
    matrix = build_matrix(scores, **more)
    rules = rules or RankingRules(bootstraps=50)
    return {
        board.name: board for board in build_boards(matrix, official_matrix(matrix, scores), rules)
    }


def standings_of(board, scheme):
    found = next(each for each in board.schemes if each.name == scheme)
    return {standing.team: standing for standing in found.standings}


def test_rank_then_average_by_hand():
    """Two CT cases, one PET case; ranks in DSC: a 1, 2, 1; b 2, 1, 1; c 3, 3, 3.

    Mean over the modalities: a (1.5 + 1) / 2, b (1.5 + 1) / 2, c 3.
    """
    table = {"a": (0.9, 0.7, 0.5), "b": (0.8, 0.8, 0.5), "c": (0.1, 0.1, 0.1)}
    rows = [
        score_row(team, case, dsc, modality=modality)
        for team, values in table.items()
        for case, modality, dsc in zip("xyz", ("CT", "CT", "PET"), values, strict=True)
    ]
    found = rank_then_average(matrix_of(*rows), DSC_ONLY, np.ones((1, 3), dtype=np.uint8))
    assert found.scores.tolist() == [[1.25, 1.25, 3.0]]
    assert found.places.tolist() == [[1, 1, 3]]
    pooled = dataclasses.replace(DSC_ONLY, balance_modalities=False)
    found = rank_then_average(matrix_of(*rows), pooled, np.ones((1, 3), dtype=np.uint8))
    assert found.scores[0].tolist() == pytest.approx([4 / 3, 4 / 3, 3.0], abs=1e-6)
    # a sample that has case y three times and nothing else
    found = rank_then_average(matrix_of(*rows), DSC_ONLY, np.array([[0, 3, 0]], dtype=np.uint8))
    assert found.scores.tolist() == [[2.0, 1.0, 3.0]]


def test_weights_of_metrics_by_hand():
    """Ranks in DSC 1, 2; in NSD 1, 2; in seconds 2, 1, which weigh half as much."""
    rows = [score_row("a", "x", 0.9, wall_s=9.0), score_row("b", "x", 0.8, wall_s=1.0)]
    rules = RankingRules(weights={"dsc": 1.0, "nsd": 1.0, "seconds": 0.5})
    found = rank_then_average(matrix_of(*rows), rules, np.ones((1, 1), dtype=np.uint8))
    assert found.scores[0].tolist() == pytest.approx([3 / 2.5, 4.5 / 2.5])


def test_times_up_to_the_tolerance_are_equal():
    rows = [score_row(team, "x", wall_s=s) for team, s in (("a", 1.0), ("b", 4.9), ("c", 5.1))]
    rules = RankingRules(weights={"dsc": 0, "nsd": 0, "seconds": 1}, seconds_tolerance_s=5.0)
    assert rank_then_average(matrix_of(*rows), rules, once(matrix_of(*rows))).places.tolist() == [
        [1, 1, 3]
    ]


def test_aggregate_then_rank_by_hand():
    """a: ranks 1, 2, 3 in DSC, NSD, seconds; b: 2, 1, 1; c: 3, 3, 2."""
    rows = [
        score_row("a", "x", 0.9, nsd=0.7, wall_s=9.0),
        score_row("b", "x", 0.8, nsd=0.8, wall_s=1.0),
        score_row("c", "x", 0.7, nsd=0.6, wall_s=2.0),
    ]
    found = aggregate_then_rank(matrix_of(*rows), RankingRules(), np.ones((1, 1), dtype=np.uint8))
    assert {key: part[0].tolist() for key, part in found.metric_scores.items()} == {
        "dsc": [1.0, 2.0, 3.0],
        "nsd": [2.0, 1.0, 3.0],
        "seconds": [3.0, 1.0, 2.0],
    }
    assert found.places.tolist() == [[2, 1, 3]]


def test_noise_in_the_last_digits_breaks_no_tie():
    rows = [score_row("a", "x", 0.1 + 0.2), score_row("b", "x", 0.3)]
    board = boards_of(rows)["overall"]
    for scheme in SCHEMES:
        assert [each.place for each in standings_of(board, scheme).values()] == [1, 1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"A1": [0.6], "A2": [0.8]}, {"A1": (2.0, 2), "A2": (1.0, 1)}),
        ({"A1": [0.6], "A2": [0.6]}, {"A1": (1.0, 1), "A2": (1.0, 1)}),
        ({"A1": [0.6, 0.4], "A2": [0.8, 1.0]}, {"A1": (2.0, 2), "A2": (1.0, 1)}),
        ({"A1": [0.6]}, {"A1": (1.0, 1)}),
    ],
)
def test_challengers_own_cases_of_rank_then_aggregate(values, expected):
    """tests/testthat/test-rankThenAggregate.R; its small-is-better cases turned over."""
    rows = [score_row(t, f"C{k}", v) for t, found in values.items() for k, v in enumerate(found)]
    board = boards_of(rows, DSC_ONLY)["overall"]
    found = standings_of(board, "rank-then-average")
    assert {team: (each.score, each.place) for team, each in found.items()} == expected


def test_challengers_own_cases_of_test_then_rank():
    """tests/testthat/test-testThenRank.R: no order from one or two cases.

    It has four cases that always differ the same way as significant (p = 0.036 by its
    approximation); exactly they are 1/16, and it takes two more (Holm doubles p).
    """
    for cases, places in ((1, [1, 1]), (2, [1, 1]), (4, [1, 1]), (6, [2, 1])):
        rows = [
            score_row(t, f"C{k}", v) for t, v in (("A1", 0.2), ("A2", 1.0)) for k in range(cases)
        ]
        board = boards_of(rows, DSC_ONLY)["overall"]
        found = standings_of(board, "test-then-rank")
        assert [found["A1"].place, found["A2"].place] == places


def test_a_failed_or_missing_case_counts_as_the_failure_values():
    rows = [
        score_row("a", "x", 0.5, wall_s=4000.0),
        score_row("a", "y", 0.5),
        score_row("b", "x", 0.9, status="crash", wall_s=0.1),
    ]
    matrix = matrix_of(*rows, failures={"b": FailureValues(dsc=0.1, nsd=0.0, seconds=3600.0)})
    assert matrix.values["dsc"].tolist() == [[0.5, 0.5], [0.1, 0.1]]
    assert matrix.values["seconds"].tolist() == [[4000.0, 1.0], [4000.0, 3600.0]]
    assert matrix.statuses.tolist() == [["ok", "ok"], ["crash", "not run"]]


def test_times_on_other_or_unknown_hardware_are_not_compared():
    rows = [score_row(team, case) for team in "ab" for case in "vwxyz"]
    keys = {
        "a": {"v": "", "w": "one", "x": "one", "y": "", "z": "one"},
        "b": {"w": "one", "x": "two", "y": "one"},
    }
    assert matrix_of(*rows, hardware=keys).timed.tolist() == [False, True, False, False, False]
    assert matrix_of(*rows).timed.all()
    crashed = [score_row("a", "x"), score_row("b", "x", 0.0, status="crash")]
    assert matrix_of(*crashed, hardware={"a": {"x": "one"}, "b": {"x": "two"}}).timed.all()


def test_a_board_without_comparable_times_is_ranked_by_the_other_metrics():
    rows = [score_row("a", "x", 0.9, wall_s=9.0), score_row("b", "x", 0.8, wall_s=1.0)]
    board = boards_of(rows, hardware={"a": {"x": "one"}, "b": {"x": "two"}})["overall"]
    assert board.timed_cases == 0
    assert [tests.metric for tests in board.significance] == ["dsc", "nsd"]
    best = board.schemes[0].standings[0]
    assert (best.team, best.score, best.metric_scores.seconds) == ("a", 1.0, None)


def test_two_and_three_dimensions_have_boards_of_their_own_and_modalities_weigh_the_same():
    rows = [
        score_row("a", "x", 0.9, dimensions=2),
        score_row("a", "y", 0.5, dimensions=3),
        score_row("a", "z", 0.1, dimensions=3, modality="MR"),
    ]
    boards = boards_of(rows)
    assert boards["2D"].teams[0].mean.dsc == 0.9
    assert boards["3D"].teams[0].mean.dsc == pytest.approx(0.3)
    # CT pools its 2D and 3D cases: (0.7 + 0.1) / 2
    assert boards["overall"].teams[0].mean.dsc == pytest.approx(0.4)
    assert list(boards_of(rows[:1])) == ["overall", "2D"]


def test_the_official_place_is_by_the_official_numbers():
    rows = [
        score_row("a", "x", 0.9, dsc_official=0.2, nsd_official=float("nan")),
        score_row("b", "x", 0.8),
    ]
    teams = boards_of(rows, DSC_ONLY)["overall"].teams
    assert [(each.official.place, each.official.dsc, each.official.nsd) for each in teams] == [
        (2, 0.2, None),
        (1, 0.8, 0.8),
    ]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_shared_ranks_are_those_of_scipy(values):
    expected = stats.rankdata(values, method="min").tolist()
    assert shared_ranks(np.array(values, dtype=float)).tolist() == expected
    column = np.array(values, dtype=float)[:, None]
    assert ranks_by_case(column)[:, 0].tolist() == expected


random_tables = st.tuples(st.integers(2, 5), st.integers(1, 12), st.integers(0, 10**6))


def random_rows(shape, names=None):
    teams, cases, seed = shape
    rng = np.random.default_rng(seed)
    names = names or [f"t{k}" for k in range(teams)]
    values = rng.choice([0.0, 0.3, 0.5, 0.8, 0.9, 1.0], size=(teams, cases, 2))
    return [
        score_row(
            name,
            f"c{case}",
            values[team, case, 0],
            nsd=values[team, case, 1],
            wall_s=float(rng.integers(1, 9)),
            modality=("CT", "MR")[case % 2],
            dimensions=2 + case % 3 // 2,
        )  # fmt: skip
        for team, name in enumerate(names)
        for case in range(cases)
    ]


@settings(deadline=None, max_examples=15)
@given(random_tables)
def test_other_names_give_the_same_board_with_other_names(shape):
    teams = shape[0]
    first = boards_of(random_rows(shape))
    mirrored = [f"t{teams - 1 - k}" for k in range(teams)]
    second = boards_of(random_rows(shape, mirrored))
    for name in first:
        for scheme in SCHEMES:
            one, other = (standings_of(boards[name], scheme) for boards in (first, second))
            for k in range(teams):
                here, there = one[f"t{k}"], other[mirrored[k]]
                assert (here.place, here.score, here.tier) == (there.place, there.score, there.tier)
                assert here.place_counts == there.place_counts
                assert here.first == pytest.approx(there.first)


@settings(deadline=None, max_examples=15)
@given(random_tables)
def test_equal_teams_share_place_tier_and_chances(shape):
    rows = random_rows(shape)
    twin = [dataclasses.replace(row, team="twin") for row in rows if row.team == "t0"]
    for board in boards_of([*rows, *twin]).values():
        for scheme in SCHEMES:
            found = standings_of(board, scheme)
            one, other = found["t0"], found["twin"]
            assert (one.place, one.tier, one.place_counts) == (
                other.place, other.tier, other.place_counts,
            )  # fmt: skip
            assert "twin" in one.not_told_apart_from


@settings(deadline=None, max_examples=15)
@given(random_tables)
def test_what_every_board_must_fulfil(shape):
    for board in boards_of(random_rows(shape)).values():
        for scheme in board.schemes:
            tiers = [each.tier for each in scheme.standings]
            assert (
                tiers == sorted(tiers)
                and tiers[0] == 1
                and set(tiers) == set(range(1, tiers[-1] + 1))
            )
            assert sum(each.first for each in scheme.standings) == pytest.approx(1.0, abs=1e-5)
            tier = {each.team: each.tier for each in scheme.standings}
            for each in scheme.standings:
                assert sum(each.place_counts) == 50
                assert all(tier[other] == each.tier for other in each.not_told_apart_from)
                assert each.places.low <= each.places.high
