"""Bootstrap intervals of a mean difference, over patient groups.

Groups are drawn apart for each set of kinds of case (modality, 2D or 3D) that they hold, so that
every sample has as many of each as the data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.ranking.bootstrap import groups_of_kinds
from evaluation.ranking.score_matrix import Floats

BOOTSTRAPS = 2000
SEED = 2024

Members = np.ndarray[tuple[int], np.dtype[np.intp]]
"""Number of each case's group, 0 and on."""


def paired_interval(
    differences: Floats, members: Members, kinds: Sequence[tuple[str, int]], alpha: float
) -> tuple[float | None, float | None]:
    """Return the percentile interval of the mean, drawing groups apart for each kind of case; none
    where no kind has two groups, for no draw differs from another then."""
    strata = groups_of_kinds(members, kinds)
    if all(len(of_kind) < 2 for of_kind in strata):
        return None, None
    sums, sizes = np.bincount(members, differences), np.bincount(members)
    rng = np.random.default_rng(SEED)
    total, number = np.zeros(BOOTSTRAPS), np.zeros(BOOTSTRAPS)
    for of_kind in strata:
        drawn = of_kind[rng.integers(len(of_kind), size=(BOOTSTRAPS, len(of_kind)))]
        total += sums[drawn].sum(axis=1)
        number += sizes[drawn].sum(axis=1)
    low, high = np.quantile(total / number, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
