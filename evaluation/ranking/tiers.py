"""Which teams can be told apart, and the tiers that follow.

Two teams are told apart under a scheme by a sign-flip test of what the scheme looks at: if both
were equally good, each patient group's contribution to the difference of their scores could as
well have had the other sign. The statistic keeps the scheme's weights of metrics and modalities.
Up to EXACT_UP_TO contributions all signs are tried; above, the sum is normal with the variance that
the signs give it. P values are two-sided and corrected by Holm over the pairs of the board.

rank-then-average: contributions are differences of weighted ranks. aggregate-then-rank:
differences of values, each metric in units of its own deviation under the flips. test-then-rank:
no further test; a team is better that wins more of the weight of the metrics by its tests.

A tier ends where every team above is told apart from, and better than, every team below: teams that
cannot be told apart are never in two tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from evaluation.ranking.paired_tests import MetricTests, holm
from evaluation.ranking.schemes import compared_values, counted_metrics, ranks_by_case
from evaluation.ranking.score_matrix import Floats, ScoreMatrix
from evaluation.running.ranking_rules import RankingRules

EXACT_UP_TO = 12
"""Contributions other than 0, of which all 4,096 signs are tried."""

NOISE = 1e-12
"""Contributions and sums that differ by less are equal."""

Better = NDArray[np.bool_]
"""(T, T) Whether row is better than column beyond doubt."""

_Difference = Callable[[int, int], Floats]


def told_apart_by_ranks(matrix: ScoreMatrix, rules: RankingRules) -> Better:
    """Tell teams apart by rank-then-average."""
    total = np.zeros((len(matrix.teams), _groups(matrix)))
    for metric in counted_metrics(matrix, rules):
        ranks = ranks_by_case(compared_values(matrix, metric, rules))
        total += rules.weights[metric] * contributions(matrix, metric, ranks, rules)
    return _better(lambda one, other: total[one] - total[other], len(total), rules.alpha)


def told_apart_by_values(matrix: ScoreMatrix, rules: RankingRules) -> Better:
    """Tell teams apart by aggregate-then-rank."""
    parts = {
        metric: contributions(matrix, metric, compared_values(matrix, metric, rules), rules)
        for metric in counted_metrics(matrix, rules)
    }

    def difference(one: int, other: int) -> Floats:
        total = np.zeros(_groups(matrix))
        for metric, part in parts.items():
            own = part[one] - part[other]
            deviation = np.sqrt((own**2).sum())
            if deviation > NOISE:
                total += rules.weights[metric] * own / deviation
        return total

    return _better(difference, len(matrix.teams), rules.alpha)


def told_apart_by_tests(
    tests: Mapping[str, MetricTests], rules: RankingRules, teams: int
) -> Better:
    """Tell teams apart by test-then-rank."""
    net = np.zeros((teams, teams))
    for metric, found in tests.items():
        net += rules.weights[metric] * found.better[0]
    return np.asarray(net > net.T + NOISE)


def contributions(matrix: ScoreMatrix, metric: str, values: Floats, rules: RankingRules) -> Floats:
    """Return (T, G) what each patient group adds to each team's mean of the values (T, C)."""
    valid = matrix.valid(metric)
    weights = np.zeros(valid.shape)
    kinds = matrix.modalities if rules.balance_modalities else np.zeros(valid.shape[1])
    for kind in np.unique(kinds):
        chosen = valid & (kinds == kind)
        weights += chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), NOISE)
    added = np.where(valid, values, 0.0) * weights
    _, member = np.unique(matrix.groups, return_inverse=True)
    result = np.zeros((len(added), int(member.max()) + 1))
    for line in range(len(added)):
        np.add.at(result[line], member, added[line])
    return result


def sign_flip_p(differences: Floats) -> float:
    """Return the two-sided p value of the sum of the differences under flips of their signs."""
    kept = differences[np.abs(differences) > NOISE]
    if not len(kept):
        return 1.0
    if len(kept) > EXACT_UP_TO:
        return float(2 * ndtr(-abs(kept.sum()) / np.sqrt((kept**2).sum())))
    bits = np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept)) & 1
    sums = (1 - 2 * bits) @ kept
    return float((np.abs(sums) >= abs(kept.sum()) - NOISE).mean())


def tiers_of(places: NDArray[np.int64], better: Better) -> NDArray[np.int64]:
    """Return (T,) the tier of each team, 1 for the best; see the module for where one ends."""
    order = np.argsort(places, kind="stable")
    tiers = np.empty(len(places), dtype=np.int64)
    tier = 1
    for position, team in enumerate(order):
        above, below = order[:position], order[position:]
        if position and places[order[position - 1]] != places[team]:
            tier += bool(better[np.ix_(above, below)].all())
        tiers[team] = tier
    return tiers


def _better(difference: _Difference, teams: int, alpha: float) -> Better:
    """Test every pair; low sums are better."""
    pairs = list(combinations(range(teams), 2))
    better = np.zeros((teams, teams), dtype=np.bool_)
    if not pairs:
        return better
    found = [difference(*pair) for pair in pairs]
    adjusted = holm(np.array([sign_flip_p(differences) for differences in found]))
    for (one, other), differences, p in zip(pairs, found, adjusted, strict=True):
        if p <= alpha:
            first, second = (one, other) if differences.sum() < 0 else (other, one)
            better[first, second] = True
    return better


def _groups(matrix: ScoreMatrix) -> int:
    return len(np.unique(matrix.groups))
