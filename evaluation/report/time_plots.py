"""Accuracy against run time with the Pareto front (figure 3c and 3d)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.ranking.results import Board
from evaluation.report.drawing import (
    circle,
    grid_across,
    grid_up,
    linear_axis,
    log_axis,
    number,
    team_class,
    text,
)
from evaluation.report.figure import WIDTH, Figure
from evaluation.report.html import counted
from evaluation.report.rank_plots import DIMENSIONS, TITLES

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 12, 290

_LARGEST, _SMALLEST = 15.0, 5.0
"""Radii of bubbles."""

_LETTER = 6.2
"""Width of a letter of a label, about."""


@dataclass(frozen=True)
class _Bubble:
    """A team in the plot, in pixels."""

    team: str
    x: float
    y: float
    radius: float
    on_front: bool


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Points (seconds, accuracy) that no other beats: none is as fast and as good, and one better.

    In the order of seconds; equal points are all in it.
    """
    return [
        index
        for index, (seconds, score) in sorted(enumerate(points), key=lambda item: item[1])
        if not any(
            other[0] <= seconds and other[1] >= score and other != (seconds, score)
            for other in points
        )
    ]


def bubble_plots(
    boards: tuple[Board, ...], teams: Sequence[str], peak_bytes: dict[str, float]
) -> list[Figure]:
    """DSC and NSD against seconds on the boards of 2D and 3D; the area is the peak memory."""
    return [
        _bubble_plot(board, metric, teams, peak_bytes)
        for board in boards
        if board.name in DIMENSIONS
        for metric in TITLES
        if any(result.mean.seconds is not None for result in board.teams)
    ]


def _bubble_plot(
    board: Board, metric: str, teams: Sequence[str], peak_bytes: dict[str, float]
) -> Figure:
    timed = [result for result in board.teams if result.mean.seconds is not None]
    points = [(result.mean.seconds or 0.0, getattr(result.mean, metric)) for result in timed]
    front = pareto_front(points)
    seconds, scores = zip(*points, strict=True)
    across = log_axis(seconds, _LEFT, WIDTH - _RIGHT)
    up = linear_axis(min(scores), max(scores), _BOTTOM - 20, _TOP + 12)
    radii = _radii([result.team for result in timed], peak_bytes)
    bubbles = [
        _Bubble(result.team, across.at(x), up.at(y), radius, index in front)
        for index, (result, (x, y), radius) in enumerate(zip(timed, points, radii, strict=True))
    ]
    parts = [
        grid_across(across, _TOP, _BOTTOM, "seconds a case, mean (logarithmic)"),
        grid_up(up, _LEFT, WIDTH - _RIGHT, f"{TITLES[metric]}, mean"),
        _front_line([bubbles[index] for index in front], WIDTH - _RIGHT),
    ]
    for bubble, point in zip(bubbles, points, strict=True):
        kind = "bubble " + team_class(teams.index(bubble.team)) + " front" * bubble.on_front
        title = f"{bubble.team}: {TITLES[metric]} {point[1]:.4f}, {point[0]:.2f} s"
        parts.append(circle(bubble.x, bubble.y, bubble.radius, kind, title))
    parts.append(_labels(bubbles))
    area = "area: mean peak memory of a case" if len(set(radii)) > 1 else "all of one size"
    names = ", ".join(timed[index].team for index in front)
    return Figure(
        name=f"{metric}-against-time-{board.name.lower()}",
        title=f"{TITLES[metric]} against run time, {board.name}",
        caption=(
            f"Means over modalities of {counted(board.cases, f'{board.name} case')}; "
            "seconds over cases that "
            f"are ok. Bubbles: {counted(len(timed), 'team')}, {area}. Dashed: Pareto front, "
            f"the teams that no other beats in both: {names}. "
            "Names stand where there is room for them."
        ),
        height=_BOTTOM + 44,
        drawing="".join(parts),
        columns=("team", "mean_seconds", f"mean_{metric}", "mean_peak_bytes", "on_pareto_front"),
        rows=tuple(
            (result.team, *point, peak_bytes.get(result.team), int(index in front))
            for index, (result, point) in enumerate(zip(timed, points, strict=True))
        ),
    )


def _radii(teams: Sequence[str], peak_bytes: dict[str, float]) -> list[float]:
    """Radii whose squares are as the peak memory; all the same unless it is known of all."""
    if not all(peak_bytes.get(team) for team in teams):
        return [0.45 * _LARGEST] * len(teams)
    most = max(peak_bytes[team] for team in teams)
    return [max(_SMALLEST, _LARGEST * math.sqrt(peak_bytes[team] / most)) for team in teams]


def _front_line(front: Sequence[_Bubble], right: float) -> str:
    """Steps: what can be had at most within a time."""
    if not front:
        return ""
    path = f"M{number(front[0].x)} {number(front[0].y)}"
    path += "".join(f"H{number(bubble.x)}V{number(bubble.y)}" for bubble in front[1:])
    return f'<path class="pareto" d="{path}H{number(right)}"/>'


def _labels(bubbles: Sequence[_Bubble]) -> str:
    """Names beside bubbles, those of the front first, each only where nothing else is."""
    taken = [(b.x - b.radius, b.y - b.radius, b.x + b.radius, b.y + b.radius) for b in bubbles]
    parts = []
    for bubble in sorted(bubbles, key=lambda each: (not each.on_front, each.y)):
        width = len(bubble.team) * _LETTER + 2
        gap = bubble.radius + 3
        for left, middle in (
            (bubble.x + gap, bubble.y),
            (bubble.x - gap - width, bubble.y),
            (bubble.x - width / 2, bubble.y - gap - 6),
            (bubble.x - width / 2, bubble.y + gap + 6),
            (bubble.x + gap * 0.7, bubble.y - gap - 2),
            (bubble.x + gap * 0.7, bubble.y + gap + 2),
        ):
            box = (left, middle - 7, left + width, middle + 7)
            inside = box[0] > _LEFT and box[2] < WIDTH - 2 and box[1] > 0 and box[3] < _BOTTOM
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                parts.append(text(left, middle, bubble.team, "start", "halo"))
                break
    return "".join(parts)


def _meet(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )
