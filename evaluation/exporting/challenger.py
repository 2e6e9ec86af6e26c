"""challengeR: one csv a metric, and an R script that reads them.

Columns as in its README (wiesenfa/challengeR, 2023-08): Task, TestCase, Algorithm, MetricValue; one
row for every algorithm and case of a task, no value missing. Failures have the failure values, so
that its compulsory na.treat has nothing to treat.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from evaluation.errors import ExportError
from evaluation.ranking.results import METRICS
from evaluation.ranking.score_matrix import ScoreMatrix
from evaluation.scoring.score_tables import replace_file

COLUMNS = ("Task", "TestCase", "Algorithm", "MetricValue")

TASKS = ("all", "dimensions", "modality")
"""What is a task to challengeR, which ranks task by task and then over tasks."""

SCRIPT_FILE = "analysis.R"


def write_tables(
    folder: Path, matrix: ScoreMatrix, task: str, samples: int, seed: int, alpha: float
) -> None:
    """Write one csv for each metric that is compared, and the script."""
    if task not in TASKS:
        raise ExportError(f"task: expected {', '.join(TASKS)}, found {task!r}")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for metric in METRICS:
        text = table(matrix, metric, task)
        if text:
            replace_file(folder / f"{metric}.csv", text)
            written.append(metric)
    replace_file(folder / SCRIPT_FILE, script(written, samples, seed, alpha, several=task != "all"))


def table(matrix: ScoreMatrix, metric: str, task: str) -> str:
    """Return the csv of one metric by task, case and team; empty when nothing is compared."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    valid = np.asarray(matrix.valid(metric).all(axis=0))
    names = _tasks(matrix, task)
    order = sorted(range(len(matrix.cases)), key=lambda column: (names[column], column))
    for column in order:
        if valid[column]:
            for line, team in enumerate(matrix.teams):
                value = float(matrix.values[metric][line, column])
                writer.writerow([names[column], matrix.cases[column], team, value])
    return stream.getvalue() if valid.any() else ""


def script(metrics: list[str], samples: int, seed: int, alpha: float, *, several: bool) -> str:
    """Return R code that makes the three rankings of each metric and a report.

    With several tasks a report wants their consensus, too.
    """
    lines = ["library(challengeR)", f"set.seed({seed})"]
    for metric in metrics:
        small = "TRUE" if metric == "seconds" else "FALSE"
        lines += [
            "",
            f'{metric} <- read.csv("{metric}.csv")',
            f'{metric} <- as.challenge({metric}, by = "Task", algorithm = "Algorithm", '
            'case = "TestCase",',
            f'                 value = "MetricValue", smallBetter = {small})',
            f'{metric}_ranked <- rankThenAggregate({metric}, FUN = mean, ties.method = "min")',
            f'print(aggregateThenRank({metric}, FUN = mean, ties.method = "min"))',
            f'print(testThenRank({metric}, alpha = {alpha}, p.adjust.method = "holm", '
            'ties.method = "min"))',
            f"report(bootstrap({metric}_ranked, nboot = {samples}),",
            *([f'       consensus = consensus({metric}_ranked, method = "euclidean"),'] * several),
            f'       title = "{metric}", file = "{metric}", format = "HTML")',
        ]
    return "\n".join(lines) + "\n"


def _tasks(matrix: ScoreMatrix, task: str) -> list[str]:
    if task == "modality":
        return [str(name) for name in matrix.modalities.tolist()]
    if task == "dimensions":
        return [f"{dimensions}D" for dimensions in matrix.dimensions.tolist()]
    return ["all"] * len(matrix.cases)
