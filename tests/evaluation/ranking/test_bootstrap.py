"""The bootstrap against one that repeats rows, and the rules of drawing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.ranking.bootstrap import (
    chance_of_first,
    draw_samples,
    kendall_tau,
    mean_interval,
    place_interval,
)
from evaluation.ranking.schemes import aggregate_then_rank, rank_then_average
from evaluation.ranking.score_matrix import build_matrix
from evaluation.running.ranking_rules import RankingRules
from tests.evaluation.builders import score_row

MODALITIES = ("CT", "CT", "CT", "MR", "MR", "PET")
DIMENSIONS = (2, 2, 3, 3, 3, 2)


def made_up(seed=0, teams=3, groups=None):
    rng = np.random.default_rng(seed)
    rows = {
        f"t{team}": [
            score_row(
                f"t{team}",
                f"c{k}",
                round(float(rng.random()), 3),
                nsd=float(rng.random()),
                wall_s=float(rng.random()),
                modality=MODALITIES[k],
                dimensions=DIMENSIONS[k],
            )  # fmt: skip
            for k in range(len(MODALITIES))
        ]
        for team in range(teams)
    }
    return rows, build_matrix(rows, groups=groups)


def brute_force(rows, sample, scheme):
    """Scores of one sample from its rows, written out in full."""
    teams = sorted(rows)
    total = np.zeros(len(teams))
    for metric, sign in (("dsc", -1), ("nsd", -1), ("wall_s", 1)):
        by_modality = {}
        for case, times in enumerate(sample):
            for _ in range(times):
                values = [sign * round(getattr(rows[t][case], metric), 10) for t in teams]
                by_modality.setdefault(MODALITIES[case], []).append(values)
        if scheme == "rank-then-average":
            parts = [
                np.mean([stats.rankdata(values, method="min") for values in found], axis=0)
                for found in by_modality.values()
            ]
            total += np.mean(parts, axis=0)
        else:
            means = np.mean([np.mean(found, axis=0) for found in by_modality.values()], axis=0)
            total += stats.rankdata(np.round(means, 6), method="min")
    return total / 3


@pytest.mark.parametrize("scheme", ["rank-then-average", "aggregate-then-rank"])
def test_scores_of_samples_are_those_of_the_rows_repeated(scheme):
    rows, matrix = made_up()
    counts = draw_samples(matrix, 25, seed=1)
    rank = rank_then_average if scheme == "rank-then-average" else aggregate_then_rank
    found = rank(matrix, RankingRules(), counts)
    for sample, scores, places in zip(counts, found.scores, found.places, strict=True):
        expected = brute_force(rows, sample, scheme)
        assert scores == pytest.approx(expected, abs=1e-6)
        assert places.tolist() == stats.rankdata(np.round(expected, 6), method="min").tolist()


def test_modalities_and_dimensions_keep_their_numbers_and_the_seed_decides():
    _, matrix = made_up()
    counts = draw_samples(matrix, 200, seed=4)
    for strata in ([0, 1], [2], [3, 4], [5]):
        assert (counts[:, strata].sum(axis=1) == len(strata)).all()
    assert (counts == draw_samples(matrix, 200, seed=4)).all()
    assert (counts != draw_samples(matrix, 200, seed=5)).any()


def test_samples_do_not_depend_on_the_teams():
    _, few = made_up(teams=2)
    _, many = made_up(teams=9)
    assert (draw_samples(few, 30, 1) == draw_samples(many, 30, 1)).all()


def test_cases_of_a_group_are_drawn_together():
    groups = {"c0": "anna", "c1": "anna", "c3": "ben", "c5": "ben"}  # ben is MR 3D and PET 2D
    _, matrix = made_up(groups=groups)
    counts = draw_samples(matrix, 300, seed=2)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    assert (counts[:, 3] == 1).all()  # the only group of its kind


def test_frequencies_are_those_of_drawing_with_replacement():
    """Of n equal cases each is missing from a sample with probability (1 - 1/n)^n."""
    rows = {"t": [score_row("t", f"c{k:02d}") for k in range(20)]}
    counts = draw_samples(build_matrix(rows), 4000, seed=3)
    assert (counts == 0).mean() == pytest.approx(0.95**20, abs=0.005)
    assert (counts.sum(axis=1) == 20).all()


@given(st.lists(st.integers(1, 4), min_size=2, max_size=7), st.integers(0, 1000))
def test_tau_is_scipys(reference, seed):
    rng = np.random.default_rng(seed)
    places = rng.integers(1, 5, size=(3, len(reference)))
    found = kendall_tau(places, np.array(reference))
    for tau, sample in zip(found, places, strict=True):
        if len(set(reference)) == 1 or len(set(sample.tolist())) == 1:
            assert np.isnan(tau)
        else:
            assert tau == pytest.approx(stats.kendalltau(sample, reference).statistic)


def test_summaries_by_hand():
    places = np.array([[1, 2], [1, 1], [2, 1], [1, 2]])
    assert chance_of_first(places).tolist() == [0.625, 0.375]  # 1 + 1/2 + 0 + 1 of 4
    spread = np.array([1] * 2 + [2] * 95 + [9] * 3)
    found = place_interval(spread, 0.05)
    assert (found.low, found.high) == (2, 9)
    assert mean_interval(np.array([np.nan, np.nan]), 0.05, 6) is None
    percentiles = mean_interval(np.arange(101.0), 0.1, 6)
    assert (percentiles.low, percentiles.high) == (5.0, 95.0)
