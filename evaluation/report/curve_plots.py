"""NSD over tolerance: a curve a team, from the curves.csv that `curves` wrote."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.dataset import digest_of
from evaluation.errors import ReportError
from evaluation.report.drawing import (
    GREY,
    TEAM_COLOURS,
    grid_across,
    grid_up,
    line,
    linear_axis,
    plain,
    team_class,
)
from evaluation.report.figure import WIDTH, Cell, Figure
from evaluation.report.grid import ScoreGrid
from evaluation.report.html import counted
from evaluation.report.modality_plots import mark, team_legend
from evaluation.report.rank_plots import DIMENSIONS, UNITS
from evaluation.scoring.curves import CURVES_FILE, FACTS, SCHEMA
from evaluation.scoring.score_tables import SCORES_FILE

logger = logging.getLogger(__name__)

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 250


@dataclass(frozen=True)
class Curves:
    """NSD of all teams and cases at some tolerances."""

    tolerances: tuple[float, ...]
    nsd: NDArray[np.float64]
    """(T, C, tolerances) in the order of the grid; NaN without a truth."""


def read_curves(folders: list[Path], grid: ScoreGrid) -> Curves | None:
    """Read curves.csv of every team, in the order of the grid; None unless all have one, and, with
    a warning, where one is of other scores than those that are there.

    Raises ReportError when they are damaged or of other tolerances.
    """
    paths = [folder / CURVES_FILE for folder in folders]
    if not all(path.is_file() for path in paths):
        return None
    at = {case: index for index, case in enumerate(grid.cases)}
    tolerances: tuple[float, ...] = ()
    values = np.full((0, 0, 0), np.nan)
    for team, path in enumerate(paths):
        with path.open(newline="", encoding="utf-8") as stream:
            head, *lines = csv.reader(stream)
        scores = digest_of(path.with_name(SCORES_FILE))
        if tuple(head[: len(FACTS)]) != FACTS or any(row[3:4] != [scores] for row in lines):
            logger.warning("report: %s is of other scores: run curves again", path)
            return None
        try:
            found = tuple(float(name.removeprefix("nsd_")) for name in head[len(FACTS) :])
            if not team:
                tolerances = found
                values = np.full((len(paths), len(at), len(found)), np.nan)
            if found != tolerances or any(row[0] != str(SCHEMA) for row in lines):
                raise ValueError(f"schema {SCHEMA} and tolerances {tolerances} expected")
            for row in lines:
                values[team, at[row[2]]] = [
                    float(cell) if cell else np.nan for cell in row[len(FACTS) :]
                ]
        except (ValueError, KeyError, IndexError) as error:
            raise ReportError(f"{path}: expected curves of these cases, found: {error}") from error
    return Curves(tolerances, values)


def curve_plots(curves: Curves | None, grid: ScoreGrid) -> list[Figure]:
    """2D and 3D; none without curves."""
    if curves is None or len(curves.tolerances) < 2:
        return []
    return [
        _plot(curves, grid, name, chosen)
        for name, dimensions in DIMENSIONS.items()
        if (chosen := grid.of_dimensions(dimensions)).any()
    ]


def _plot(curves: Curves, grid: ScoreGrid, name: str, chosen: NDArray[np.bool_]) -> Figure:
    means = _balanced_means(curves.nsd[:, chosen], grid.modality[chosen])
    across = linear_axis(min(curves.tolerances), max(curves.tolerances), _LEFT, WIDTH - _RIGHT)
    up = linear_axis(float(np.nanmin(means)), 1.0, _BOTTOM, _TOP)
    parts = [
        grid_across(across, _TOP, _BOTTOM, f"tolerance in {UNITS[name]}"),
        grid_up(up, _LEFT, WIDTH - _RIGHT, "NSD, mean"),
    ]
    for index in reversed(range(len(grid.teams))):
        points = [
            (across.at(t), up.at(float(value)))
            for t, value in zip(curves.tolerances, means[index], strict=True)
        ]
        kind = team_class(index)
        parts.append(
            f'<g class="{kind}">{line(points, f"curve {kind}" if kind == GREY else "curve")}'
        )
        parts.append("</g>")
        if index < TEAM_COLOURS:
            title = grid.teams[index]
            parts += [mark(x, y, index, title) for x, y in points]
    legend, height = team_legend(grid.teams, _BOTTOM + 50)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (team, *map(float, means[index])) for index, team in enumerate(grid.teams)
    )
    return Figure(
        name=f"nsd-over-tolerance-{name.lower()}",
        title=f"NSD over tolerance, {name}",
        caption=(
            f"Mean over modalities of {counted(int(chosen.sum()), f'{name} case')}, "
            f"{counted(len(grid.teams), 'team')}; "
            "failed cases count with their failure value. The challenge’s tolerance is 2. At "
            f"{plain(curves.tolerances[-1])} {UNITS[name]}: {float(means[:, -1].min()):.3f} to "
            f"{float(means[:, -1].max()):.3f}."
        ),
        height=height,
        drawing="".join(parts) + legend,
        columns=("team", *(f"nsd_at_{tolerance:g}" for tolerance in curves.tolerances)),
        rows=rows,
    )


def _balanced_means(nsd: NDArray[np.float64], modality: NDArray[np.intp]) -> NDArray[np.float64]:
    """(T, tolerances) Mean over the modalities of the means over their cases."""
    means = [np.nanmean(nsd[:, modality == index], axis=1) for index in np.unique(modality)]
    balanced: NDArray[np.float64] = np.mean(means, axis=0)
    return balanced
