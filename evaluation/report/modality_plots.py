"""Accuracy and run time by modality (figure 3e, 3f and 3g): a lane a modality, a mark a team.

Marks differ in shape and colour for the first teams of the board; the others are grey, so that 25
teams stay readable. The exact numbers stand in the table below the figures and in the csv.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape

from evaluation.ranking.results import Board
from evaluation.report.drawing import (
    GREY,
    TEAM_COLOURS,
    Axis,
    grid_across,
    line,
    linear_axis,
    log_axis,
    number,
    shortened,
    team_class,
    text,
)
from evaluation.report.figure import WIDTH, Cell, Figure
from evaluation.report.html import counted

_LEFT, _RIGHT, _TOP, _LANE = 96, 12, 8, 30

FEW_TEAMS = 4
"""With fewer a lane has no median."""

_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",  # disk
    "M-3.6-3.6h7.2v7.2h-7.2Z",  # square
    "M0-4.6L4.4 3.4H-4.4Z",  # triangle up
    "M0-5L4.4 0L0 5L-4.4 0Z",  # diamond
    "M0 4.6L4.4-3.4H-4.4Z",  # triangle down
)

_TITLES = {
    "dsc": ("DSC", "accuracy"),
    "nsd": ("NSD", "accuracy"),
    "seconds": ("Run time", "run time"),
}


def modality_plots(boards: Sequence[Board], teams: Sequence[str]) -> list[Figure]:
    """DSC and NSD of all cases, seconds of 2D and of 3D cases."""
    wanted = [
        (board, metric)
        for board in boards
        for metric in (("dsc", "nsd") if board.name == "overall" else ("seconds",))
    ]
    return [_plot(board, metric, teams) for board, metric in wanted]


def _plot(board: Board, metric: str, teams: Sequence[str]) -> Figure:
    cells: dict[tuple[str, str], float] = {}
    for result in board.teams:
        for modality, means in result.modalities.items():
            value = getattr(means, metric)
            if value is not None:
                cells[modality, result.team] = value
    bottom = _TOP + _LANE * len(board.modalities)
    axis = _axis(list(cells.values()), metric)
    titles = {"dsc": "DSC, mean", "nsd": "NSD, mean", "seconds": "seconds a case, mean (log.)"}
    parts = [grid_across(axis, _TOP, bottom, titles[metric])]
    for lane, (modality, count) in enumerate(board.modalities.items()):
        y = _TOP + (lane + 0.5) * _LANE
        own = [(team, cells[modality, team]) for team in teams if (modality, team) in cells]
        parts.append(_lane(f"{modality}", count, own, teams, axis, y))
    legend, height = team_legend(teams, bottom + 50)
    name, _ = _TITLES[metric]
    where = "" if board.name == "overall" else f", {board.name}"
    rows: list[tuple[Cell, ...]] = [
        (modality, board.modalities[modality], team, value)
        for (modality, team), value in sorted(cells.items())
    ]
    best = _best(board, cells, metric)
    return Figure(
        name=f"{metric}-by-modality-{board.name.lower()}",
        title=f"{name} by modality{where}",
        caption=(
            f"A mark is the mean of a team over the cases of a modality (their number stands "
            f"under its name), {counted(len(teams), 'team')}"
            + ("; upright line: median of the teams. " if len(teams) >= FEW_TEAMS else ". ")
            + ("Cases that are ok only." if metric == "seconds" else "Failed cases count.")
            + f" {best}"
        ),
        height=height,
        drawing="".join(parts) + legend,
        columns=("modality", "cases", "team", f"mean_{metric}"),
        rows=tuple(rows),
    )


def _best(board: Board, cells: dict[tuple[str, str], float], metric: str) -> str:
    """Who is best where, in words."""
    if len(board.teams) < 2:
        return ""
    winners: dict[str, list[str]] = {}
    for modality in board.modalities:
        own = [(value, team) for (name, team), value in cells.items() if name == modality]
        if own:
            winner = min(own)[1] if metric == "seconds" else max(own)[1]
            winners.setdefault(winner, []).append(modality)
    return "Best: " + "; ".join(f"{t} in {', '.join(m)}" for t, m in winners.items()) + "."


def _lane(
    modality: str,
    count: int,
    own: list[tuple[str, float]],
    teams: Sequence[str],
    axis: Axis,
    y: float,
) -> str:
    parts = [
        text(_LEFT - 8, y - 6, modality, "end"),
        text(_LEFT - 8, y + 7, f"n={count:,}", "end", "tick"),
        line([(_LEFT, y), (WIDTH - _RIGHT, y)], "lane"),
    ]
    if len(own) >= FEW_TEAMS:
        middle = axis.at(statistics.median(value for _, value in own))
        parts.append(line([(middle, y - 9), (middle, y + 9)], "median"))
    for team, value in reversed(own):  # the best on top
        title = f"{team}: {value:.4g}"
        parts.append(mark(axis.at(value), y, teams.index(team), title))
    return "".join(parts)


def mark(x: float, y: float, index: int, title: str) -> str:
    """The mark of a team: a shape and colour of its own for the first, a grey dot for others."""
    named = index < TEAM_COLOURS
    kind = team_class(index) if named else GREY
    shape = _SHAPES[index] if named else "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0"
    return (
        f'<path class="mark {kind}" transform="translate({number(x)} {number(y)})" d="{shape}">'
        f"<title>{escape(title)}</title></path>"
    )


def team_legend(teams: Sequence[str], top: float) -> tuple[str, float]:
    """Marks with names, two in a row, and the height down to its end."""
    named = list(teams[:TEAM_COLOURS])
    others = len(teams) - len(named)
    entries = [(index, shortened(team, 24)) for index, team in enumerate(named)]
    if others:
        entries.append((TEAM_COLOURS, f"{others} other teams" if others > 1 else teams[-1]))
    parts = []
    for place, (index, name) in enumerate(entries):
        x, y = 16 + (place % 2) * 196, top + (place // 2) * 18
        parts.append(mark(x, y, index, name) + text(x + 10, y, name))
    return "".join(parts), top + -(-len(entries) // 2) * 18 + 2


def _axis(values: list[float], metric: str) -> Axis:
    if metric == "seconds":
        return log_axis(values, _LEFT, WIDTH - _RIGHT)
    return linear_axis(min(values, default=0), max(values, default=1), _LEFT, WIDTH - _RIGHT)
