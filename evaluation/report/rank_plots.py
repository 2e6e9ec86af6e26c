"""Dots and boxes of DSC and NSD by rank (figure 3a and 3b of the challenge's paper).

One row a team, best first, as on the board of 2D or of 3D. A dot is a case, or as many cases as the
caption says, so that the heaps of the team with the most equal scores still have room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking.results import Board
from evaluation.report.drawing import (
    Axis,
    circle,
    grid_across,
    line,
    linear_axis,
    number,
    plain,
    rectangle,
    shortened,
    text,
)
from evaluation.report.figure import WIDTH, Figure
from evaluation.report.grid import ScoreGrid
from evaluation.report.html import counted

TITLES = {"dsc": "DSC", "nsd": "NSD"}
DIMENSIONS = {"2D": (2,), "3D": (3,)}
UNITS = {"2D": "pixels", "3D": "mm"}

_LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 136, 44, 20, 20, 44
_STEP = 1.5
"""Pixels between dots, to the right and upwards."""
_SIDE = 4
"""Dots of nearly equal scores on each side of the middle, at most."""

_QUARTILES = ("minimum", "quartile_1", "median", "quartile_3", "maximum")

FEW_CASES = 60
"""Up to so many cases a dot says which case it is."""


def rank_plots(grid: ScoreGrid, boards: tuple[Board, ...]) -> list[Figure]:
    """DSC and NSD on the boards of 2D and 3D."""
    return [
        _rank_plot(grid, board, metric)
        for board in boards
        if board.name in DIMENSIONS
        for metric in TITLES
    ]


def _rank_plot(grid: ScoreGrid, board: Board, metric: str) -> Figure:
    chosen = np.flatnonzero(grid.of_dimensions(DIMENSIONS[board.name]))
    values = grid.metric(metric)[:, chosen]
    failed = int((~grid.ok[:, chosen]).sum())
    standings = board.schemes[0].standings
    bottom = _TOP + _ROW * len(standings)
    axis = linear_axis(0, 1, _LEFT, WIDTH - _RIGHT)
    per_dot = _cases_per_dot(values, axis) if len(chosen) > FEW_CASES else 1
    parts = [grid_across(axis, _TOP - 4, bottom, TITLES[metric])]
    parts += [text(_LEFT - 8, _TOP - 12, "place, team", "end", "tick")]
    parts += [text(WIDTH - _RIGHT + 6, _TOP - 12, "median", "start", "tick")]
    rows: list[tuple[str | int | float | None, ...]] = []
    for lane, standing in enumerate(standings):
        own = values[grid.teams.index(standing.team)]
        names = [grid.cases[case] for case in chosen]
        y = _TOP + (lane + 0.5) * _ROW
        quartiles = np.quantile(own, (0, 0.25, 0.5, 0.75, 1)).tolist()
        name = f"{standing.place} {shortened(standing.team)}"
        parts.append(text(_LEFT - 8, y, name, "end"))
        parts.append(_dots(own, names, axis, y, per_dot) + _box(quartiles, axis, y))
        parts.append(text(WIDTH - _RIGHT + 6, y, f"{quartiles[2]:.3f}"))
        rows.append((standing.place, standing.team, len(own), float(own.mean()), *quartiles))
    unit = f" (tolerance in {UNITS[board.name]})" if metric == "nsd" else ""
    return Figure(
        name=f"{metric}-by-rank-{board.name.lower()}",
        title=f"{TITLES[metric]} by rank, {board.name}",
        caption=(
            f"{TITLES[metric]}{unit} of {counted(len(chosen), f'{board.name} case')} by "
            f"{counted(len(standings), 'team')}; {failed:,} of {values.size:,} results failed "
            f"and count with their failure value. "
            f"Box: quartiles with median; a dot: {_cases_of(per_dot)}. Medians from "
            f"{_extremes(rows)}."
        ),
        height=bottom + _BOTTOM,
        drawing="".join(parts),
        columns=("place", "team", "cases", f"mean_{metric}", *_QUARTILES),
        rows=tuple(rows),
    )


def _extremes(rows: list[tuple[str | int | float | None, ...]]) -> str:
    """Largest and smallest median with the team that has it, in words."""
    medians = [(float(row[6] or 0), str(row[1])) for row in rows]
    best, worst = max(medians), min(medians)
    return f"{best[0]:.3f} ({best[1]}) to {worst[0]:.3f} ({worst[1]})"


def _cases_per_dot(values: NDArray[np.float64], axis: Axis) -> int:
    """So many that the largest heap of equal scores has room in its lane."""
    heaps = np.rint(np.clip(values, 0, 1) * (axis.end - axis.start) / _STEP).astype(int)
    largest = max(int(np.bincount(own).max()) for own in heaps)
    return -(-largest // (2 * _SIDE + 1))


def _cases_of(per_dot: int) -> str:
    return "a case" if per_dot == 1 else f"up to {per_dot} cases with nearly equal scores"


def _box(quartiles: list[float], axis: Axis, y: float) -> str:
    _, first, middle, third, _ = (axis.at(value) for value in quartiles)
    return rectangle(first, y - 5.5, third - first, 11, "quartiles") + line(
        [(middle, y - 7), (middle, y + 7)], "median"
    )


def _dots(values: NDArray[np.float64], names: list[str], axis: Axis, y: float, per_dot: int) -> str:
    """Dots of one team; nearly equal ones are stacked from the middle of the lane to both sides."""
    columns = np.rint([(axis.at(value) - axis.start) / _STEP for value in values]).astype(int)
    if len(values) <= FEW_CASES:
        heights = _stack(columns, 2 * _STEP)
        return "".join(
            circle(axis.start + x * _STEP, y + up, 2, "case", f"{name}: {plain(round(value, 4))}")
            for x, up, name, value in zip(columns, heights, names, values, strict=True)
        )
    counts = -(-np.bincount(columns) // per_dot)
    parts = []
    for up in range(-_SIDE, _SIDE + 1):
        level = 2 * up - 1 if up > 0 else -2 * up  # 0, 1 above, 1 below, 2 above ...
        used = np.flatnonzero(counts > level)
        if used.size:
            first = f"M{number(axis.start + used[0] * _STEP)} {number(y - up * _STEP)}h0"
            jumps = "".join(f"m{number(jump * _STEP)} 0h0" for jump in np.diff(used).tolist())
            parts.append(first + jumps)
    return f'<path class="dots" d="{"".join(parts)}"/>'


def _stack(columns: NDArray[np.int_], step: float) -> list[float]:
    """Heights of dots that share a column: 0, one up, one down, two up ..."""
    seen: dict[int, int] = {}
    heights = []
    for column in columns.tolist():
        count = seen[column] = seen.get(column, -1) + 1
        up = (count + 1) // 2 * (1 if count % 2 else -1)
        heights.append(max(-_SIDE, min(_SIDE, up)) * step / 2)
    return heights
