"""The command `curves`: NSD at many tolerances, for the report's NSD-over-tolerance figure.

Reads RUN/<team>/scores.csv and masks/, writes RUN/<team>/curves.csv: one row a case with a column
for each tolerance (mm in 3D, pixels in 2D). A case's value is the mean over the labels of its
truth, as in scores.csv; a case that is not ok has its NSD of scores.csv, the failure value, at
every tolerance, and one without a truth has empty cells. One search with the largest tolerance
gives all.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from evaluation.dataset import digest_of
from evaluation.errors import ScoreError, UsageError
from evaluation.metrics.distances import surface_dice_curve
from evaluation.metrics.label_maps import Labels
from evaluation.metrics.surface import Mask
from evaluation.progress import Progress
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.labelmaps import Truth, read_mask, read_truth, truth_file
from evaluation.scoring.score_tables import OK, SCORES_FILE, ScoreRow, replace_file, scored_teams

logger = logging.getLogger(__name__)

SCHEMA = 2
"""Version of curves.csv, in its first column."""

CURVES_FILE = "curves.csv"

FACTS = ("schema", "team", "case", "scores_sha256")
"""Its columns before the tolerances; the digest is of the scores.csv that the masks had then."""

TOLERANCES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)
"""mm or pixels: around the 2 of the challenge and up to the 7 of FLARE's widest organ."""


Curve = list[float] | None
"""NSD at each tolerance; None where nothing can be said."""


@dataclass(frozen=True)
class _Task:
    """One case of some teams."""

    rows: tuple[ScoreRow, ...]
    masks: tuple[Path, ...]
    truth: Path
    case_file: Path | None
    tolerances: tuple[float, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `curves`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, scored by score")
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="DIR", help="folder of <case>.npz with gts"
    )
    parser.add_argument(
        "--cases", type=Path, metavar="DIR", help="input folder, for spacings that the truth lacks"
    )
    parser.add_argument(
        "--tolerances",
        type=float,
        nargs="+",
        default=list(TOLERANCES),
        metavar="T",
        help="mm in 3D, pixels in 2D",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="cases measured at the same time",
    )


def execute(args: argparse.Namespace) -> int:
    """Write the curves of every team; 1 if a truth or a mask has gone since they were scored."""
    tolerances = tuple(sorted(set(args.tolerances)))
    if not all(0 <= tolerance < np.inf for tolerance in tolerances):
        raise UsageError(f"tolerances must be numbers from 0, found {args.tolerances}")
    if args.workers < 1:
        raise UsageError(f"workers must be at least 1, found {args.workers}")
    return write_curves(args.run, args.truth, args.cases, tolerances, args.workers)


def write_curves(
    run: Path, truth: Path, cases: Path | None, tolerances: tuple[float, ...], workers: int = 1
) -> int:
    """Write curves.csv of every team of a run; returns how many truths or masks were not there."""
    by_case: dict[str, list[ScoreRow]] = {}
    for rows in scored_teams(run).values():
        for row in rows:
            by_case.setdefault(row.case, []).append(row)
    tasks = [
        _Task(
            rows=tuple(rows),
            masks=tuple(TeamFolder(run / row.team).mask(case) for row in rows),
            truth=truth_file(truth, case),
            case_file=None if cases is None else cases / f"{case}.npz",
            tolerances=tolerances,
        )
        for case, rows in sorted(by_case.items())
    ]
    teams = {row.team for rows in by_case.values() for row in rows}
    digests = {team: digest_of(run / team / SCORES_FILE) for team in teams}
    lines: dict[str, list[list[object]]] = {}
    faults = 0
    with Progress("curves", len(tasks)) as progress:
        for task, (curves, fault) in zip(tasks, _results(tasks, workers), strict=True):
            faults += bool(fault)
            if fault:
                logger.error("curves: %s", fault)
            for row, curve in zip(task.rows, curves, strict=True):
                cells: Sequence[object] = curve or [""] * len(tolerances)
                facts = [SCHEMA, row.team, row.case, digests[row.team]]
                lines.setdefault(row.team, []).append([*facts, *cells])
            progress.advance()
    heads = [*FACTS, *(f"nsd_{tolerance:g}" for tolerance in tolerances)]
    for team, rows_of_team in lines.items():
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([heads, *rows_of_team])
        replace_file(run / team / CURVES_FILE, stream.getvalue())
    return 1 if faults else 0


def _results(tasks: Sequence[_Task], workers: int) -> Iterator[tuple[list[Curve], str]]:
    """Measure in order, in this process or in fresh ones."""
    if workers == 1:
        yield from map(_measure, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_measure, tasks)


def _measure(task: _Task) -> tuple[list[Curve], str]:
    """The curve of each team, None without a truth; and what is wrong, if anything is."""
    curves: list[Curve] = []
    try:
        truth = read_truth(task.truth, task.case_file)
    except ScoreError as error:
        return [None] * len(task.rows), str(error)
    fault = ""
    for row, mask in zip(task.rows, task.masks, strict=True):
        constant = None if row.nsd is None else [row.nsd] * len(task.tolerances)
        if row.status != OK or row.nsd is None:
            curves.append(constant)
            continue
        try:
            curves.append(case_curve(truth, read_mask(mask, truth.labels.shape), task.tolerances))
        except ScoreError as error:
            fault = str(error)
            curves.append(None)
    return curves, fault


def case_curve(truth: Truth, labels: Labels, tolerances: Sequence[float]) -> list[float]:
    """NSD of one case at each tolerance: the mean over the labels of the truth.

    A truth without labels scores 1 when the prediction has none either, else 0, as in score_case.
    """
    values = [int(value) for value in np.unique(truth.labels) if value > 0]
    if not values:
        return [0.0 if (labels > 0).any() else 1.0] * len(tolerances)
    curves = []
    for value in values:
        pair = truth.labels == value, labels == value
        box = _box(pair[0] | pair[1])
        cropped = pair[0][box], pair[1][box]
        curves.append(surface_dice_curve(*cropped, truth.spacing_mm, tolerances))
    return [round(float(np.mean(column)), 6) for column in zip(*curves, strict=True)]


def _box(mask: Mask) -> tuple[slice, ...]:
    """Bounding box of a mask that is not empty."""
    axes = range(mask.ndim)
    ranges = [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in ranges)
