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
    return (np.sign(kept[order]) * doubled).astype(np.int64)


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
    counts = samples.counts
    kept = np.flatnonzero(differences)
    order = kept[np.argsort(np.abs(differences[kept]), kind="stable")]
    if not len(order):
        return np.zeros(counts.shape[1])
    size = np.abs(differences[order])
    sign = np.where(differences[order] < 0, 1, -1).astype(np.int8)
    tied, net = _tied_totals(counts.take(order, axis=0), sign, size)
    statistic, total = _weighted_sum(tied, net)
    if net.shape[1] == 1:
        ties = samples.tie_term - _tie_term(counts[differences == 0])
    else:
        ties = _tie_term(tied)
    variance = total * (total + 1) * (2 * total + 1) / 6 - ties / 12
    deviation = np.sqrt(np.maximum(variance, 0))
    return np.divide(statistic, deviation, out=np.zeros(len(statistic)), where=deviation > 0)


def p_of_z(z: Floats) -> Floats:
    """Return the one-sided p value of a normal deviate."""
    return np.asarray(ndtr(-z), dtype=np.float64)


def _tied_totals(
    counts: NDArray[np.uint8], sign: NDArray[np.int8], size: Floats
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return (K, B) for each different size how often it occurs, and the same with the signs.

    The signs come as a column (K, 1) where no size occurs twice.
    """
    new = np.empty(len(size), dtype=np.bool_)
    new[0] = True
    np.not_equal(size[1:], size[:-1], out=new[1:])
    if new.all():
        return counts, sign[:, None]
    starts = np.flatnonzero(new)
    tied = np.add.reduceat(counts, starts, axis=0, dtype=np.int32)
    signed = np.multiply(counts, sign[:, None], dtype=np.int16)
    return tied, np.add.reduceat(signed, starts, axis=0, dtype=np.int32)


def _weighted_sum(
    tied: NDArray[np.integer], net: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Return (B,) the sum of net times mean rank, and the number of differences.

    The mean rank of a size is what lies below it, and half of one more than itself. Rows are cut
    into K / BLOCK blocks that are added up side by side, row by row; then the blocks.
    """
    rows, samples = tied.shape
    blocks = -(-rows // BLOCK)
    largest = int(tied.max())
    small = largest * (2 * BLOCK * largest + 1) < np.iinfo(np.int16).max
    kind: type[np.signedinteger] = np.int16 if small else np.int64
    signs = net.shape[1] == 1
    signed_rows = net.astype(kind)
    upto = np.ones((blocks, samples), kind)  # twice what lies below in the block, and 1
    net_total = np.zeros((blocks, samples), kind)
    inner = np.zeros((blocks, samples), np.int32 if small else np.int64)
    for step in range(BLOCK):
        own = tied[step::BLOCK].astype(kind)
        last = len(own)
        signed = own * signed_rows[step::BLOCK] if signs else signed_rows[step::BLOCK]
        twice = upto[:last] + own
        np.add(twice, own, out=upto[:last])
        net_total[:last] += signed
        inner[:last] += signed * twice
    totals = (upto - 1) / 2
    below = np.cumsum(totals, axis=0) - totals
    statistic = inner.sum(axis=0) / 2 + (below * net_total).sum(axis=0)
    return statistic, totals.sum(axis=0)


def _tie_term(tied: NDArray[np.integer]) -> Floats:
    """Return (B,) the sum of t^3 - t."""
    cubes = tied.astype(np.float64)
    return np.asarray((cubes * (cubes * cubes - 1)).sum(axis=0), dtype=np.float64)
