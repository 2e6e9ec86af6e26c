"""Plots of the report as inline SVG: one lane a team, one group of lanes a modality.

Drawn by hand, not by a plotting library: a few kilobytes each, coloured by the page's style sheet
(so that they follow light and dark), and the same bytes on every machine. A plot is as narrow as a
telephone and stands beside others on a wide screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from evaluation.scoring.score_tables import OK, ScoreRow

WIDTH = 400
"""Width of a plot in CSS pixels."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 104, 16, 8, 26
_LANE, _GAP = 13, 9

MAX_DOTS = 80
"""A lane with more cases is drawn as a box of quartiles in place of a dot a case."""

TEAM_COLOURS = 8
"""The style sheet has so many colours; teams beyond them start again."""

Scale = Callable[[float], float]


def metric_plot(rows: Sequence[ScoreRow], teams: Sequence[str], metric: str, title: str) -> str:
    """Draw one metric (dsc, nsd or seconds) of every case by modality and team, with the means."""
    values = {
        (row.modality, row.team, row.case): value
        for row in rows
        if (value := metric_value(row, metric)) is not None
    }
    modalities = sorted({row.modality for row in rows})
    scale, ticks = _axis(list(values.values()), metric)
    group = len(teams) * _LANE + _GAP
    bottom = _TOP + len(modalities) * group
    parts = [_grid(scale, ticks, bottom)]
    for index, modality in enumerate(modalities):
        top = _TOP + index * group
        middle = top + (group - _GAP) / 2 + _GAP / 2
        parts.append(_text(_LEFT - 8, middle, modality, "end"))
        parts.append(f'<path class="rule" d="M0 {top + group:g}H{WIDTH}"/>')
        for lane, team in enumerate(teams):
            own = {key[2]: value for key, value in values.items() if key[:2] == (modality, team)}
            y = top + _GAP / 2 + (lane + 0.5) * _LANE
            parts.append(f'<g class="t{lane % TEAM_COLOURS}">{_lane(own, y, scale)}</g>')
    height = bottom + _BOTTOM
    label = f"{title} of every case by modality and team; the numbers stand in the table of cases"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def metric_value(row: ScoreRow, metric: str) -> float | None:
    """The value that enters the means: seconds only of cases that are ok."""
    if metric == "seconds":
        return row.wall_s if row.status == OK else None
    return row.dsc if metric == "dsc" else row.nsd


def _lane(values: dict[str, float], y: float, scale: Scale) -> str:
    if not values:
        return ""
    numbers = list(values.values())
    if len(values) <= MAX_DOTS:
        marks = "".join(
            f'<circle cx="{scale(value):.1f}" cy="{y:g}" r="3">'
            f"<title>{escape(case)}: {value:.4g}</title></circle>"
            for case, value in values.items()
        )
    else:
        low, first, third, high = (scale(x) for x in np.quantile(numbers, (0, 0.25, 0.75, 1)))
        marks = (
            f'<path class="whisker" d="M{low:.1f} {y:g}H{high:.1f}"/>'
            f'<path class="box" d="M{first:.1f} {y:g}H{third:.1f}"/>'
        )
    mean = scale(math.fsum(numbers) / len(numbers))
    return marks + f'<path class="mean" d="M{mean:.1f} {y - 6:g}v12"/>'


def _axis(values: list[float], metric: str) -> tuple[Scale, list[float]]:
    """Position of a value and the values that get a line: 0 to 1, or seconds by powers of ten."""
    width = WIDTH - _LEFT - _RIGHT
    if metric != "seconds":
        return (lambda value: _LEFT + value * width), [0, 0.25, 0.5, 0.75, 1]
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)

    def scale(value: float) -> float:
        return _LEFT + (math.log10(max(value, 10.0**low)) - low) / (high - low) * width

    return scale, [10.0**power for power in range(low, high + 1)]


def _grid(scale: Scale, ticks: Sequence[float], bottom: float) -> str:
    lines = "".join(
        f'<path class="grid" d="M{scale(tick):.1f} {_TOP}V{bottom:g}"/>' for tick in ticks
    )
    return lines + "".join(_text(scale(tick), bottom + 14, f"{tick:g}", "middle") for tick in ticks)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="middle">'
        f"{escape(text)}</text>"
    )
