"""How firm the ranking is: places in bootstrap samples, tau, schemes side by side, significance.

The views are those of challengeR (Wiesenfarth et al., Scientific Reports 11:2369, 2021): blob plot,
Kendall's tau, line plot over ranking methods, significance map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking.results import Board, Ranking, Scheme, Standing
from evaluation.report.drawing import (
    Axis,
    circle,
    grid_across,
    line,
    linear_axis,
    number,
    shortened,
    team_class,
    text,
)
from evaluation.report.figure import WIDTH, Cell, Figure
from evaluation.report.html import counted
from evaluation.report.significance_plots import significance_plot

_LEFT, _RIGHT, _TOP, _ROW = 136, 14, 22, 18


def stability_plots(ranking: Ranking, teams: Sequence[str]) -> list[Figure]:
    """All of them for every board; what was not drawn from samples is left out."""
    figures = []
    for board in ranking.boards:
        if len(board.teams) < 2:
            continue
        if sum(board.schemes[0].standings[0].place_counts):
            figures.append(_blobs(board))
            figures += _taus(board)
        if len(board.schemes) > 1:
            figures.append(_schemes(board, teams))
        figures += [significance_plot(board, tests, ranking) for tests in board.significance]
    return figures


def _blobs(board: Board) -> Figure:
    scheme = board.schemes[0]
    standings = scheme.standings
    samples = sum(standings[0].place_counts)
    bottom = _TOP + _ROW * len(standings)
    last = len(standings)
    step = (WIDTH - _LEFT - _RIGHT) / last
    parts = [text(_LEFT - 8, 8, "place, team", "end", "tick")]
    every = 1 if last <= 12 else 2
    for place in range(1, last + 1, every):
        x = _LEFT + (place - 0.5) * step
        parts.append(line([(x, _TOP), (x, bottom)], "grid"))
        parts.append(text(x, bottom + 12, str(place), "middle", "tick"))
    for lane, standing in enumerate(standings):
        parts.append(_blob_lane(standing, _TOP + (lane + 0.5) * _ROW, step, samples))
    parts.append(text((_LEFT + WIDTH) / 2, bottom + 30, "place in a bootstrap sample", "middle"))
    first = max(standings, key=lambda each: each.first)
    return Figure(
        name=f"places-{board.name.lower()}",
        title=f"Places in bootstrap samples, {board.name}",
        caption=(
            f"{samples:,} bootstrap samples of {counted(board.cases, 'case')}, "
            f"scheme {scheme.name}. Area "
            "of a disk: part of the samples with that place; upright line: place with all cases; "
            "horizontal line: interval of the place. "
            f"{first.team} is first in {100 * first.first:.0f} % of the samples."
        ),
        height=bottom + 44,
        drawing="".join(parts),
        columns=("team", "place", "sample_place", "samples", "part_of_samples"),
        rows=tuple(
            (each.team, each.place, place, count, count / samples)
            for each in standings
            for place, count in enumerate(each.place_counts, start=1)
        ),
    )


def _blob_lane(standing: Standing, y: float, step: float, samples: int) -> str:
    """Name, interval, disks and place of one team."""
    at = {place: _LEFT + (place - 0.5) * step for place in range(1, len(standing.place_counts) + 1)}
    low, high = (_LEFT + (x - 0.5) * step for x in (standing.places.low, standing.places.high))
    parts = [
        text(_LEFT - 8, y, f"{standing.place} {shortened(standing.team)}", "end"),
        line([(low, y), (high, y)], "interval"),
    ]
    for place, count in enumerate(standing.place_counts, start=1):
        if count:
            radius = max(min(step, _ROW) / 2 * math.sqrt(count / samples), 0.8)
            title = f"{standing.team}: place {place} in {100 * count / samples:.1f} %"
            parts.append(circle(at[place], y, radius, "blob", title))
    x = at[standing.place]
    return "".join([*parts, line([(x, y - 6), (x, y + 6)], "median")])


def _taus(board: Board) -> list[Figure]:
    known = [scheme for scheme in board.schemes if scheme.kendall.values]
    if not known:
        return []
    row = 44
    bottom = 10 + row * len(known)
    lowest = min(scheme.kendall.values[0] for scheme in known)
    axis = linear_axis(max(-1.0, min(lowest, 0.9)), 1.0, _LEFT, WIDTH - _RIGHT)
    parts = [grid_across(axis, 10, bottom, "Kendall’s tau-b to the ranking with all cases")]
    for lane, scheme in enumerate(known):
        y = 10 + (lane + 0.5) * row
        values = np.array(scheme.kendall.values)
        parts.append(_violin(values, axis, y, 0.42 * row))
        middle = float(np.median(values))
        parts.append(line([(axis.at(middle), y - 12), (axis.at(middle), y + 12)], "median"))
        parts.append(text(_LEFT - 8, y - 6, shortened(scheme.name, 22), "end", "small"))
        parts.append(text(_LEFT - 8, y + 7, f"median {middle:.3f}", "end", "tick"))
    return [
        Figure(
            name=f"kendall-tau-{board.name.lower()}",
            title=f"Agreement of bootstrap samples with the ranking, {board.name}",
            caption=(
                f"Distribution of Kendall’s tau-b over {len(known[0].kendall.values):,} samples by "
                "ranking scheme; 1 is the same order. Upright line: median."
            ),
            height=bottom + 44,
            drawing="".join(parts),
            columns=(
                "scheme",
                "samples",
                "mean_tau",
                "median_tau",
                "interval_low",
                "interval_high",
            ),
            rows=tuple(_tau_row(scheme) for scheme in known),
        )
    ]


def _tau_row(scheme: Scheme) -> tuple[Cell, ...]:
    found, values = scheme.kendall.interval, scheme.kendall.values
    ends = (found.low, found.high) if found else (None, None)
    return (scheme.name, len(values), scheme.kendall.mean, float(np.median(values)), *ends)


def _violin(values: NDArray[np.float64], axis: Axis, y: float, half: float) -> str:
    """Outline of a histogram and its mirror image; the highest bar is `half` high."""
    heights, edges = np.histogram(values, bins=40, range=(axis.low, axis.high))
    ups = heights / heights.max() * half
    path = f"M{number(axis.at(edges[0]))} {number(y)}"
    path += "".join(
        f"V{number(y - up)}H{number(axis.at(edge))}"
        for up, edge in zip(ups, edges[1:], strict=True)
    )
    path += "".join(
        f"V{number(y + up)}H{number(axis.at(edge))}"
        for up, edge in zip(ups[::-1], edges[-2::-1], strict=True)
    )
    return f'<path class="violin" d="{path}Z"/>'


def _schemes(board: Board, teams: Sequence[str]) -> Figure:
    schemes = board.schemes
    last = len(board.teams)
    left, right, top = 30, 140, 44
    bottom = top + _ROW * (last - 1)
    step = (WIDTH - left - right) / max(len(schemes) - 1, 1)
    places = [{each.team: each.place for each in scheme.standings} for scheme in schemes]
    # teams that share a place are drawn below each other
    spots = [
        {each.team: top + _ROW * lane for lane, each in enumerate(_by_place(scheme, schemes[0]))}
        for scheme in schemes
    ]
    parts = [_head(scheme.name, left + c * step, c) for c, scheme in enumerate(schemes)]
    for team in [*reversed(teams)]:
        points = [(left + c * step, spot[team]) for c, spot in enumerate(spots)]
        kind = team_class(teams.index(team))
        parts.append(f'<g class="{kind}">{line(points, "ladder")}')
        for column, (x, y) in enumerate(points):
            title = f"{team}: place {places[column][team]} by {schemes[column].name}"
            parts.append(circle(x, y, 7.5, "spot", title))
            parts.append(text(x, y, str(places[column][team]), "middle", "inspot"))
        parts.append("</g>" + text(points[-1][0] + 13, points[-1][1], shortened(team)))
    moved = max(
        (max(p[team] for p in places) - min(p[team] for p in places), team) for team in teams
    )
    return Figure(
        name=f"schemes-{board.name.lower()}",
        title=f"Places under every ranking scheme, {board.name}",
        caption=(
            f"{last} teams, {counted(board.cases, 'case')}; "
            "the first column is the scheme of the protocol. "
            f"The number is the place; teams that share it stand below each other. "
            f"Largest change: {moved[1]}, {moved[0]} place{'s' * (moved[0] != 1)}."
        ),
        height=bottom + 20,
        drawing="".join(parts),
        columns=("team", *(scheme.name for scheme in schemes)),
        rows=tuple((team, *(p[team] for p in places)) for team in teams),
    )


def _head(name: str, x: float, column: int) -> str:
    """Name of a scheme above its column, in two lines."""
    first, _, rest = name.partition("-then-")
    lines = [first, f"then {rest}"] if rest else [first]
    anchor = "middle" if column else "start"
    return "".join(
        text(x if column else x - 14, 10 + 13 * lane, words, anchor, "tick")
        for lane, words in enumerate(lines)
    )


def _by_place(scheme: Scheme, reference: Scheme) -> list[Standing]:
    order = {each.team: lane for lane, each in enumerate(reference.standings)}
    return sorted(scheme.standings, key=lambda each: (each.place, order[each.team]))
