"""Three ways from scores to places, for the cases as they are or for bootstrap samples of them.

rank-then-average (FLARE; rankThenAggregate of challengeR): teams are ranked on every case in every
metric; a team's score is the mean of its ranks.
aggregate-then-rank (aggregateThenRank): teams are ranked by the mean of each metric; a team's score
is the mean of these ranks.
test-then-rank (testThenRank): in each metric a team wins against those that it is significantly
better than; teams are ranked by their wins; a team's score is the mean of these ranks.

Means over metrics are weighted by the rules, means over cases by modality if they say so. Equal
values share the better rank (1, 1, 3), on cases and on the board, as FLARE and challengeR's default
(ties.method = "min"). A sample is a row of counts, how often it has each case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking.paired_tests import MetricTests
from evaluation.ranking.results import METRICS
from evaluation.ranking.score_matrix import Floats, ScoreMatrix
from evaluation.running.ranking_rules import RankingRules

SCORE_DIGITS = 6
"""Decimals of every mean and score; places are given on the rounded ones."""

Counts = NDArray[np.uint8]


@dataclass(frozen=True)
class SchemeScores:
    """Scores and places of T teams in B samples."""

    places: NDArray[np.int64]
    """(B, T)"""
    scores: Floats
    """(B, T) Low is better."""
    metric_scores: dict[str, Floats]
    """(B, T) for each metric that counts."""


def counted_metrics(matrix: ScoreMatrix, rules: RankingRules) -> tuple[str, ...]:
    """Return the metrics that have a weight and anything to compare."""
    return tuple(
        metric
        for metric in METRICS
        if rules.weights[metric] > 0 and matrix.valid(metric).any(axis=1).all()
    )


def compared_values(matrix: ScoreMatrix, metric: str, rules: RankingRules) -> Floats:
    """Return (T, C) the values of a metric such that low is better, NaN where none counts."""
    values = matrix.values[metric]
    if metric == "seconds":
        compared = np.maximum(values, rules.seconds_tolerance_s)
        return np.where(matrix.timed, compared, np.nan)
    return -values


def ranks_by_case(values: Floats) -> Floats:
    """Return (T, C) the rank of every team on every case; low values first, NaN last."""
    filled = np.where(np.isnan(values), np.inf, values)
    ranks = np.ones(filled.shape)
    for line in range(len(filled)):
        ranks[line] += (filled < filled[line]).sum(axis=0)
    return ranks


def shared_ranks(values: Floats) -> NDArray[np.int64]:
    """Return (B, T) the ranks along the last axis; equal values share the better one."""
    ranks = np.ones(values.shape, dtype=np.int64)
    for other in range(values.shape[-1]):
        ranks += values[..., other, None] < values
    return ranks


def mean_of_cases(
    values: Floats,
    valid: NDArray[np.bool_],
    modalities: NDArray[np.str_],
    counts: Counts,
    balance: bool,
) -> Floats:
    """Return (B, T) the means over the cases of each sample, (T, C) values where they are valid.

    With `balance` a mean over cases is taken for each modality, and then the mean of those that
    have any; NaN where nothing is valid.
    """
    means = []
    for chosen in _strata(modalities) if balance else [np.arange(len(modalities))]:
        weights = counts[:, chosen].astype(np.float64)
        there = valid[:, chosen].astype(np.float64)
        known = np.where(valid[:, chosen], values[:, chosen], 0.0)
        totals = weights @ there.T
        sums = weights @ known.T
        means.append(np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0))
    stacked = np.stack(means)
    known_means = ~np.isnan(stacked)
    number = known_means.sum(axis=0)
    total = np.where(known_means, stacked, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0))


def team_means(matrix: ScoreMatrix, balance: bool, counts: Counts) -> dict[str, Floats]:
    """Return (B, T) the mean of each metric; seconds are those of cases that are ok."""
    return {
        metric: mean_of_cases(
            matrix.values[metric],
            matrix.measured if metric == "seconds" else matrix.valid(metric),
            matrix.modalities,
            counts,
            balance,
        )
        for metric in METRICS
    }


def rank_then_average(matrix: ScoreMatrix, rules: RankingRules, counts: Counts) -> SchemeScores:
    """Rank on every case, then average."""
    parts = {}
    for metric in counted_metrics(matrix, rules):
        ranks = ranks_by_case(compared_values(matrix, metric, rules))
        parts[metric] = mean_of_cases(
            ranks, matrix.valid(metric), matrix.modalities, counts, rules.balance_modalities
        )
    return _combined(parts, rules, len(counts), len(matrix.teams))


def aggregate_then_rank(matrix: ScoreMatrix, rules: RankingRules, counts: Counts) -> SchemeScores:
    """Average every metric, then rank."""
    parts = {}
    for metric in counted_metrics(matrix, rules):
        means = mean_of_cases(
            compared_values(matrix, metric, rules),
            matrix.valid(metric),
            matrix.modalities,
            counts,
            rules.balance_modalities,
        )
        parts[metric] = _ranks_of_means(means)
    return _combined(parts, rules, len(counts), len(matrix.teams))


def test_then_rank(
    tests: dict[str, MetricTests], rules: RankingRules, samples: int, teams: int
) -> SchemeScores:
    """Rank by the number of teams that a team is significantly better than."""
    parts = {
        metric: shared_ranks(-found.wins.astype(np.float64)).astype(np.float64)
        for metric, found in tests.items()
    }
    return _combined(parts, rules, samples, teams)


def _ranks_of_means(means: Floats) -> Floats:
    filled = np.where(np.isnan(means), np.inf, np.round(means, SCORE_DIGITS))
    return shared_ranks(filled).astype(np.float64)


def _combined(
    parts: dict[str, Floats], rules: RankingRules, samples: int, teams: int
) -> SchemeScores:
    """Average the metrics by their weights; a metric that a sample lacks does not count there."""
    total, weight = np.zeros((samples, teams)), np.zeros((samples, teams))
    for metric, part in parts.items():
        known = ~np.isnan(part)
        total += np.where(known, part, 0.0) * rules.weights[metric]
        weight += known * rules.weights[metric]
    scores = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    rounded: Floats = np.asarray(np.round(scores, SCORE_DIGITS), dtype=np.float64)
    return SchemeScores(shared_ranks(rounded), rounded, parts)


def _strata(modalities: NDArray[np.str_]) -> Iterator[NDArray[np.intp]]:
    for modality in np.unique(modalities):
        yield np.flatnonzero(modalities == modality)
