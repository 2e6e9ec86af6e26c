"""Means of every team in every modality, as tables with shaded cells."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evaluation.ranking.results import METRICS, Board
from evaluation.report.html import METRIC_TITLES, folded, format_value, number_cell, table


def modality_tables(boards: Sequence[Board]) -> str:
    """Three tables a board: DSC, NSD, seconds."""
    parts = []
    for board in boards:
        tables = "".join(_table(board, metric) for metric in METRICS)
        parts.append(folded(f"Means by modality: {board.name}", tables, long=True))
    return "".join(parts)


def _table(board: Board, metric: str) -> str:
    heads = ['<th scope="col" class="num">Place</th>', '<th scope="col" class="pinned">Team</th>']
    heads += [
        f'<th scope="col" class="num">{escape(name)}<small>{count}</small></th>'
        for name, count in board.modalities.items()
    ]
    results = {result.team: result for result in board.teams}
    values = {
        (team, modality): getattr(means, metric)
        for team, result in results.items()
        for modality, means in result.modalities.items()
    }
    best = {
        name: _best(metric, [values[team, name] for team in results]) for name in board.modalities
    }
    body = []
    for standing in board.schemes[0].standings:
        cells = [
            number_cell(str(standing.place)),
            f'<th scope="row" class="pinned">{escape(standing.team)}</th>',
        ]
        for name in board.modalities:
            cells.append(_cell(metric, values[standing.team, name], best[name]))
        body.append(f"<tr>{''.join(cells)}</tr>")
    title = "wall time in seconds, cases that are ok" if metric == "seconds" else "mean"
    caption = f"{METRIC_TITLES[metric]}, {title}; under each modality its cases; best is bold"
    return table(heads, body, "modality sortable", f"{metric}-{board.name}", caption)


def _cell(metric: str, value: float | None, best: float | None) -> str:
    text = format_value(metric, value)
    if value is None:
        return number_cell(text)
    share = 1 / (1 + value) if metric == "seconds" else value
    more = f' style="--share:{100 * min(max(share, 0), 1):.0f}%"'
    return number_cell(f"<b>{text}</b>" if value == best else text, None, more, "num heat")


def _best(metric: str, values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    if len(present) < 2:
        return None
    return min(present) if metric == "seconds" else max(present)
