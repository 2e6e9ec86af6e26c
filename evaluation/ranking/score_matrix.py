"""All scores as arrays of teams by cases, with the failure values where a team has no result.

A case that a team failed, or never ran, counts against it: its DSC and NSD are the protocol's
failure values, and its seconds are the protocol's failure time, or the slowest good time of that
case if that is longer, so that no failure is faster than a success.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import RankError
from evaluation.ranking.results import METRICS
from evaluation.scoring.score_tables import NO_TRUTH, NOT_RUN, OK, ScoreRow

Scores = Mapping[str, Sequence[ScoreRow]]
"""Rows of every team, by team."""

Floats = NDArray[np.float64]

VALUE_DIGITS = 10
"""Decimals of every score that is compared: noise in the last bit of a sum makes no difference."""


@dataclass(frozen=True)
class FailureValues:
    """What a case that failed counts as; FLARE 2022's, unless the protocol says otherwise."""

    dsc: float = 0.0
    nsd: float = 0.0
    seconds: float = 3600.0


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores of T teams on C cases, both by name."""

    teams: tuple[str, ...]
    cases: tuple[str, ...]
    modalities: NDArray[np.str_]
    """(C,)"""
    dimensions: NDArray[np.int64]
    """(C,) 2 or 3."""
    groups: NDArray[np.int64]
    """(C,) Number of the patient group."""
    timed: NDArray[np.bool_]
    """(C,) Whether the seconds of the case are compared."""
    statuses: NDArray[np.str_]
    """(T, C)"""
    measured: NDArray[np.bool_]
    """(T, C) Whether the team has a time of its own: ok, and not masks without records."""
    values: Mapping[str, Floats]
    """(T, C) for each metric, with the failure values; NaN is left out of means and last in ranks
    (only official scores have any)."""

    def valid(self, metric: str) -> NDArray[np.bool_]:
        """(T, C) Which values of a metric count."""
        counted = ~np.isnan(self.values[metric])
        return np.asarray(counted & self.timed) if metric == "seconds" else np.asarray(counted)

    def of_cases(self, chosen: NDArray[np.bool_]) -> ScoreMatrix:
        """Return the same of some cases."""
        return dataclasses.replace(
            self,
            cases=tuple(np.asarray(self.cases)[chosen].tolist()),
            modalities=self.modalities[chosen],
            dimensions=self.dimensions[chosen],
            groups=self.groups[chosen],
            timed=self.timed[chosen],
            statuses=self.statuses[:, chosen],
            measured=self.measured[:, chosen],
            values={metric: values[:, chosen] for metric, values in self.values.items()},
        )


def build_matrix(
    scores: Scores,
    failures: Mapping[str, FailureValues] | None = None,
    groups: Mapping[str, str] | None = None,
    hardware: Mapping[str, Mapping[str, str]] | None = None,
) -> ScoreMatrix:
    """Arrange the scores of all teams; a case without a truth is left out for all of them.

    `failures` and `hardware` are by team, the latter then by case; `groups` name the patient group
    of cases, and a case that has none is a group of its own. Raises RankError when no case has a
    truth.
    """
    teams = tuple(sorted(scores))
    sample = {row.case: row for rows in scores.values() for row in rows}
    cases = tuple(sorted(sample.keys() - set(unscored_cases(scores))))
    if not cases:
        raise RankError("expected cases with a truth, found none")
    at = {case: index for index, case in enumerate(cases)}
    values = {metric: np.full((len(teams), len(cases)), np.nan) for metric in METRICS}
    statuses = np.full((len(teams), len(cases)), NOT_RUN, dtype="<U32")
    for line, team in enumerate(teams):
        for row in scores[team]:
            if row.case in at:
                column = at[row.case]
                statuses[line, column] = row.status
                if row.status == OK:
                    _fill(values, line, column, row)
    measured = ~np.isnan(values["seconds"])
    for line, team in enumerate(teams):
        _count_failures(values, line, (failures or {}).get(team, FailureValues()))
    return ScoreMatrix(
        teams=teams,
        cases=cases,
        modalities=np.array([sample[case].modality for case in cases]),
        dimensions=np.array([sample[case].dimensions for case in cases]),
        groups=_group_numbers(cases, groups or {}),
        timed=comparable_cases(teams, cases, measured, hardware or {}),
        statuses=statuses,
        measured=measured,
        values={metric: np.round(found, VALUE_DIGITS) for metric, found in values.items()},
    )


def unscored_cases(scores: Scores) -> tuple[str, ...]:
    """Return the cases without a usable truth, by name."""
    return tuple(
        sorted({row.case for rows in scores.values() for row in rows if row.status == NO_TRUTH})
    )


def comparable_cases(
    teams: Sequence[str],
    cases: Sequence[str],
    measured: NDArray[np.bool_],
    hardware: Mapping[str, Mapping[str, str]],
) -> NDArray[np.bool_]:
    """Return (C,) whether all teams that have a time of a case took it on equal, known hardware.

    Where no hardware is recorded at all, every case that any team has a time of is compared.
    """
    if not any(key for keys in hardware.values() for key in keys.values()):
        return np.asarray(measured.any(axis=0))
    timed = np.empty(len(cases), dtype=np.bool_)
    of_team = [hardware.get(team, {}) for team in teams]
    for column, case in enumerate(cases):
        keys = {of_team[line].get(case, "") for line in np.flatnonzero(measured[:, column])}
        timed[column] = "" not in keys and len(keys) == 1
    return timed


def official_matrix(matrix: ScoreMatrix, scores: Scores) -> ScoreMatrix:
    """Return the same cases with what the organisers' script gives for DSC and NSD.

    Its NaN stays NaN and enters no mean, as in pandas; it scores any mask that is there, whatever
    the status, and a case that is missing here as 0.
    """
    at = {case: column for column, case in enumerate(matrix.cases)}
    values = {metric: np.zeros_like(matrix.values[metric]) for metric in ("dsc", "nsd")}
    for line, team in enumerate(matrix.teams):
        for row in scores[team]:
            if row.case in at:
                column = at[row.case]
                values["dsc"][line, column] = _number(row.dsc_official)
                values["nsd"][line, column] = _number(row.nsd_official)
    return dataclasses.replace(matrix, values={**matrix.values, **values})


def _fill(values: Mapping[str, Floats], line: int, column: int, row: ScoreRow) -> None:
    values["dsc"][line, column] = _number(row.dsc)
    values["nsd"][line, column] = _number(row.nsd)
    values["seconds"][line, column] = _number(row.wall_s)


def _count_failures(values: Mapping[str, Floats], line: int, failure: FailureValues) -> None:
    """Put the failure values where a team has none."""
    for metric in ("dsc", "nsd"):
        own = values[metric][line]
        own[np.isnan(own)] = getattr(failure, metric)
    seconds = values["seconds"]
    missing = np.isnan(seconds[line])
    slowest = np.fmax.reduce(seconds[:, missing], axis=0, initial=failure.seconds)
    seconds[line, missing] = slowest


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _group_numbers(cases: Sequence[str], groups: Mapping[str, str]) -> NDArray[np.int64]:
    """Number the groups; a case without one gets a number of its own."""
    names = [("group", groups[case]) if case in groups else ("case", case) for case in cases]
    number = {name: index for index, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], dtype=np.int64)
