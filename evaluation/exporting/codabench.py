"""Codabench: scores.json and detailed_results.html of a submission, from its scores.

The worker posts scores.json as it is, a flat object of column key and number; keys that the
leaderboard has no column for are passed over, numbers have at most ten decimals (SubmissionScore).
Read in codalab/codabench, compute_worker.py (push_scores) and api/views/submissions.py
(upload_submission_scores), 2026-03.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from evaluation.exporting.summary import flat, summarise
from evaluation.ranking.score_matrix import FailureValues
from evaluation.scoring.score_tables import NO_TRUTH, OK, ScoreRow, replace_file

SCORES_FILE = "scores.json"
DETAILS_FILE = "detailed_results.html"
"""The names that the worker looks for."""

_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:1rem;color:#111;background:#fff}"
    "table{border-collapse:collapse}td,th{padding:.15rem .6rem;border-bottom:1px solid #ccc;"
    "text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "tr.failed td{background:#fde8e8}"
)


def write_results(
    folder: Path, rows: Sequence[ScoreRow], failure: FailureValues | None = None
) -> None:
    """Write both files of one submission."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = flat(summarise(rows, failure))
    replace_file(folder / SCORES_FILE, json.dumps(scores, indent=1, allow_nan=False) + "\n")
    replace_file(folder / DETAILS_FILE, details(rows, scores))


def details(rows: Sequence[ScoreRow], scores: dict[str, float]) -> str:
    """Return a page that shows a participant every case and why it failed; it needs no network."""
    found = [row for row in rows if row.status != NO_TRUTH]
    failed = sum(row.status != OK for row in found)
    means = "".join(
        f"<tr><th>{escape(name)}<td class=n>{value:g}" for name, value in scores.items()
    )
    lines = "".join(_line(row) for row in sorted(found, key=lambda row: (row.dsc or 0.0, row.case)))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Results</title>"
        f"<style>{_STYLE}</style><h1>Results</h1>"
        f"<p>{len(found)} cases, {failed} failed. Worst cases first.</p>"
        f"<h2>Means</h2><table>{means}</table><h2>Cases</h2><table><tr><th>case<th>modality"
        f"<th>status<th>DSC<th>NSD<th>reason{lines}</table></html>\n"
    )


def _line(row: ScoreRow) -> str:
    kind = "" if row.status == OK else " class=failed"
    return (
        f"<tr{kind}><td>{escape(row.case)}<td>{escape(row.modality)}<td>{escape(row.status)}"
        f"<td class=n>{row.dsc or 0.0:.4f}<td class=n>{row.nsd or 0.0:.4f}<td>{escape(row.reason)}"
    )
