"""One team's results in few numbers, by names that every platform takes.

`dsc`, `nsd` and `seconds` are means over the modalities of their means; with `_2d`, `_3d` or a
modality's name behind them, those of that part. Failures count with the failure values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.ranking.results import METRICS
from evaluation.ranking.schemes import team_means
from evaluation.ranking.score_matrix import FailureValues, ScoreMatrix, build_matrix
from evaluation.scoring.score_tables import OK, ScoreRow

DIGITS = 6

ALL = ""
"""Name of the part that is everything."""


def summarise(
    rows: Sequence[ScoreRow], failure: FailureValues | None = None
) -> dict[str, dict[str, float | None]]:
    """Return dsc, nsd, seconds, cases and failed by part: everything, 2d, 3d, each modality.

    Seconds are None where no case is ok. Raises RankError when no case has a truth.
    """
    failures = {} if failure is None else {"team": failure}
    matrix = build_matrix({"team": rows}, failures)
    parts = {ALL: matrix}
    for dimensions in (2, 3):
        chosen = matrix.dimensions == dimensions
        if chosen.any():
            parts[f"{dimensions}d"] = matrix.of_cases(chosen)
    for modality in np.unique(matrix.modalities).tolist():
        parts[part_name(modality)] = matrix.of_cases(matrix.modalities == modality)
    return {part: _numbers(found) for part, found in parts.items()}


def flat(summary: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Return the summary by column, `dsc`, `dsc_2d`, ...; what is None is left out."""
    return {
        f"{name}_{part}" if part else name: value
        for part, numbers in summary.items()
        for name, value in numbers.items()
        if value is not None
    }


def part_name(modality: str) -> str:
    """Return a modality's name as part of a column: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", modality.lower())


def _numbers(matrix: ScoreMatrix) -> dict[str, float | None]:
    means = team_means(matrix, True, np.ones((1, len(matrix.cases)), dtype=np.uint8))
    numbers: dict[str, float | None] = {}
    for metric in METRICS:
        value = float(means[metric][0, 0])
        numbers[metric] = None if np.isnan(value) else round(value, DIGITS)
    numbers["cases"] = float(len(matrix.cases))
    numbers["failed"] = float((matrix.statuses != OK).sum())
    return numbers
