"""Who is significantly better than whom: every ordered pair of teams, corrected for their number.

A patient group counts once, with the mean of its cases: cases of one patient are no independent
evidence. Holm's correction is over all ordered pairs of a board and metric, as challengeR's
significance maps have it.

Sources: Wiesenfarth et al., Sci Rep 11, 2369 (2021), test-based ranking; its R package always takes
the normal approximation with a continuity correction, here small samples are tested exactly (see
`signed_rank`).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking.score_matrix import VALUE_DIGITS, Floats
from evaluation.ranking.signed_rank import (
    EXACT_UP_TO,
    Samples,
    approximate_z,
    exact_p,
    p_of_z,
)

Counts = NDArray[np.uint8]

THREADS = min(2, os.cpu_count() or 1)
"""Pairs tested at once; NumPy lets go of the interpreter's lock, more threads wait for memory."""


@dataclass(frozen=True)
class MetricTests:
    """One metric on T teams, in B samples."""

    p: Floats
    """(B, T, T) one-sided p values, row better than column; 1 on the diagonal."""
    better: NDArray[np.bool_]
    """(B, T, T) Which of them are significant after Holm's correction."""

    @property
    def wins(self) -> NDArray[np.int64]:
        """(B, T) How many teams each is significantly better than."""
        return np.asarray(self.better.sum(axis=2, dtype=np.int64))


def test_pairs(values: Floats, groups: NDArray[np.int64], alpha: float) -> MetricTests:
    """Test all pairs on the cases as they are: (T, C) values of which low ones are better.

    A case that one of the two lacks (NaN) is left out for that pair.
    """
    units, _ = group_means(values, groups)
    teams = len(units)
    p = np.ones((1, teams, teams))
    single = Samples.of(np.ones((1, units.shape[1]), dtype=np.uint8))
    for one, other in combinations(range(teams), 2):
        differences = differences_of(units[one], units[other])
        if np.count_nonzero(differences) <= EXACT_UP_TO:
            p[0, one, other], p[0, other, one] = exact_p(differences)
        else:
            z = approximate_z(differences, single)[0]
            p[0, one, other], p[0, other, one] = p_of_z(np.array([z, -z]))
    return MetricTests(p, significant(p, alpha))


def test_pairs_of_samples(
    values: Floats, groups: NDArray[np.int64], alpha: float, counts: Counts
) -> MetricTests:
    """Test all pairs in every sample; all cases of a group must have the same counts."""
    units, first = group_means(values, groups)
    samples = Samples.of(counts[:, first])
    teams = len(units)
    p = np.ones((len(counts), teams, teams))

    def test(pair: tuple[int, int]) -> None:
        one, other = pair
        z = approximate_z(differences_of(units[one], units[other]), samples)
        p[:, one, other], p[:, other, one] = p_of_z(z), p_of_z(-z)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(test, combinations(range(teams), 2)))
    return MetricTests(p, significant(p, alpha))


def differences_of(one: Floats, other: Floats) -> Floats:
    """Return one less the other, rounded, so that noise is no difference; NaN counts as none."""
    return np.nan_to_num(np.round(one - other, VALUE_DIGITS))


def group_means(values: Floats, groups: NDArray[np.int64]) -> tuple[Floats, NDArray[np.intp]]:
    """Return (T, G) the mean of each group's values, and where each group's first case is.

    NaN is left out of a mean; a group of nothing else is NaN.
    """
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) == len(groups):
        return values[:, first], first
    known = ~np.isnan(values)
    sums = np.zeros((len(values), len(first)))
    sizes = np.zeros_like(sums)
    for line in range(len(values)):
        np.add.at(sums[line], member, np.where(known[line], values[line], 0.0))
        np.add.at(sizes[line], member, known[line])
    means = np.divide(sums, sizes, out=np.full_like(sums, np.nan), where=sizes > 0)
    return means, first


def holm(p: Floats) -> Floats:
    """Return (N,) p values adjusted by Holm (Scand J Stat 6, 1979) over all of them."""
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def significant(p: Floats, alpha: float) -> NDArray[np.bool_]:
    """Return (B, T, T) where `holm` of a sample's off-diagonal values is at most alpha.

    Values are compared with their step's limit in ascending order, up to the first above it.
    """
    teams = p.shape[1]
    pairs = ~np.eye(teams, dtype=np.bool_)
    if not pairs.any():
        return np.zeros(p.shape, dtype=np.bool_)
    ascending = np.sort(p[:, pairs], axis=1)
    above = ascending * np.arange(ascending.shape[1], 0, -1) > alpha
    first_above = np.where(above.any(axis=1), above.argmax(axis=1), 0)
    limit = np.take_along_axis(ascending, first_above[:, None], axis=1)[:, 0]
    limit[~above.any(axis=1)] = np.inf
    return (p < limit[:, None, None]) & pairs
