"""Grand Challenge: metrics.json of a submission, and the phase's settings that read it.

metrics.json is free JSON; the documentation recommends `case` and `aggregates` (app/docs/
evaluation.rst), the forge's template `results` and `aggregates`. A leaderboard column is a path of
keys joined by dots (get_jsonpath), and a submission without a number at every ranked path is left
out of the ranking (Evaluation.invalid_metrics): every ranked path here always has one. Read in
comic/grand-challenge.org, 2025-11, and DIAGNijmegen/rse-grand-challenge-forge, 2025-09.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.exporting.summary import ALL, summarise
from evaluation.ranking.score_matrix import FailureValues
from evaluation.scoring.score_tables import NO_TRUTH, ScoreRow, replace_file

METRICS_FILE = "metrics.json"
SETTINGS_FILE = "phase_settings.json"

OVERALL = "overall"
"""Name of the part that is everything, in `aggregates`."""


def write_metrics(
    folder: Path, rows: Sequence[ScoreRow], failure: FailureValues | None = None
) -> None:
    """Write metrics.json of one submission."""
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps(metrics(rows, failure), indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(folder / METRICS_FILE, f"{written}\n")


def metrics(rows: Sequence[ScoreRow], failure: FailureValues | None = None) -> dict[str, Any]:
    """Return `results`, one object a case, and `aggregates` by part and metric.

    Seconds of a team without any case that is ok are the failure time.
    """
    failed_s = (failure or FailureValues()).seconds
    aggregates = {
        part or OVERALL: {
            name: failed_s if value is None else value for name, value in numbers.items()
        }
        for part, numbers in summarise(rows, failure).items()
    }
    results = [
        {
            "case": row.case,
            "modality": row.modality,
            "dimensions": row.dimensions,
            "status": row.status,
            "reason": row.reason,
            "dsc": row.dsc,
            "nsd": row.nsd,
            "seconds": row.wall_s,
        }
        for row in sorted(rows, key=lambda row: row.case)
        if row.status != NO_TRUTH
    ]
    return {"aggregates": aggregates, "results": results}


def phase_settings(weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the settings of a phase that ranks by mean rank over the metrics that have a weight.

    The platform knows no weights but 1 and none, no modality balance but that of the numbers it is
    given, and no ranks on cases: its ranking is aggregate-then-rank.
    """
    ranked = {metric: weight > 0 for metric, weight in weights.items()}
    first = next(metric for metric, counts in ranked.items() if counts)
    extra = [
        {
            "title": _title(metric, ALL),
            "path": f"aggregates.{OVERALL}.{metric}",
            "order": _order(metric),
            "exclude_from_ranking": not counts,
        }
        for metric, counts in ranked.items()
        if metric != first
    ]
    extra.append(
        {
            "title": "Failed cases",
            "path": f"aggregates.{OVERALL}.failed",
            "order": "asc",
            "exclude_from_ranking": True,
        }
    )
    return {
        "score_title": _title(first, ALL),
        "score_jsonpath": f"aggregates.{OVERALL}.{first}",
        "score_default_sort": _order(first),
        "score_decimal_places": 4,
        "extra_results_columns": extra,
        "scoring_method_choice": "avg",
    }


def _order(metric: str) -> str:
    return "asc" if metric == "seconds" else "desc"


def _title(metric: str, part: str) -> str:
    name = "Seconds" if metric == "seconds" else metric.upper()
    return f"{name} {part}".strip()
