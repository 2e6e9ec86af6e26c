"""What the seconds are worth: the share of the start-up in them, and the drift of the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evaluation.ranking.results import TeamResult
from evaluation.report.drawing import (
    circle,
    grid_across,
    grid_up,
    line,
    linear_axis,
    shortened,
    team_class,
    text,
)
from evaluation.report.figure import WIDTH, Cell, Figure
from evaluation.report.html import counted

_LEFT, _RIGHT, _BOTTOM = 58, 16, 200


def start_up_plot(results: Sequence[TeamResult], start_up_s: dict[str, float]) -> list[Figure]:
    """How much of a case's time is the container's own start, by team; none if not measured."""
    known = [
        (result.team, start_up_s[result.team], result.mean.seconds)
        for result in results
        if result.team in start_up_s and result.mean.seconds is not None
    ]
    if not known:
        return []
    known.sort(key=lambda item: item[2])
    left, right, top, row = 136, 52, 8, 20
    bottom = top + row * len(known)
    axis = linear_axis(0, max(max(start, total) for _, start, total in known), left, WIDTH - right)
    parts = [grid_across(axis, top, bottom, "seconds a case, mean")]
    rows: list[tuple[Cell, ...]] = []
    for lane, (team, start, total) in enumerate(known):
        y = top + (lane + 0.5) * row
        parts.append(text(left - 8, y, shortened(team), "end"))
        parts.append(line([(axis.at(0), y), (axis.at(total), y)], "bar whole"))
        parts.append(line([(axis.at(0), y), (axis.at(min(start, total)), y)], "bar part"))
        share = start / total if total else math.nan
        parts.append(text(WIDTH - right + 6, y, f"{100 * share:.0f} %"))
        rows.append((team, start, total, share))
    return [
        Figure(
            name="start-up-share",
            title="Share of the start-up in the run time",
            caption=(
                f"Mean seconds of a case (pale) of {counted(len(known), 'team')}, of which "
                "the container's own start takes the dark part: the median time of the same image "
                "doing nothing, "
                "under the same limits. Right: its share."
            ),
            height=bottom + 44,
            drawing="".join(parts),
            columns=("team", "start_up_seconds", "mean_seconds", "start_up_share"),
            rows=tuple(rows),
        )
    ]


def drift_plot(ticks: Sequence[tuple[str, float]], spread: float | None) -> list[Figure]:
    """Times of the same work through the run, against their median; none if not measured.

    `ticks` are the machine and the time as a part of the median on it, in the order of the run.
    """
    if len(ticks) < 2:
        return []
    values = [value for _, value in ticks]
    up = linear_axis(min(*values, 0.9), max(*values, 1.1), 200, 12)
    across = linear_axis(1, len(ticks), _LEFT, WIDTH - _RIGHT)
    parts = [
        grid_across(across, 12, 200, "measurement, in the order of the run"),
        grid_up(up, _LEFT, WIDTH - _RIGHT, "time / median"),
        line([(_LEFT, up.at(1)), (WIDTH - _RIGHT, up.at(1))], "rule"),
    ]
    hosts = sorted({host for host, _ in ticks})
    for index, (host, value) in enumerate(ticks, start=1):
        kind = "tickmark " + team_class(hosts.index(host))
        parts.append(circle(across.at(index), up.at(value), 2.5, kind, f"{host}: {value:.3f}"))
    words = "" if spread is None else f" They spread by {100 * spread:.1f} % of the median."
    return [
        Figure(
            name="timing-drift",
            title="Drift of the machine",
            caption=(
                f"{len(ticks)} times of one container that always does the same work, on "
                f"{counted(len(hosts), 'machine')}, as parts of the machine's median; 1 is no "
                f"drift.{words}"
            ),
            height=244,
            drawing="".join(parts),
            columns=("measurement", "host", "time_over_median"),
            rows=tuple((index, host, value) for index, (host, value) in enumerate(ticks, start=1)),
        )
    ]
