"""Boards of teams from tables of scores: means by modality, their mean, and ranks.

Three boards: all cases together, 2D and 3D alone. On each, a team's DSC, NSD and seconds are means
over the cases of a modality, and its result is the unweighted mean of the modality means, as in the
tables of the challenge (reference values: DAFT and SwiftMedSAM reproduce this way), so that 600
ultrasound images weigh as much as 3 PET volumes.

The order is by the mean of the ranks in DSC, NSD and seconds (the challenge's three criteria).
Equal values share the better rank and equal mean ranks share the place: 1, 1, 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.scoring.score_tables import NO_TRUTH, NOT_RUN, OK, ScoreRow

METRICS = ("dsc", "nsd", "seconds")
"""What a team is ranked by; seconds are better when low, the others when high."""

BOARDS: dict[str, tuple[int, ...]] = {"overall": (2, 3), "2D": (2,), "3D": (3,)}
"""Name of a board -> dimensions of its cases."""

DIGITS = 6
"""Decimals of every stored mean; ranks are given on the stored values, so that noise in the last
bit of a sum breaks no tie."""

Scores = Mapping[str, Sequence[ScoreRow]]
"""Rows of every team, by team."""


@dataclass(frozen=True)
class Means:
    """Means of one team over some cases; None where there is nothing to average."""

    dsc: float | None
    nsd: float | None
    seconds: float | None
    """Wall time of a case, over the cases with status ok only."""


@dataclass(frozen=True)
class Standing:
    """One team on one board."""

    team: str
    place: int
    mean_rank: float
    ranks: dict[str, int]
    """By metric. A team without any timed case ranks last in seconds."""
    mean: Means
    """Mean over the modalities of their means."""
    modalities: dict[str, Means]
    statuses: dict[str, int]
    """How many cases have each status; the sum is the number of cases of the board."""


@dataclass(frozen=True)
class Board:
    """A ranking of all teams over the same cases."""

    name: str
    cases: int
    modalities: dict[str, int]
    """Cases by modality."""
    standings: tuple[Standing, ...]
    """Best first; teams that share a place by name."""


def complete(scores: Scores) -> tuple[dict[str, list[ScoreRow]], list[str]]:
    """Give every team a row for every case, and leave out the cases without a truth.

    A case that a team never ran counts 0 for it. Returns the rows by team and the names left out.
    """
    sample = {row.case: row for rows in scores.values() for row in rows}
    unscored = {row.case for rows in scores.values() for row in rows if row.status == NO_TRUTH}
    completed = {}
    for team, rows in sorted(scores.items()):
        own = {row.case: row for row in rows}
        completed[team] = [
            own[case] if case in own else _not_run(team, sample[case])
            for case in sorted(sample)
            if case not in unscored
        ]
    return completed, sorted(unscored)


def build_boards(scores: Scores) -> tuple[Board, ...]:
    """Rank the teams on every board that has cases; every team must have the same cases."""
    boards = []
    for name, dimensions in BOARDS.items():
        chosen = {
            team: [row for row in rows if row.dimensions in dimensions]
            for team, rows in scores.items()
        }
        if any(chosen.values()):
            boards.append(_build_board(name, chosen))
    return tuple(boards)


def shared_ranks(values: Sequence[float | None], *, higher_is_better: bool) -> list[int]:
    """Rank 1 for the best; equal values share the better rank; None comes after all numbers."""
    sign = -1 if higher_is_better else 1
    keys = [math.inf if value is None else sign * value for value in values]
    return [1 + sum(other < key for other in keys) for key in keys]


def _build_board(name: str, scores: Scores) -> Board:
    rows_of_any = next(iter(scores.values()))
    modalities = dict(sorted(Counter(row.modality for row in rows_of_any).items()))
    by_modality = {
        team: {
            modality: _means([row for row in rows if row.modality == modality])
            for modality in modalities
        }
        for team, rows in scores.items()
    }
    means = {team: _mean_of_means(cells.values()) for team, cells in by_modality.items()}
    teams = sorted(scores)
    ranks = {
        metric: shared_ranks(
            [getattr(means[team], metric) for team in teams], higher_is_better=metric != "seconds"
        )
        for metric in METRICS
    }
    mean_ranks = [
        round(sum(ranks[metric][index] for metric in METRICS) / len(METRICS), DIGITS)
        for index in range(len(teams))
    ]
    places = shared_ranks(mean_ranks, higher_is_better=False)
    standings = [
        Standing(
            team=team,
            place=places[index],
            mean_rank=mean_ranks[index],
            ranks={metric: ranks[metric][index] for metric in METRICS},
            mean=means[team],
            modalities=by_modality[team],
            statuses=dict(sorted(Counter(row.status for row in scores[team]).items())),
        )
        for index, team in enumerate(teams)
    ]
    standings.sort(key=lambda standing: (standing.place, standing.team))
    return Board(name, len(rows_of_any), modalities, tuple(standings))


def _means(rows: Sequence[ScoreRow]) -> Means:
    return Means(
        dsc=_mean(row.dsc for row in rows),
        nsd=_mean(row.nsd for row in rows),
        seconds=_mean(row.wall_s for row in rows if row.status == OK),
    )


def _mean_of_means(cells: Iterable[Means]) -> Means:
    cells = list(cells)
    return Means(*(_mean(getattr(cell, metric) for cell in cells) for metric in METRICS))


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return round(math.fsum(present) / len(present), DIGITS) if present else None


def _not_run(team: str, sample: ScoreRow) -> ScoreRow:
    return dataclasses.replace(
        sample,
        team=team,
        status=NOT_RUN,
        reason="no record of this case",
        wall_s=None,
        dsc=0.0,
        nsd=0.0,
        dsc_official=0.0,
        nsd_official=0.0,
        official_remark="no mask of this case",
        dsc_difference=0.0,
        nsd_difference=0.0,
        instance_f1=0.0,
        instance_dsc=None,
        instance_matches=0,
        false_positive_labels=0,
        false_positive_voxels=0,
    )
