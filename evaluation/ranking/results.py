"""What `rank` finds out, as it stands in rank.json: settings, boards, schemes, uncertainty.

docs/ranking.md describes every field. Lists by team are in the order of `Ranking.teams`; matrices
are rows by columns in that order, too. A number is None where nothing can be said, never NaN.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import RankError

SCHEMA = 1
"""Version of rank.json; goes up when a field changes its meaning."""

RANK_FILE = "rank.json"

METRICS = ("dsc", "nsd", "seconds")
"""What a team is ranked by; seconds are better when low, the others when high."""

Matrix = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Means:
    """One number a metric; None where there is nothing to average."""

    dsc: float | None
    nsd: float | None
    seconds: float | None


@dataclass(frozen=True)
class Interval:
    """A range that holds the stated part of the bootstrap samples."""

    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """One team under one scheme on one board."""

    team: str
    place: int
    """1 is best; teams with equal scores share the better place."""
    score: float
    """What the places are by; low is better."""
    metric_scores: Means
    """The part of each metric in the score; None for a metric that does not count."""
    tier: int
    """1 is best; teams that cannot be told apart are in one tier."""
    not_told_apart_from: tuple[str, ...]
    places: Interval
    """Of the place in the bootstrap samples."""
    first: float
    """Part of the samples in which the team is first; k teams that share it have 1/k each."""
    place_counts: tuple[int, ...]
    """Samples with place 1, 2, ... up to the number of teams."""


@dataclass(frozen=True)
class Kendall:
    """Kendall's tau-b between the places of the samples and those of the board."""

    mean: float | None
    interval: Interval | None
    values: tuple[float, ...]
    """One for each sample in which it is defined, in ascending order."""


@dataclass(frozen=True)
class Scheme:
    """The teams of a board, best first, under one scheme."""

    name: str
    standings: tuple[Standing, ...]
    kendall: Kendall


@dataclass(frozen=True)
class Significance:
    """One-sided Wilcoxon signed-rank tests of one metric: row better than column."""

    metric: str
    p: Matrix
    """None on the diagonal."""
    p_holm: Matrix
    """Adjusted by Holm over all ordered pairs of teams."""


@dataclass(frozen=True)
class OfficialPlace:
    """What the organisers' script would give: its scores and the place by them."""

    place: int
    dsc: float | None
    nsd: float | None


@dataclass(frozen=True)
class TeamResult:
    """What a team reached on a board, whatever the scheme."""

    team: str
    mean: Means
    """Mean over the modalities of their means (or over cases, as the rules say). Failures count
    with the failure values in dsc and nsd; seconds are of the cases with status ok only."""
    interval: dict[str, Interval | None]
    """Of each mean, by metric."""
    modalities: dict[str, Means]
    statuses: dict[str, int]
    """Cases by status; the sum is the number of cases of the board."""
    official: OfficialPlace


@dataclass(frozen=True)
class Board:
    """All teams on the same cases."""

    name: str
    cases: int
    modalities: dict[str, int]
    """Cases by modality."""
    groups: int
    """Patient groups; a case without one is a group of its own."""
    timed_cases: int
    """Cases whose seconds are compared: every team's are from equal hardware."""
    teams: tuple[TeamResult, ...]
    """By name."""
    schemes: tuple[Scheme, ...]
    """The one of the rules first."""
    significance: tuple[Significance, ...]
    """One for each metric that is compared."""


@dataclass(frozen=True)
class Ranking:
    """The whole of rank.json."""

    rules: dict[str, Any]
    """The [ranking] table of the protocol, and the failure values under `failure`."""
    metrics: tuple[str, ...]
    teams: tuple[str, ...]
    """By name."""
    nsd_tolerance: tuple[float, ...]
    """Tolerances of nsd in the scores: mm in 3D, pixels in 2D; more than one is a warning."""
    unscored_cases: tuple[str, ...]
    """Cases without a truth, left out for every team."""
    grouped_cases: int
    """Cases whose patient group is known."""
    hardware: dict[str, tuple[str, ...]]
    """Hardware on which each team's cases ran, by team; empty where nothing is recorded."""
    warnings: tuple[str, ...]
    inputs: dict[str, str]
    """SHA-256 of each team's scores.csv, and of the table of groups under `groups`."""
    boards: tuple[Board, ...]
    """overall, 2D, 3D; those that have cases."""


def as_json(ranking: Ranking) -> str:
    """Write everything, keys in a fixed order."""
    content = {"schema": SCHEMA, **dataclasses.asdict(ranking)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_ranking(path: Path) -> Ranking:
    """Read a rank.json back; raises RankError when it is missing, of another schema or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (schema := content.pop("schema")) != SCHEMA:
            raise RankError(f"{path}: schema must be {SCHEMA}, found {schema}")
        return _ranking(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RankError(f"{path}: expected a file written by rank, found: {error}") from error


def _ranking(content: dict[str, Any]) -> Ranking:
    for name in ("metrics", "teams", "nsd_tolerance", "unscored_cases", "warnings"):
        content[name] = tuple(content[name])
    content["hardware"] = {team: tuple(keys) for team, keys in content["hardware"].items()}
    return Ranking(**{**content, "boards": tuple(_board(board) for board in content["boards"])})


def _board(content: dict[str, Any]) -> Board:
    parsed = {
        "teams": tuple(_team(team) for team in content["teams"]),
        "schemes": tuple(_scheme(scheme) for scheme in content["schemes"]),
        "significance": tuple(
            Significance(tests["metric"], _matrix(tests["p"]), _matrix(tests["p_holm"]))
            for tests in content["significance"]
        ),
    }
    return Board(**{**content, **parsed})


def _team(content: dict[str, Any]) -> TeamResult:
    parsed = {
        "mean": Means(**content["mean"]),
        "interval": {metric: _interval(found) for metric, found in content["interval"].items()},
        "modalities": {name: Means(**means) for name, means in content["modalities"].items()},
        "official": OfficialPlace(**content["official"]),
    }
    return TeamResult(**{**content, **parsed})


def _scheme(content: dict[str, Any]) -> Scheme:
    standings = tuple(
        Standing(
            **{
                **standing,
                "metric_scores": Means(**standing["metric_scores"]),
                "not_told_apart_from": tuple(standing["not_told_apart_from"]),
                "places": Interval(**standing["places"]),
                "place_counts": tuple(standing["place_counts"]),
            }
        )
        for standing in content["standings"]
    )
    kendall = content["kendall"]
    return Scheme(
        name=content["name"],
        standings=standings,
        kendall=Kendall(kendall["mean"], _interval(kendall["interval"]), tuple(kendall["values"])),
    )


def _interval(content: dict[str, float] | None) -> Interval | None:
    return None if content is None else Interval(**content)


def _matrix(rows: list[list[float | None]]) -> Matrix:
    return tuple(tuple(row) for row in rows)
