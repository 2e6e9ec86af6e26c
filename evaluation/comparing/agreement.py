"""Do two series of numbers agree? Bland and Altman's limits, and tests for equivalence.

A t-test that finds no difference shows nothing: it may have looked at too few cases. Two one-sided
tests do (Schuirmann, J Pharmacokinet Biopharm 15, 657 (1987)): the mean difference is shown to lie
within the margin when it is significantly above the lower end and significantly below the upper
one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DIGITS = 6
"""Decimals of all numbers; p values have as many significant ones."""

LIMITS_Z = 1.96
"""Deviations within which 95 % of the differences of equal methods lie (Bland, Altman, Lancet 327,
307 (1986))."""


@dataclass(frozen=True)
class Agreement:
    """How two paired series differ; the second less the first. None where n is too small."""

    n: int
    mean_first: float
    mean_second: float
    bias: float
    """Mean difference."""
    deviation: float | None
    """Standard deviation of the differences, n - 1; None for one."""
    limit_low: float | None
    limit_high: float | None
    """Bland and Altman's limits of agreement: bias and 1.96 deviations."""
    largest: float
    """Largest absolute difference."""
    beyond_margin: int
    """Differences whose size is above the margin."""
    p_lower: float | None
    p_upper: float | None
    """One-sided: mean not above -margin; mean not below +margin. None for one."""
    equivalent: bool
    """Whether both are at most alpha."""
    different: bool
    """Whether the mean is significantly outside the margin, on either side."""


def agree(
    first: Sequence[float], second: Sequence[float], margin: float, alpha: float
) -> Agreement:
    """Compare two series of the same cases in the same order, at least one.

    Where all differences are the same there is no doubt: the p values are 0 or 1, of one case none.
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    differences = np.round(other - one, 10)
    bias = math.fsum(differences) / len(differences)
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else None
    lower, upper = _one_sided(bias, deviation, len(differences), margin)
    known = lower is not None and upper is not None
    return Agreement(
        n=len(differences),
        mean_first=_rounded(float(one.mean())),
        mean_second=_rounded(float(other.mean())),
        bias=_rounded(bias),
        deviation=None if deviation is None else _rounded(deviation),
        limit_low=None if deviation is None else _rounded(bias - LIMITS_Z * deviation),
        limit_high=None if deviation is None else _rounded(bias + LIMITS_Z * deviation),
        largest=_rounded(float(np.abs(differences).max())),
        beyond_margin=int((np.abs(differences) > margin).sum()),
        p_lower=None if lower is None else _shortened(lower),
        p_upper=None if upper is None else _shortened(upper),
        equivalent=bool(known and max(lower or 0.0, upper or 0.0) <= alpha),
        different=bool(known and max(lower or 0.0, upper or 0.0) >= 1 - alpha),
    )


def _one_sided(
    bias: float, deviation: float | None, number: int, margin: float
) -> tuple[float | None, float | None]:
    """Return the p values against "at most -margin" and against "at least +margin"."""
    if deviation is None:
        return None, None
    if deviation == 0:
        return float(bias <= -margin), float(bias >= margin)
    error = deviation / math.sqrt(number)
    above = stats.t.sf((bias + margin) / error, number - 1)
    below = stats.t.cdf((bias - margin) / error, number - 1)
    return float(above), float(below)


def _rounded(value: float) -> float:
    return round(value, DIGITS) + 0.0  # no -0.0


def _shortened(p: float) -> float:
    return float(f"{p:.{DIGITS}g}")
