"""What a report shows, gathered from the files of a run and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import ReportError
from evaluation.ranking.results import RANK_FILE, Board, Ranking, read_ranking
from evaluation.report.grid import ScoreGrid, build_grid
from evaluation.running.carried_state import summarise_carried
from evaluation.running.measuring import drift, read_ticks
from evaluation.running.records import CaseRecord, last_records, read_records
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.score_tables import SCORES_FILE, ScoreRow, scored_teams

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
    start_up_s: float | None
    """Median wall time of the image doing nothing."""
    peak_bytes: float | None
    """Mean peak memory of the cases that are ok; None unless it is known of all of them."""
    case_digests: dict[str, str]
    """SHA-256 of the input of each case, as recorded."""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page but the pictures."""

    ranking: Ranking
    grid: ScoreGrid
    """Teams in the order of the first board."""
    teams: tuple[TeamInfo, ...]
    """In the same order."""
    rank_sha256: str
    ticks: tuple[tuple[str, float], ...]
    """Times of the sentinel in the order of the run: machine, time over the machine's median."""
    drift: float | None
    """Spread of the sentinel's times as a part of their median, in the worst of the runs."""
    cases_sha256: str
    """Of the lines `SHA-256 case` of all inputs; empty where a run did not record them."""

    @property
    def boards(self) -> tuple[Board, ...]:
        """overall, 2D, 3D; those that have cases."""
        return self.ranking.boards

    @property
    def runners(self) -> list[str]:
        """The runners used, each once."""
        return sorted({team.runner for team in self.teams})


def gather(runs: Sequence[Path], leaderboard: Path) -> ReportData:
    """Read scores, ranking and team descriptions of some runs.

    Raises ReportError when the ranking was not made of these very scores.
    """
    path = leaderboard / RANK_FILE
    if not path.is_file():
        raise ReportError(f"{path}: expected a ranking, found none; run rank first")
    ranking = read_ranking(path)
    folders = _team_folders(runs)
    _compare(path, ranking, folders)
    order = [each.team for each in ranking.boards[0].schemes[0].standings]
    failure = ranking.rules.get("failure", {})
    scores: list[ScoreRow] = [
        row for run in runs for rows in scored_teams(run).values() for row in rows
    ]
    grid = build_grid(scores, order, (failure.get("dsc", 0.0), failure.get("nsd", 0.0)))
    del scores
    teams = tuple(read_team(folders[name]) for name in order)
    found = [tick for run in runs for tick in read_ticks(run)]
    return ReportData(
        ranking=ranking,
        grid=grid,
        teams=teams,
        rank_sha256=_sha256(path),
        ticks=_relative((tick.host, tick.submission, tick.wall_s) for tick in found),
        drift=drift(found),
        cases_sha256=digest_of_cases(grid.cases, teams),
    )


def read_team(folder: Path) -> TeamInfo:
    """Read how a team was run; a run without team.json is reported as unknown, not refused."""
    places = TeamFolder(folder)
    description = places.read_description()
    start_up = description.get("start_up")
    records = places.own_of(read_records(places.records))
    last = last_records(records)
    carried = summarise_carried(last.values())
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
        start_up_s=start_up.get("median_s") if isinstance(start_up, dict) else None,
        peak_bytes=_mean_peak(last.values()),
        case_digests={case: record.case_sha256 for case, record in last.items()},
    )


def digest_of_cases(cases: Sequence[str], teams: Sequence[TeamInfo]) -> str:
    """One digest for all inputs; empty unless every case has one and all teams the same."""
    lines = []
    for case in cases:
        found = {team.case_digests.get(case, "") for team in teams} - {""}
        if len(found) != 1:
            return ""
        lines.append(f"{found.pop()} {case}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _team_folders(runs: Sequence[Path]) -> dict[str, Path]:
    tables = [table for run in runs for table in sorted(run.glob(f"*/{SCORES_FILE}"))]
    return {table.parent.name: table.parent for table in tables}


def _compare(path: Path, ranking: Ranking, folders: dict[str, Path]) -> None:
    """Raise ReportError unless the scores are those that the ranking was made of."""
    if set(ranking.teams) != set(folders):
        found = ", ".join(sorted(folders)) or "none"
        raise ReportError(
            f"{path}: teams must be {', '.join(ranking.teams)}, found {found}; rank again"
        )
    for team, folder in sorted(folders.items()):
        expected, found = ranking.inputs.get(team), _sha256(folder / SCORES_FILE)
        if expected != found:
            raise ReportError(
                f"{path}: expected the ranking of these scores, found another: "
                f"{folder / SCORES_FILE} has changed; rank again"
            )


def _mean_peak(records: Iterable[CaseRecord]) -> float | None:
    peaks = [record.peak_bytes for record in records if record.status == "ok"]
    known = [peak for peak in peaks if peak is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(peaks) else None


def _relative(ticks: Iterable[tuple[str, str, float]]) -> tuple[tuple[str, float], ...]:
    """Each time as a part of the median of its image on its machine."""
    listed = list(ticks)
    groups: dict[tuple[str, str], list[float]] = {}
    for host, submission, wall_s in listed:
        groups.setdefault((host, submission), []).append(wall_s)
    medians = {key: statistics.median(walls) for key, walls in groups.items()}
    return tuple((host, wall_s / medians[host, submission]) for host, submission, wall_s in listed)


def _flatten(value: object, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        parts = [_flatten(value[key], f"{prefix}.{key}" if prefix else key) for key in value]
        return [pair for part in parts for pair in part]
    if isinstance(value, list):
        return [(prefix, ", ".join(json.dumps(item, ensure_ascii=False) for item in value))]
    if value is None:
        return [(prefix, "not set")]
    if isinstance(value, float):
        return [(prefix, f"{value:.12g}")]
    return [(prefix, str(value).lower() if isinstance(value, bool) else str(value))]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
