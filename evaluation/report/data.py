"""What a report shows, gathered from the files of a run and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.errors import ReportError
from evaluation.ranking.leaderboard import Board, build_boards, complete
from evaluation.ranking.rank import LEADERBOARD_FILE, read_leaderboard, read_scores
from evaluation.running.carried_state import summarise_carried
from evaluation.running.measuring import drift, read_ticks
from evaluation.running.records import last_records, read_records
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.score_tables import NO_TRUTH, SCORES_FILE, ScoreRow

CONTAINER_RUNNER = "docker"
PROCESS_RUNNER = "process"
UNKNOWN_RUNNER = "unknown"


@dataclass(frozen=True)
class TeamInfo:
    """How one team was run."""

    name: str
    folder: Path
    runner: str
    """`docker`, `process` or `unknown`."""
    description: dict[str, str]
    """team.json with nested keys joined by dots."""
    started: tuple[str, str] | None
    """First and last start of a case, as recorded."""
    digests: dict[str, str]
    """SHA-256 of the files that the report is made of."""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page but the pictures."""

    boards: tuple[Board, ...]
    teams: tuple[TeamInfo, ...]
    rows: tuple[ScoreRow, ...]
    """One for each team and case, by case and then team, also those without a truth."""
    unscored: tuple[str, ...]
    """Cases without a truth, which stand in `rows` and in no mean."""
    leaderboard_sha256: str = field(default="")
    drift: float | None = None
    """Spread of the sentinel's times as a part of their median, in the worst of the runs."""

    @property
    def cases(self) -> list[str]:
        """Names of all cases."""
        return sorted({row.case for row in self.rows})

    @property
    def runners(self) -> list[str]:
        """The runners used, each once."""
        return sorted({team.runner for team in self.teams})


def gather(runs: Sequence[Path], leaderboard: Path) -> ReportData:
    """Read scores, leaderboard and team descriptions of some runs.

    Raises ReportError when the leaderboard is not the one that these scores give.
    """
    scores = read_scores(runs)
    completed, unscored = complete(scores)
    path = leaderboard / LEADERBOARD_FILE
    if not path.is_file():
        raise ReportError(f"{path}: expected a leaderboard, found none; run rank first")
    boards = read_leaderboard(path)
    if boards != build_boards(completed):
        raise ReportError(f"{path}: expected the board of these scores, found another; rank again")
    rows = [row for team in completed.values() for row in team]
    rows += [row for team in scores.values() for row in team if row.case in unscored]
    folders = {
        team: run / team for run in runs for team in scores if (run / team / SCORES_FILE).is_file()
    }
    return ReportData(
        boards=boards,
        teams=tuple(read_team(folders[team]) for team in sorted(scores)),
        rows=tuple(sorted(rows, key=lambda row: (row.case, row.team))),
        unscored=tuple(unscored),
        leaderboard_sha256=_sha256(path),
        drift=drift([tick for run in runs for tick in read_ticks(run)]),
    )


def read_team(folder: Path) -> TeamInfo:
    """Read how a team was run; a run without team.json is reported as unknown, not refused."""
    places = TeamFolder(folder)
    description: dict[str, Any] = {}
    if places.description.is_file():
        try:
            description = json.loads(places.description.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ReportError(f"{places.description}: expected JSON, found: {error}") from error
        if not isinstance(description, dict):
            raise ReportError(f"{places.description}: expected an object, found a list or value")
    records = read_records(places.records)
    carried = summarise_carried(last_records(records).values())
    if carried:
        description["carried"] = carried
    starts = sorted(record.started_at for record in records)
    runners = {record.runner for record in records} or {UNKNOWN_RUNNER}
    files = [folder / SCORES_FILE, places.records, places.description]
    return TeamInfo(
        name=folder.name,
        folder=folder,
        runner=" and ".join(sorted(runners)),
        description=dict(_flatten(description)),
        started=(starts[0], starts[-1]) if starts else None,
        digests={path.name: _sha256(path) for path in files if path.is_file()},
    )


def status_counts(rows: Sequence[ScoreRow]) -> dict[str, dict[str, int]]:
    """Cases by team and status; the counts of a team add up to the number of cases."""
    statuses = sorted({row.status for row in rows})
    counts = {team: dict.fromkeys(statuses, 0) for team in sorted({row.team for row in rows})}
    for row in rows:
        counts[row.team][row.status] += 1
    return counts


def is_scored(row: ScoreRow) -> bool:
    """Whether the case has a truth, so that the row has a score."""
    return row.status != NO_TRUTH


def _flatten(value: object, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        parts = [_flatten(value[key], f"{prefix}.{key}" if prefix else key) for key in value]
        return [pair for part in parts for pair in part]
    if isinstance(value, list):
        return [(prefix, ", ".join(json.dumps(item, ensure_ascii=False) for item in value))]
    if value is None:
        return [(prefix, "not set")]
    return [(prefix, str(value).lower() if isinstance(value, bool) else str(value))]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
