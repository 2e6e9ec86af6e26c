"""Wilcoxon's signed-rank test, one-sided, for one sample or for many bootstrap samples at once.

As scipy.stats.wilcoxon with zero_method="wilcox" and no continuity correction: differences of 0 are
left out, equal ones share their mean rank, and the normal approximation is corrected for them. Up
to EXACT_UP_TO differences of the sample itself the null distribution is exact, also with ties
(given the ranks, every sign is as likely as the other); SciPy and R fall back to the approximation
there. A bootstrap sample, in which ties are the rule, is always approximated.

A sample is a column of counts, how often it has each difference. The statistic is a sum over the
differences in the order of their size, so that all samples share one sort.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

EXACT_UP_TO = 50
"""Differences other than 0; scipy.stats.wilcoxon's limit, too."""

BLOCK = 64
"""Rows that are added up step by step; about the square root of the usual number of cases."""


def exact_p(differences: Floats) -> tuple[float, float]:
    """Return the p values of "mostly below 0" and of "mostly above 0".

    The smaller value is better everywhere here, so that the first says that a team is better. Both
    are 1 when every difference is 0. For up to EXACT_UP_TO differences other than 0, of one sample.
    """
    signed = doubled_ranks(differences)
    if not len(signed):
        return 1.0, 1.0
    ways = np.zeros(int(np.abs(signed).sum()) + 1)
    ways[0] = 1.0
    for rank in np.abs(signed):
        ways[rank:] += ways[:-rank].copy()
    negative = int(-signed[signed < 0].sum())
    total = math.ldexp(1.0, len(signed))
    return float(ways[negative:].sum() / total), float(ways[: negative + 1].sum() / total)


def doubled_ranks(differences: Floats) -> NDArray[np.int64]:
    """Return twice the mean ranks of the absolute differences other than 0, with their signs."""
    kept = differences[differences != 0]
    order = np.argsort(np.abs(kept), kind="stable")
    _, first, size = np.unique(np.abs(kept)[order], return_index=True, return_counts=True)
    doubled = np.repeat(2 * first + size + 1, size)
    return np.asarray(np.sign(kept[order]) * doubled, dtype=np.int64)


@dataclass(frozen=True)
class Samples:
    """B samples of C units, with what all tests on them share."""

    counts: NDArray[np.uint8]
    """(C, B) How often each unit is in each sample."""
    tie_term: Floats
    """(B,) Sum of t^3 - t over all units."""

    @classmethod
    def of(cls, counts: NDArray[np.uint8]) -> Samples:
        """Take (B, C) counts."""
        columns = np.ascontiguousarray(counts.T)
        return cls(columns, _tie_term(columns))


def approximate_z(differences: Floats, samples: Samples) -> Floats:
    """Return (B,) the normal deviate of each sample, above 0 where differences are mostly below.

    differences: (C,). 0 where a sample has no difference other than 0.
    """
    kept = np.flatnonzero(differences)
    if not len(kept):
        return np.zeros(samples.counts.shape[1])
    better, size = differences < 0, np.abs(differences)
    order = kept[np.lexsort((~better[kept], size[kept]))]  # of equal ones those below 0 first
    counts = samples.counts.take(order, axis=0)
    statistic, total = _weighted_sum(counts, np.where(better[order], 1, -1))
    shared, shared_ties = _shared_ranks(counts, better[order], size[order])
    statistic += shared
    ties = samples.tie_term - _tie_term(samples.counts[differences == 0]) + shared_ties
    variance = total * (total + 1) * (2 * total + 1) / 6 - ties / 12
    deviation = np.sqrt(np.maximum(variance, 0))
    return np.divide(statistic, deviation, out=np.zeros(len(statistic)), where=deviation > 0)


def p_of_z(z: Floats) -> Floats:
    """Return the one-sided p value of a normal deviate."""
    return np.asarray(ndtr(-z), dtype=np.float64)


def _weighted_sum(counts: NDArray[np.uint8], sign: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Return (B,) the sum of signed ranks as if no two sizes were equal, and the number of them.

    The rank of a row (C, B) is what lies below it, and half of one more than itself. Rows are cut
    into C / BLOCK blocks that are added up side by side, row by row; then the blocks.
    """
    rows, samples = counts.shape
    blocks = -(-rows // BLOCK)
    largest = int(counts.max())
    small = largest * (2 * BLOCK * largest + 1) < np.iinfo(np.int16).max
    kind: type[np.signedinteger] = np.int16 if small else np.int64
    column = sign.astype(kind)[:, None]
    upto = np.ones((blocks, samples), kind)  # twice what lies below in the block, and 1
    net = np.zeros((blocks, samples), kind)
    inner = np.zeros((blocks, samples), np.int32 if small else np.int64)
    for step in range(BLOCK):
        own = counts[step::BLOCK].astype(kind)
        last = len(own)
        signed = own * column[step::BLOCK]
        twice = upto[:last] + own
        np.add(twice, own, out=upto[:last])
        net[:last] += signed
        signed *= twice
        inner[:last] += signed
    totals = (upto - 1) / 2
    below = np.cumsum(totals, axis=0) - totals
    return inner.sum(axis=0) / 2 + (below * net).sum(axis=0), totals.sum(axis=0)


def _shared_ranks(
    counts: NDArray[np.uint8], better: NDArray[np.bool_], size: Floats
) -> tuple[Floats, Floats]:
    """Return (B,) what equal sizes add to the sum of signed ranks and to the sum of t^3 - t.

    With the rows below 0 first, as here, giving all of them their mean rank moves half a rank from
    each of one sign to each of the other: in all the product of how many there are of either.
    """
    same = np.zeros(len(size) + 1, dtype=np.bool_)
    np.equal(size[1:], size[:-1], out=same[1:-1])
    tied = same[1:] | same[:-1]
    if not tied.any():
        return np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    starts = np.flatnonzero(~same[:-1][tied])
    rows, of_better = counts[tied].astype(np.int64), better[tied, None]
    below = np.add.reduceat(rows * of_better, starts, axis=0)
    above = np.add.reduceat(rows * ~of_better, starts, axis=0)
    ties = _tie_term(below + above) - _tie_term(rows)
    return (below * above).sum(axis=0).astype(np.float64), ties


def _tie_term(counts: NDArray[np.integer]) -> Floats:
    """Return (B,) the sum of t^3 - t."""
    times = counts.astype(np.float64)
    return np.asarray((times * (times * times - 1)).sum(axis=0), dtype=np.float64)
