"""Signed-rank tests against SciPy's, sample by sample, and against counting all signs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.ranking.paired_tests import group_means, holm, significant
from evaluation.ranking.paired_tests import test_pairs as pairs_of
from evaluation.ranking.paired_tests import test_pairs_of_samples as pairs_of_samples
from evaluation.ranking.signed_rank import (
    EXACT_UP_TO,
    Samples,
    approximate_z,
    exact_p,
    p_of_z,
)


def scipy_p(differences, side="less"):
    return stats.wilcoxon(differences, alternative=side, method="approx").pvalue


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.sampled_from([1, 3, 40, 10**6]), st.integers(0, 10**6))
def test_every_sample_has_scipys_p_with_any_number_of_ties_and_zeros(size, levels, seed):
    rng = np.random.default_rng(seed)
    differences = rng.integers(-levels, levels + 1, size) / 8
    counts = rng.multinomial(size, np.full(size, 1 / size), size=4).astype(np.uint8)
    found = p_of_z(approximate_z(differences, Samples.of(counts)))
    for p, sample in zip(found, counts, strict=True):
        repeated = np.repeat(differences, sample)
        expected = scipy_p(repeated) if repeated.any() else 0.5
        assert p == pytest.approx(expected, rel=1e-9)


def test_a_case_that_is_drawn_often_does_not_overflow():
    differences = np.linspace(-1.0, 2.0, 200)
    counts = np.full((2, 200), 250, dtype=np.uint8)
    found = p_of_z(-approximate_z(differences, Samples.of(counts)))
    assert found[0] == found[1] == pytest.approx(scipy_p(np.repeat(differences, 250), "greater"))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_small_samples_are_what_counting_all_signs_gives(whole):
    differences = np.array(whole, dtype=float)
    kept = differences[differences != 0]
    ranks = stats.rankdata(np.abs(kept)) if len(kept) else np.array([])
    observed = ranks[kept < 0].sum()
    sums = [sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
            for signs in product((0, 1), repeat=len(kept))]  # fmt: skip
    below, above = exact_p(differences)
    assert below == pytest.approx(np.mean([total >= observed for total in sums]))
    assert above == pytest.approx(np.mean([total <= observed for total in sums]))


@given(st.integers(1, 50), st.integers(0, 10**6))
def test_without_ties_small_samples_have_scipys_exact_p(size, seed):
    differences = np.random.default_rng(seed).normal(0.2, 1.0, size)
    expected = stats.wilcoxon(differences, alternative="less", method="exact").pvalue
    assert exact_p(differences)[0] == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_holm_is_the_step_down_procedure_and_decisions_follow_from_it(p, alpha):
    values = np.array(p)
    ordered = np.argsort(values, kind="stable")
    expected, largest = {}, 0.0
    for step, index in enumerate(ordered):  # the definition, one by one
        largest = max(largest, min(1.0, (len(p) - step) * values[index]))
        expected[int(index)] = largest
    assert holm(values).tolist() == pytest.approx([expected[k] for k in range(len(p))])


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([0.01, 0.05, 0.3]))
def test_significant_is_holm_at_most_alpha(teams, seed, alpha):
    rng = np.random.default_rng(seed)
    p = rng.choice([0.0, 1e-9, 0.004, 0.0125, 0.3, 1.0], size=(3, teams, teams))
    pairs = ~np.eye(teams, dtype=bool)
    found = significant(p, alpha)
    for sample in range(3):
        adjusted = holm(p[sample][pairs]) if teams > 1 else np.array([])
        assert found[sample][pairs].tolist() == (adjusted <= alpha).tolist()
    assert not found[:, ~pairs].any()


def test_many_cases_are_tested_as_scipy_does_and_few_exactly():
    rng = np.random.default_rng(3)
    for cases in (12, EXACT_UP_TO + 30):
        values = rng.normal(size=(3, cases)) - np.array([[0.0], [0.3], [0.0]])
        found = pairs_of(values, np.arange(cases), 0.05)
        for one in range(3):
            for other in range(3):
                if one != other:
                    method = "exact" if cases <= EXACT_UP_TO else "approx"
                    expected = stats.wilcoxon(
                        values[one], values[other], alternative="less", method=method
                    ).pvalue
                    assert found.p[0, one, other] == pytest.approx(expected)


def test_a_group_counts_once_with_its_mean():
    values = np.array([[1.0, 3.0, 5.0, np.nan], [0.0, 0.0, 0.0, 0.0]])
    means, first = group_means(values, np.array([7, 7, 4, 4]))
    assert means.tolist() == [[5.0, 2.0], [0.0, 0.0]]
    assert first.tolist() == [2, 0]
    # Ten frames of one video are one piece of evidence, not ten.
    frames = np.vstack([np.zeros(10), np.ones(10)])
    assert pairs_of(frames, np.zeros(10, dtype=int), 0.05).p[0, 0, 1] == 0.5
    assert pairs_of(frames, np.arange(10), 0.05).p[0, 0, 1] == pytest.approx(2**-10)


def test_samples_are_tested_as_the_cases_that_they_repeat():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 2)
    values = np.round(rng.normal(size=(3, 80)), 2)
    drawn = rng.multinomial(40, np.full(40, 1 / 40), size=6).astype(np.uint8)
    found = pairs_of_samples(values, groups, 0.05, drawn[:, groups])
    units = values.reshape(3, 40, 2).mean(axis=2)
    for sample in range(6):
        repeated = np.repeat(units, drawn[sample], axis=1)
        expected = stats.wilcoxon(
            np.round(repeated[1] - repeated[2], 10), alternative="less", method="approx"
        ).pvalue
        assert found.p[sample, 1, 2] == pytest.approx(expected)
    assert (found.wins == found.better.sum(axis=2)).all()
