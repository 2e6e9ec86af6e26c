"""From the scores of all teams to the ranking: three boards, three schemes, their uncertainty.

The boards are all cases together, 2D and 3D alone. A team's DSC, NSD and seconds are means over the
cases of a modality and then over the modalities, as in the tables of the challenge (DAFT's and
SwiftMedSAM's reproduce this way), so that 600 ultrasound images weigh as much as 3 PET volumes,
unless the rules say otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import RankError
from evaluation.ranking.bootstrap import (
    chance_of_first,
    draw_samples,
    kendall_tau,
    mean_interval,
    place_interval,
    summarise_tau,
)
from evaluation.ranking.paired_tests import (
    MetricTests,
    holm,
    test_pairs,
    test_pairs_of_samples,
)
from evaluation.ranking.results import (
    METRICS,
    Board,
    Matrix,
    Means,
    OfficialPlace,
    Scheme,
    Significance,
    Standing,
    TeamResult,
)
from evaluation.ranking.schemes import (
    SCORE_DIGITS,
    Counts,
    SchemeScores,
    aggregate_then_rank,
    compared_values,
    counted_metrics,
    rank_then_average,
    team_means,
    test_then_rank,
)
from evaluation.ranking.score_matrix import Floats, ScoreMatrix
from evaluation.ranking.tiers import (
    Better,
    tiers_of,
    told_apart_by_ranks,
    told_apart_by_tests,
    told_apart_by_values,
)
from evaluation.running.ranking_rules import SCHEMES, RankingRules

BOARDS: dict[str, tuple[int, ...]] = {"overall": (2, 3), "2D": (2,), "3D": (3,)}
"""Name of a board -> dimensions of its cases."""

P_DIGITS = 6
"""Significant digits of a p value."""


@dataclass(frozen=True)
class _Contest:
    """One board's data: scores, and the samples drawn of its cases."""

    matrix: ScoreMatrix
    official: ScoreMatrix
    rules: RankingRules
    counts: Counts
    """(B, C)"""

    @property
    def as_it_is(self) -> Counts:
        """(1, C) Every case once."""
        return np.ones((1, len(self.matrix.cases)), dtype=np.uint8)


def build_boards(
    matrix: ScoreMatrix, official: ScoreMatrix, rules: RankingRules
) -> tuple[Board, ...]:
    """Rank the teams on every board that has cases; `official` has the script's numbers.

    Raises RankError when no metric that has a weight has anything to compare.
    """
    counts = draw_samples(matrix, rules.bootstraps, rules.seed)
    boards = []
    for name, dimensions in BOARDS.items():
        chosen = np.isin(matrix.dimensions, dimensions)
        if chosen.any():
            parts = (matrix.of_cases(chosen), official.of_cases(chosen))
            boards.append(_board(name, _Contest(*parts, rules, counts[:, chosen])))
    return tuple(boards)


def _board(name: str, contest: _Contest) -> Board:
    matrix, rules = contest.matrix, contest.rules
    metrics = counted_metrics(matrix, rules)
    if not metrics:
        weighted = ", ".join(metric for metric in METRICS if rules.weights[metric])
        raise RankError(f"{name}: expected {weighted} to compare, found none of equal hardware")
    tests = _tests(matrix, rules)
    names = sorted(SCHEMES, key=lambda scheme: scheme != rules.scheme)
    return Board(
        name=name,
        cases=len(matrix.cases),
        modalities=dict(sorted(Counter(matrix.modalities.tolist()).items())),
        groups=len(np.unique(matrix.groups)),
        timed_cases=int(matrix.timed.sum()),
        teams=_team_results(contest),
        schemes=tuple(_scheme(scheme, contest, tests) for scheme in names),
        significance=tuple(_significance(metric, found) for metric, found in tests.items()),
    )


def _tests(matrix: ScoreMatrix, rules: RankingRules) -> dict[str, MetricTests]:
    return {
        metric: test_pairs(compared_values(matrix, metric, rules), matrix.groups, rules.alpha)
        for metric in counted_metrics(matrix, rules)
    }


def _scheme(name: str, contest: _Contest, tests: Mapping[str, MetricTests]) -> Scheme:
    matrix, rules = contest.matrix, contest.rules
    found = _scores(name, matrix, rules, contest.as_it_is, tests)
    sampled = _sampled_scores(name, contest)
    better = _told_apart(name, matrix, rules, tests)
    tiers = tiers_of(found.places[0], better)
    first = chance_of_first(sampled.places)
    standings = [
        Standing(
            team=team,
            place=int(found.places[0, index]),
            score=float(found.scores[0, index]),
            metric_scores=_means(
                {key: part[0, index] for key, part in found.metric_scores.items()}
            ),
            tier=int(tiers[index]),
            not_told_apart_from=tuple(
                other
                for position, other in enumerate(matrix.teams)
                if position != index and not (better[index, position] or better[position, index])
            ),
            places=place_interval(sampled.places[:, index], rules.alpha),
            first=round(float(first[index]), SCORE_DIGITS),
            place_counts=_place_counts(sampled.places[:, index], len(matrix.teams)),
        )
        for index, team in enumerate(matrix.teams)
    ]
    standings.sort(key=lambda standing: (standing.place, standing.team))
    taus = kendall_tau(sampled.places, found.places[0])
    return Scheme(name, tuple(standings), summarise_tau(taus, rules.alpha))


def _scores(
    name: str,
    matrix: ScoreMatrix,
    rules: RankingRules,
    counts: Counts,
    tests: Mapping[str, MetricTests],
) -> SchemeScores:
    """Return scores and places under one scheme; the tests must be of the same samples."""
    if name == "rank-then-average":
        return rank_then_average(matrix, rules, counts)
    if name == "aggregate-then-rank":
        return aggregate_then_rank(matrix, rules, counts)
    return test_then_rank(dict(tests), rules, len(counts), len(matrix.teams))


def _sampled_scores(name: str, contest: _Contest) -> SchemeScores:
    """Return scores and places in every sample."""
    matrix, rules, counts = contest.matrix, contest.rules, contest.counts
    tests = {}
    if name == "test-then-rank":
        for metric in counted_metrics(matrix, rules):
            values = compared_values(matrix, metric, rules)
            tests[metric] = test_pairs_of_samples(values, matrix.groups, rules.alpha, counts)
    return _scores(name, matrix, rules, counts, tests)


def _told_apart(
    name: str, matrix: ScoreMatrix, rules: RankingRules, tests: Mapping[str, MetricTests]
) -> Better:
    if name == "rank-then-average":
        return told_apart_by_ranks(matrix, rules)
    if name == "aggregate-then-rank":
        return told_apart_by_values(matrix, rules)
    return told_apart_by_tests(tests, rules, len(matrix.teams))


def _team_results(contest: _Contest) -> tuple[TeamResult, ...]:
    matrix, rules = contest.matrix, contest.rules
    tests = _tests(contest.official, rules) if rules.scheme == "test-then-rank" else {}
    official = _scores(rules.scheme, contest.official, rules, contest.as_it_is, tests).places[0]
    official_means = team_means(contest.official, rules.balance_modalities, contest.as_it_is)
    means = team_means(matrix, rules.balance_modalities, contest.as_it_is)
    sampled = team_means(matrix, rules.balance_modalities, contest.counts)
    parts = {
        modality: team_means(chosen, False, np.ones((1, len(chosen.cases)), dtype=np.uint8))
        for modality in np.unique(matrix.modalities).tolist()
        for chosen in [matrix.of_cases(matrix.modalities == modality)]
    }
    return tuple(
        TeamResult(
            team=team,
            mean=_means({metric: found[0, line] for metric, found in means.items()}),
            interval={
                metric: mean_interval(found[:, line], rules.alpha, SCORE_DIGITS)
                for metric, found in sampled.items()
            },
            modalities={
                modality: _means({metric: found[0, line] for metric, found in part.items()})
                for modality, part in parts.items()
            },
            statuses=dict(sorted(Counter(matrix.statuses[line].tolist()).items())),
            official=OfficialPlace(
                place=int(official[line]),
                dsc=_number(official_means["dsc"][0, line]),
                nsd=_number(official_means["nsd"][0, line]),
            ),
        )
        for line, team in enumerate(matrix.teams)
    )


def _significance(metric: str, tests: MetricTests) -> Significance:
    p = tests.p[0]
    adjusted = np.ones_like(p)
    pairs = ~np.eye(len(p), dtype=np.bool_)
    adjusted[pairs] = holm(p[pairs])
    return Significance(metric, _matrix(p), _matrix(adjusted))


def _matrix(p: Floats) -> Matrix:
    return tuple(
        tuple(
            None if row == column else float(f"{value:.{P_DIGITS}g}")
            for column, value in enumerate(line)
        )
        for row, line in enumerate(p.tolist())
    )


def _means(values: Mapping[str, float]) -> Means:
    return Means(*(_number(values[metric]) if metric in values else None for metric in METRICS))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), SCORE_DIGITS)


def _place_counts(places: NDArray[np.int64], teams: int) -> tuple[int, ...]:
    return tuple(np.bincount(places, minlength=teams + 1)[1:].tolist())
