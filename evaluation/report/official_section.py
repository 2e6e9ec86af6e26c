"""What the organisers' script would give: its scores beside ours, and the places by each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evaluation.ranking.results import Board
from evaluation.report.data import ReportData
from evaluation.report.figure import Figure, in_a_row
from evaluation.report.html import counted, format_value, table

_TEXT = (
    "<p>The same masks by the organisers’ script: a plane object is a slab, the spacing of a volume"
    " is used in the stored order, NSD is 0 where DSC is at most 0.2, and a gap in the labels"
    " makes DSC undefined; undefined values enter no mean. The leaderboard uses our scores.</p>"
)

_HEADS = (
    *("Place", "Official place", "DSC", "Official DSC", "NSD", "Official NSD"),
    '<abbr title="cases that would end the script before it writes any score">Stops</abbr>',
)


def official_section(data: ReportData, figures: Sequence[Figure]) -> str:
    """The ladders of places and a table of scores for every board."""
    tables = "".join(_table(board, data.grid.script_stops) for board in data.boards)
    return _TEXT + in_a_row(figures) + tables


def _table(board: Board, stops: dict[str, int]) -> str:
    results = {result.team: result for result in board.teams}
    body = []
    for standing in board.schemes[0].standings:
        mean, official = results[standing.team].mean, results[standing.team].official
        place = f"{official.place}"
        cells = [
            str(standing.place),
            place if official.place == standing.place else f"<b>{place}</b>",
            *(format_value("dsc", value) for value in (mean.dsc, official.dsc)),
            *(format_value("nsd", value) for value in (mean.nsd, official.nsd)),
            str(stops[standing.team]) if board.name == "overall" else "",
        ]
        numbers = "".join(f'<td class="num">{cell}</td>' for cell in cells)
        body.append(
            f'<tr><th scope="row" class="pinned">{escape(standing.team)}</th>{numbers}</tr>'
        )
    heads = ['<th scope="col" class="pinned">Team</th>']
    heads += [f'<th scope="col" class="num">{head}</th>' for head in _HEADS]
    caption = (
        f"{board.name}, {counted(board.cases, 'case')}; an official place that differs is bold"
    )
    return table(heads, body, "official sortable", board.name, caption)
