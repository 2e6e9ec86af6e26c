"""Which figures a report has, and in which section each stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from evaluation.report.comparison_plots import comparison_plots
from evaluation.report.curve_plots import curve_plots, read_curves
from evaluation.report.data import ReportData
from evaluation.report.figure import Figure
from evaluation.report.modality_plots import modality_plots
from evaluation.report.official_plots import official_plots
from evaluation.report.rank_plots import rank_plots
from evaluation.report.stability_plots import stability_plots
from evaluation.report.time_plots import bubble_plots
from evaluation.report.timing_plots import drift_plot, start_up_plot


@dataclass(frozen=True)
class Figures:
    """All figures by the section in which they stand."""

    by_rank: Sequence[Figure]
    against_time: Sequence[Figure]
    by_modality: Sequence[Figure]
    tolerances: Sequence[Figure]
    comparisons: Sequence[Figure]
    stability: Sequence[Figure]
    official: Sequence[Figure]
    timing: Sequence[Figure]

    def __iter__(self) -> Iterator[Figure]:
        """Yield all, in the order of the page."""
        for entry in fields(self):
            yield from getattr(self, entry.name)


def all_figures(data: ReportData, runs: Sequence[Path]) -> Figures:
    """Draw everything that the stored results allow."""
    teams = data.grid.teams
    peaks = {team.name: team.peak_bytes for team in data.teams if team.peak_bytes is not None}
    start_ups = {team.name: team.start_up_s for team in data.teams if team.start_up_s is not None}
    folders = [team.folder for team in data.teams]
    return Figures(
        by_rank=rank_plots(data.grid, data.boards),
        against_time=bubble_plots(data.boards, teams, peaks),
        by_modality=modality_plots(data.boards, teams),
        tolerances=curve_plots(read_curves(folders, data.grid), data.grid),
        comparisons=comparison_plots([*runs, *folders]),
        stability=stability_plots(data.ranking, teams),
        official=official_plots(data.boards),
        timing=[
            *start_up_plot(data.boards[0].teams, start_ups),
            *drift_plot(data.ticks, data.drift),
        ],
    )
