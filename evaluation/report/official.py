"""Section of the report: what the organisers' script would give, and the places by its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evaluation.ranking.leaderboard import Board, Standing, build_boards
from evaluation.ranking.rank import format_value
from evaluation.report.data import ReportData, is_scored
from evaluation.report.html import table
from evaluation.scoring.official import officially
from evaluation.scoring.score_tables import ScoreRow

_TEXT = (
    "<p>The same masks by the organisers’ script: a plane object is a slab, the spacing of a volume"
    " is used in the stored order, NSD is 0 where DSC is at most 0.2, and a gap in the labels"
    " makes DSC undefined. Undefined values enter no mean here. The leaderboard above uses our"
    " numbers; the places below are those that each set of numbers gives.</p>"
)


def official_section(data: ReportData) -> str:
    """Both sets of means and places of every team, and how many cases the script falls over."""
    by_team: dict[str, list[ScoreRow]] = {}
    for row in filter(is_scored, data.rows):
        by_team.setdefault(row.team, []).append(row)
    if not by_team:
        return "<p>No case has a truth.</p>"
    boards = build_boards(officially(by_team))
    crashes = {
        team: sum(bool(row.official_remark) for row in rows) for team, rows in by_team.items()
    }
    heads = ["Board", "Team", "Place", "Official place", "DSC", "Official DSC", "NSD"]
    heads += ["Official NSD", "Cases that stop the script"]
    body = [
        line
        for ours, theirs in zip(data.boards, boards, strict=True)
        for line in _lines(ours, theirs, crashes)
    ]
    return _TEXT + table(heads, body, "official")


def _lines(ours: Board, theirs: Board, crashes: dict[str, int]) -> Sequence[str]:
    official = {standing.team: standing for standing in theirs.standings}
    return [_line(ours.name, each, official[each.team], crashes) for each in ours.standings]


def _line(board: str, ours: Standing, theirs: Standing, crashes: dict[str, int]) -> str:
    place = f"{theirs.place}" if theirs.place == ours.place else f"<b>{theirs.place}</b>"
    cells = [f"{ours.place}", place]
    for metric in ("dsc", "nsd"):
        cells += [
            format_value(metric, getattr(ours.mean, metric)),
            format_value(metric, getattr(theirs.mean, metric)),
        ]
    stops = str(crashes[ours.team]) if board == "overall" else ""
    numbers = "".join(f'<td class="num">{cell}</td>' for cell in [*cells, stops])
    return f"<tr><td>{escape(board)}</td><th scope=row>{escape(ours.team)}</th>{numbers}</tr>"
