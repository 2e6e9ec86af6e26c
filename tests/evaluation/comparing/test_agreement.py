"""Bland-Altman and the two one-sided tests against SciPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.comparing.agreement import agree


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(0, 10**6), st.sampled_from([0.005, 0.02, 0.5]))
def test_both_p_values_are_scipys(size, seed, margin):
    rng = np.random.default_rng(seed)
    one = rng.random(size)
    other = one + np.round(rng.normal(0.005, 0.02, size), 6)
    found = agree(one, other, margin, 0.05)
    differences = np.round(other - one, 10)
    lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert found.p_lower == pytest.approx(lower, rel=1e-4, abs=1e-12)
    assert found.p_upper == pytest.approx(upper, rel=1e-4, abs=1e-12)
    assert found.equivalent == (max(lower, upper) <= 0.05)
    assert not (found.equivalent and found.different)


def test_limits_of_agreement_by_hand():
    """Differences -0.01, 0.01, 0.03: mean 0.01, deviation 0.02."""
    found = agree([0.5, 0.5, 0.5], [0.49, 0.51, 0.53], 0.02, 0.05)
    assert (found.bias, found.deviation) == (0.01, 0.02)
    assert (found.limit_low, found.limit_high) == (-0.0292, 0.0492)
    assert (found.largest, found.beyond_margin, found.n) == (0.03, 1, 3)


def test_the_same_difference_everywhere_leaves_no_doubt():
    assert agree([0.5] * 3, [0.5] * 3, 0.01, 0.05).equivalent
    assert agree([0.5] * 3, [0.509] * 3, 0.01, 0.05).equivalent
    for shifted in (0.52, 0.48):
        found = agree([0.5] * 3, [shifted] * 3, 0.01, 0.05)
        assert found.different and not found.equivalent


def test_one_case_decides_nothing():
    found = agree([0.5], [0.5], 0.01, 0.05)
    assert (found.deviation, found.limit_low, found.p_lower) == (None, None, None)
    assert not found.equivalent and not found.different
