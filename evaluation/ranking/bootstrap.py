"""How far the places depend on the cases that happened to be there: a bootstrap over cases.

Each sample draws patient groups with replacement, as many as there are, apart for each modality
and dimension (a group that has several is drawn among those with the same). A case whose group is
not known is a group of its own. The draws depend on the cases and the seed alone: another team, or
another order of them, is judged on the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking.results import Interval, Kendall
from evaluation.ranking.score_matrix import Floats, ScoreMatrix

Counts = NDArray[np.uint8]

TAU_DIGITS = 6


def draw_samples(matrix: ScoreMatrix, samples: int, seed: int) -> Counts:
    """Return (B, C) how often each case is in each sample."""
    rng = np.random.default_rng(seed)
    _, member = np.unique(matrix.groups, return_inverse=True)
    counts = np.zeros((samples, int(member.max()) + 1), dtype=np.uint8)
    for units in _strata(matrix, member):
        drawn = rng.integers(len(units), size=(samples, len(units)))
        flat = drawn + np.arange(samples)[:, None] * len(units)
        found = np.bincount(flat.ravel(), minlength=samples * len(units))
        counts[:, units] = found.reshape(samples, len(units))
    return counts[:, member]


def remark_on_strata(matrix: ScoreMatrix) -> str:
    """Return what is to be known of the strata of some scores; empty where there is nothing."""
    _, member = np.unique(matrix.groups, return_inverse=True)
    return lone_remark(_strata(matrix, member))


def _strata(matrix: ScoreMatrix, member: NDArray[np.intp]) -> list[NDArray[np.int64]]:
    """Return the groups of each stratum, in the order of the strata's names."""
    kinds = zip(matrix.modalities.tolist(), matrix.dimensions.tolist(), strict=True)
    return groups_of_kinds(member, list(kinds))


def groups_of_kinds(
    member: NDArray[np.intp], kinds: Sequence[tuple[str, int]]
) -> list[NDArray[np.int64]]:
    """Return the groups that have cases of the same kinds (modality, dimensions), for each such set
    of kinds in their order; `member` and `kinds` are of the cases."""
    kinds_of: dict[int, set[tuple[str, int]]] = {}
    for group, kind in zip(member.tolist(), kinds, strict=True):
        kinds_of.setdefault(group, set()).add(kind)
    strata: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for group, own in sorted(kinds_of.items()):
        strata.setdefault(tuple(sorted(own)), []).append(group)
    return [np.array(groups) for _, groups in sorted(strata.items())]


def lone_remark(strata: Sequence[NDArray[np.int64]]) -> str:
    """Return a sentence on strata of one group, which no sample can vary; empty without any."""
    lone = sum(len(groups) < 2 for groups in strata)
    if not lone:
        return ""
    return (
        f"{lone} of {len(strata)} modalities (2D and 3D apart) have one case, or one patient "
        "group, which bootstrap samples cannot vary: the intervals are too narrow"
    )


def place_interval(places: NDArray[np.int64], alpha: float) -> Interval:
    """Return the places between which a team is in all but alpha of the samples.

    Both ends are places that occur (inverse of the empirical distribution).
    """
    low, high = np.quantile(places, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    return Interval(int(low), int(high))


def mean_interval(means: Floats, alpha: float, digits: int) -> Interval | None:
    """Return the percentile interval of a mean over the samples in which there is one."""
    known = means[~np.isnan(means)]
    if not len(known):
        return None
    low, high = np.quantile(known, [alpha / 2, 1 - alpha / 2])
    return Interval(round(float(low), digits), round(float(high), digits))


def chance_of_first(places: NDArray[np.int64]) -> Floats:
    """Return (T,) the part of the samples (B, T) that a team wins; k that share it have 1/k."""
    first = places == 1
    return np.asarray((first / first.sum(axis=1, keepdims=True)).mean(axis=0))


def kendall_tau(places: NDArray[np.int64], reference: NDArray[np.int64]) -> Floats:
    """Return (B,) Kendall's tau-b of each sample's places (B, T) to the reference (T,).

    NaN where either has all teams in one place; as scipy.stats.kendalltau.
    """
    one, other = np.triu_indices(len(reference), 1)
    signs = np.sign(places[:, one] - places[:, other])
    expected = np.sign(reference[one] - reference[other])
    untied = np.count_nonzero(signs, axis=1) * np.count_nonzero(expected)
    agreement = (signs * expected).sum(axis=1)
    taus = np.full(len(places), np.nan)
    np.divide(agreement, np.sqrt(untied), out=taus, where=untied > 0)
    return taus


def summarise_tau(taus: Floats, alpha: float) -> Kendall:
    """Return mean, interval and all values where tau is defined."""
    known = np.sort(np.round(taus[~np.isnan(taus)], TAU_DIGITS))
    if not len(known):
        return Kendall(None, None, ())
    return Kendall(
        mean=round(float(known.mean()), TAU_DIGITS),
        interval=mean_interval(known, alpha, TAU_DIGITS),
        values=tuple(known.tolist()),
    )
