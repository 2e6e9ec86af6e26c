"""The command `rank`: the scores of one or more runs into one leaderboard.

Writes leaderboard.json (everything), leaderboard.csv and leaderboard.md (one row a team and metric,
one column a modality) and prints the same as text. Nothing in them depends on when or where the
command ran: the same scores always give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.errors import RankError
from evaluation.ranking.leaderboard import METRICS, Board, Means, Standing, build_boards, complete
from evaluation.scoring.score_tables import OK, ScoreRow, replace_file, scored_teams

logger = logging.getLogger(__name__)

SCHEMA = 1
"""Version of leaderboard.json; goes up when a field changes its meaning."""

SCHEME = "mean of the ranks in dsc, nsd and seconds, each the mean of the modality means"

LEADERBOARD_FILE = "leaderboard.json"

METRIC_TITLES = {"dsc": "DSC", "nsd": "NSD", "seconds": "seconds"}

METRIC_DECIMALS = {"dsc": 4, "nsd": 4, "seconds": 2}
"""Decimals for people; leaderboard.json and .csv keep all that is stored."""

SHORT_MODALITIES = {
    "Dermoscopy": "Dermo",
    "Endoscopy": "Endo",
    "Mammography": "Mammo",
    "Microscopy": "Micro",
    "Ultrasound": "US",
}
"""Column titles of the text table where the full name would make it wide."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rank`."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folder, scored by score"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for leaderboard.* (default: the first RUN)"
    )


def execute(args: argparse.Namespace) -> int:
    """Rank the teams, write the three files and print the boards."""
    print(rank_runs(args.runs, args.out))
    return 0


def rank_runs(runs: Sequence[Path], out: Path | None = None) -> str:
    """Write the leaderboard of all teams of some runs and return it as text."""
    scores, unscored = complete(read_scores(runs))
    if not any(scores.values()):
        raise RankError(f"{runs[0]}: expected cases with a truth, found none")
    for case in unscored:
        logger.warning("rank: %s has no truth and is left out for every team", case)
    boards = build_boards(scores)
    folder = runs[0] if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / LEADERBOARD_FILE, as_json(boards, scores, unscored))
    replace_file(folder / "leaderboard.csv", as_csv(boards))
    replace_file(folder / "leaderboard.md", as_markdown(boards))
    return as_text(boards)


def read_scores(runs: Sequence[Path]) -> dict[str, list[ScoreRow]]:
    """Read the scores of all teams of some runs; a team may stand in one run only."""
    origin: dict[str, Path] = {}
    scores: dict[str, list[ScoreRow]] = {}
    for run in runs:
        for team, rows in scored_teams(run).items():
            if team in origin:
                raise RankError(f"{team}: expected in one run, found in {origin[team]} and {run}")
            origin[team] = run
            scores[team] = rows
    return scores


def as_json(
    boards: Sequence[Board], scores: dict[str, list[ScoreRow]], unscored: Sequence[str]
) -> str:
    """Everything about the boards, keys in a fixed order."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "scheme": SCHEME,
        "metrics": list(METRICS),
        "tolerance": sorted({row.tolerance for rows in scores.values() for row in rows}),
        "teams": sorted(scores),
        "unscored_cases": list(unscored),
        "boards": [dataclasses.asdict(board) for board in boards],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_leaderboard(path: Path) -> tuple[Board, ...]:
    """Read the boards of a leaderboard.json back."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise RankError(f"{path}: schema must be {SCHEMA}, found {content['schema']}")
        return tuple(_parse_board(board) for board in content["boards"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RankError(f"{path}: expected a leaderboard written by rank: {error}") from error


def as_csv(boards: Sequence[Board]) -> str:
    """One row for each board, team and metric; a column for every modality of any board."""
    modalities = sorted({modality for board in boards for modality in board.modalities})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["schema", "board", "place", "team", "mean_rank", "metric", "rank", "mean", *modalities]
    )
    for board in boards:
        for standing in board.standings:
            for metric in METRICS:
                cells = [standing.modalities.get(modality) for modality in modalities]
                writer.writerow(
                    [
                        SCHEMA,
                        board.name,
                        standing.place,
                        standing.team,
                        standing.mean_rank,
                        metric,
                        standing.ranks[metric],
                        getattr(standing.mean, metric),
                        *(None if cell is None else getattr(cell, metric) for cell in cells),
                    ]
                )
    return text.getvalue()


def as_markdown(boards: Sequence[Board]) -> str:
    """The boards as tables for a README or an issue."""
    parts = []
    for board in boards:
        titles = ["place", "team", "metric", "rank", "mean"]
        titles += [f"{modality} ({count})" for modality, count in board.modalities.items()]
        lines = [f"## {board.name}: {board.cases} cases", "", _markdown_row(titles)]
        lines.append(_markdown_row(["---"] * 3 + ["---:"] * (len(titles) - 3)))
        lines += [_markdown_row(cells) for cells in _rows(board)]
        parts.append("\n".join([*lines, "", *_failures(board)]).rstrip() + "\n")
    return "\n".join(parts)


def as_text(boards: Sequence[Board]) -> str:
    """The boards as aligned columns for a terminal."""
    parts = []
    for board in boards:
        titles = ["#", "team", "metric", "rank", "mean"]
        titles += [SHORT_MODALITIES.get(modality, modality) for modality in board.modalities]
        counts = ["", "", "cases", "", str(board.cases), *map(str, board.modalities.values())]
        table = [titles, counts, *_rows(board, repeat=False)]
        widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
        lines = [f"{board.name}: cases {board.cases}, modalities {len(board.modalities)}"]
        for row in table:
            cells = [
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        parts.append("\n".join([*lines, *_failures(board)]))
    return "\n\n".join(parts)


def format_value(metric: str, value: float | None) -> str:
    """Write a mean with the decimals of its metric; a dash for none."""
    return "-" if value is None else f"{value:.{METRIC_DECIMALS[metric]}f}"


def _rows(board: Board, *, repeat: bool = True) -> list[list[str]]:
    """Cells of a board: three rows a team; without `repeat`, place and name only in the first."""
    rows = []
    for standing in board.standings:
        for metric in METRICS:
            named = repeat or metric == METRICS[0]
            means = [standing.mean, *standing.modalities.values()]
            rows.append(
                [
                    str(standing.place) if named else "",
                    standing.team if named else "",
                    METRIC_TITLES[metric],
                    str(standing.ranks[metric]),
                    *(format_value(metric, getattr(cell, metric)) for cell in means),
                ]
            )
    return rows


def _failures(board: Board) -> list[str]:
    """A line for each team with cases that are not ok."""
    lines = []
    for standing in board.standings:
        failed = {status: n for status, n in standing.statuses.items() if status != OK}
        if failed:
            kinds = ", ".join(f"{count} {status}" for status, count in failed.items())
            lines.append(
                f"{standing.team}: {sum(failed.values())} of {board.cases} failed: {kinds}"
            )
    return lines


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _parse_board(content: dict[str, Any]) -> Board:
    standings = [
        Standing(
            **{
                **standing,
                "mean": Means(**standing["mean"]),
                "modalities": {
                    modality: Means(**means) for modality, means in standing["modalities"].items()
                },
            }
        )
        for standing in content["standings"]
    ]
    return Board(**{**content, "standings": tuple(standings)})
