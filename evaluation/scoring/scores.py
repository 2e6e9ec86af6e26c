"""The command `score`: every team's masks against the truth.

Reads RUN/<team>/records.jsonl and masks/, writes RUN/<team>/scores.csv and labels.csv. The cases of
a run are those that any team has a record of, and every team gets a row for every one of them: a
mask that is missing or broken scores the failure values of the protocol and keeps its reason, and
so does a container that failed, whatever it left behind. Each truth is read once for all teams.
Instead of a run, a folder of masks (--segs, --out) is scored as the organisers' compute_metrics.py
is used.
Finished results are kept (see `score_cache`), so that the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from evaluation.dataset import modality_of
from evaluation.errors import ScoreError, UsageError, instead_of_folder
from evaluation.progress import Progress
from evaluation.running.records import last_records, read_records
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.case_scores import CaseRows, CaseTask, FailureScores, score_task
from evaluation.scoring.labelmaps import truth_cases, truth_file
from evaluation.scoring.score_cache import CACHE_FOLDER
from evaluation.scoring.score_tables import (
    LABELS_FILE,
    SCORES_FILE,
    LabelRow,
    ScoreRow,
    write_table,
)

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `score`."""
    parser.add_argument(
        "run", type=Path, nargs="?", metavar="RUN", help="run folder, as written by run"
    )
    parser.add_argument(
        "--segs", type=Path, metavar="DIR", help="instead of RUN: a folder of <case>.npz with segs"
    )
    parser.add_argument(
        "--out", type=Path, metavar="CSV", help="with --segs: table to write, labels beside it"
    )
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="DIR",
        help="folder of <case>.npz with gts, or of <case>.nii.gz",
    )  # fmt: skip
    parser.add_argument(
        "--cases", type=Path, metavar="DIR",
        help="input folder, for spacings that the truth lacks and to check NIfTI truths",
    )  # fmt: skip
    parser.add_argument(
        "--distances", action="store_true", help="HD95 and ASSD of every label too, which is slower"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="cases scored at the same time",
    )


def execute(args: argparse.Namespace) -> int:
    """Score a run; 1 if a truth is missing or broken, and then every other case is scored."""
    choices = {"cases": args.cases, "workers": args.workers, "distances": args.distances}
    if args.run is not None and args.segs is None:
        results = score_run(args.run, args.truth, **choices)
    elif args.run is None and args.segs is not None and args.out is not None:
        results = score_folder(args.segs, args.truth, args.out, **choices)
    else:
        raise UsageError("expected either RUN or both of --segs and --out")
    faults = [result.fault for result in results if result.fault]
    for fault in faults:
        logger.error("score: %s", fault)
    for team, statuses in sorted(_statuses(results).items()):
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        logger.info("%s: %d cases: %s", team, statuses.total(), counts)
    return 1 if faults else 0


def score_run(
    run: Path,
    truth: Path,
    *,
    cases: Path | None = None,
    workers: int = 1,
    distances: bool = False,
) -> list[CaseRows]:
    """Score every case of every team of a run and write the two tables of each team."""
    _check(truth, workers)
    tasks = plan(run, truth, cases, distances)
    if not any(task.truth.exists() for task in tasks):  # another folder was meant: keep the tables
        raise ScoreError(
            f"{truth}: expected the truth of at least one of {len(tasks)} cases, "
            f"such as {tasks[0].truth.name}, found none"
        )
    results = _score_all(tasks, workers)
    for team in sorted({row.team for row in results[0].scores}):
        _write_team(results, team, run / team / SCORES_FILE, run / team / LABELS_FILE)
    return results


def score_folder(
    segs: Path,
    truth: Path,
    out: Path,
    *,
    cases: Path | None = None,
    workers: int = 1,
    distances: bool = False,
) -> list[CaseRows]:
    """Score a folder of masks without records, as compute_metrics.py of the organisers does.

    Every truth is a case, and a mask that is missing scores 0. The labels' table lies beside
    `out`.
    """
    _check(truth, workers)
    if not segs.is_dir():
        raise ScoreError(f"{segs}: expected a folder of masks, found {instead_of_folder(segs)}")
    names = truth_cases(truth)
    if not names:
        raise ScoreError(f"{truth}: expected truths (*.npz, *.nii.gz, *.nii), found none")
    team = segs.resolve().name
    tasks = [
        CaseTask(
            case=name,
            modality=modality_of(name),
            dimensions=None,
            truth=truth_file(truth, name),
            case_file=None if cases is None else cases / f"{name}.npz",
            records={team: None},
            masks={team: segs / f"{name}.npz"},
            distances=distances,
            recorded=False,
            cache=out.parent / CACHE_FOLDER,
        )
        for name in names
    ]
    results = _score_all(tasks, workers)
    out.parent.mkdir(parents=True, exist_ok=True)
    _write_team(results, team, out, out.with_name(f"{out.stem}.{LABELS_FILE}"))
    return results


def _check(truth: Path, workers: int) -> None:
    if not truth.is_dir():
        raise ScoreError(f"{truth}: expected a folder of truths, found {instead_of_folder(truth)}")
    if workers < 1:
        raise ScoreError(f"workers must be at least 1, found {workers}")


def _write_team(results: list[CaseRows], team: str, scores: Path, labels: Path) -> None:
    rows = [row for result in results for row in result.scores if row.team == team]
    if len(rows) != len(results):
        raise ScoreError(f"{team}: {len(results)} cases in, {len(rows)} rows out")
    all_labels = (row for result in results for row in result.labels if row.team == team)
    write_table(labels, LabelRow, all_labels)
    write_table(scores, ScoreRow, rows)


def plan(
    run: Path, truth: Path, cases: Path | None = None, distances: bool = False
) -> list[CaseTask]:
    """List the cases of a run, by name, each with the record and the mask of every team."""
    if not run.is_dir():
        raise ScoreError(f"{run}: expected a run folder, found {instead_of_folder(run)}")
    folders = {path.name: TeamFolder(path) for path in sorted(run.iterdir()) if path.is_dir()}
    folders = {name: folder for name, folder in folders.items() if folder.records.is_file()}
    records = {team: read_records(folder.records) for team, folder in folders.items()}
    seen = {record.case: record for own in records.values() for record in own}
    if not seen:
        raise ScoreError(f"{run}: expected TEAM/records.jsonl with records, found none")
    failures = {team: failure_scores(folder) for team, folder in folders.items()}
    teams = {team: last_records(folders[team].own_of(own)) for team, own in records.items()}
    return [
        CaseTask(
            case=name,
            modality=seen[name].modality,
            dimensions=seen[name].dimensions,
            truth=truth_file(truth, name),
            case_file=None if cases is None else cases / f"{name}.npz",
            records={team: records.get(name) for team, records in teams.items()},
            masks={team: folders[team].mask(name) for team in teams},
            failures=failures,
            distances=distances,
            cache=run / CACHE_FOLDER,
        )
        for name in sorted(seen)
    ]


def failure_scores(folder: TeamFolder) -> FailureScores:
    """Return the failure values of a team's protocol; the worst where it has none."""
    try:
        protocol = json.loads(folder.description.read_text(encoding="utf-8"))["protocol"]
        return FailureScores(float(protocol["failure_dsc"]), float(protocol["failure_nsd"]))
    except (FileNotFoundError, KeyError):
        return FailureScores()
    except (OSError, ValueError, TypeError) as error:
        raise ScoreError(f"{folder.description}: expected a protocol, found: {error}") from error


def _score_all(tasks: list[CaseTask], workers: int) -> list[CaseRows]:
    results = []
    with Progress("score", len(tasks)) as progress:
        for result in _results(tasks, min(workers, len(tasks))):
            results.append(result)
            progress.advance()
    return results


def _results(tasks: list[CaseTask], workers: int) -> Iterator[CaseRows]:
    """Score in order, in this process or in fresh ones (a fork of a process with threads can
    hang)."""
    if workers == 1:
        yield from map(score_task, tasks)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(score_task, tasks)
    except BrokenProcessPool as error:
        raise ScoreError(f"a worker died, perhaps for memory; try fewer than {workers}") from error


def _statuses(results: list[CaseRows]) -> dict[str, Counter[str]]:
    statuses: dict[str, Counter[str]] = {}
    for row in (row for result in results for row in result.scores):
        statuses.setdefault(row.team, Counter())[row.status] += 1
    return statuses
