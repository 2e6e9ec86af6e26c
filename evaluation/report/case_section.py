"""The table of cases: all scores as compact arrays, unpacked, filtered and drawn by cases.js.

A plain table of 25 teams by 4,400 cases would be 28 MB of HTML. Here a DSC, an NSD or an official
one is an integer of two bytes, ten thousandths, as precise as what is shown; seconds are whole
milliseconds in four. Without scripts the cases in which teams differ most can still be read.
"""

from __future__ import annotations

import base64
from html import escape

import numpy as np
from numpy.typing import NDArray

from evaluation.report.failure_section import REASON_LENGTH
from evaluation.report.grid import ScoreGrid, Values
from evaluation.report.html import as_script_data, format_value, options, table

NONE = 65535
"""In the arrays: no number."""

SHOWN_WITHOUT_SCRIPT = 30

REASON_BYTES = 1_000_000
"""Reasons beyond so much text are left out of the page; they stand in scores.csv."""

HEADS = (
    *("Case", "Modality", "Dim", "Spread of DSC", "Spread of NSD", "Best DSC", "Median DSC"),
    *("Worst DSC", "Failed teams", "Slowest, s"),
)


def case_section(grid: ScoreGrid) -> str:
    """Filters, the table with the cases in which teams differ most, and the data of all cases."""
    text = (
        "<p>The spread of a case is its best less its worst score among the teams whose result is "
        "ok: sorted by it, the table shows the cases in which teams differ most. Failures have a "
        "column of their own. Open a case to see every team’s result.</p>"
        f"<noscript><p>Without scripts: the {SHOWN_WITHOUT_SCRIPT} cases with the largest spread; "
        "all cases stand in scores.csv.</p></noscript>"
    )
    heads = [
        f'<th scope="col"{"" if i < 2 else " class=num"}>{t}</th>' for i, t in enumerate(HEADS)
    ]
    pages = (
        '<p class="controls" id="cases-pages" hidden><button type="button" id="cases-back">'
        'Back</button> <button type="button" id="cases-next">Next</button> '
        '<output id="cases-shown" aria-live="polite"></output></p>'
    )
    data = f'<script type="application/json" id="case-data">{case_data(grid)}</script>'
    return text + _filters(grid) + pages + table(heads, _first_rows(grid), "cases") + data


def case_data(grid: ScoreGrid) -> str:
    """All scores as JSON with arrays in base64, teams by cases, little-endian."""
    milliseconds = np.nan_to_num(np.rint(grid.seconds * 1000)).astype("<u4")
    texts, reasons = _reasons(grid)
    return as_script_data(
        {
            "teams": grid.teams,
            "cases": grid.cases,
            "modalities": grid.modalities,
            "statuses": grid.statuses,
            "modality": grid.modality.tolist(),
            "dimensions": grid.dimensions.tolist(),
            "texts": texts,
            "reasons": reasons,
            "status": _packed(grid.status.astype("u1")),
            "milliseconds": _packed(milliseconds),
            **{
                name: _packed(ten_thousandths(getattr(grid, name)))
                for name in ("dsc", "nsd", "dsc_official", "nsd_official")
            },
        }
    )


def _reasons(grid: ScoreGrid) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Different reasons, and for each failure the team, the case and the number of its reason."""
    numbers: dict[str, int] = {}
    reasons, size = [], 0
    for (team, case), reason in sorted(grid.reasons.items()):
        text = reason[:REASON_LENGTH]
        if text not in numbers:
            size += len(text)
            if size > REASON_BYTES:
                break
            numbers[text] = len(numbers)
        reasons.append((team, case, numbers[text]))
    return list(numbers), reasons


def ten_thousandths(values: Values) -> NDArray[np.uint16]:
    """Scores from 0 to 1 as integers; NONE for NaN."""
    known = np.isfinite(values)
    scaled = np.rint(np.where(known, values, 0.0) * 10_000)
    return np.where(known, scaled, NONE).astype("<u2")


def _packed(array: NDArray[np.generic]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _filters(grid: ScoreGrid) -> str:
    failed = [status for status in grid.statuses if status != "ok"]
    return (
        '<form class="controls" hidden onsubmit="return false">'
        '<label>Name has <input type="search" id="cases-search"></label>'
        f'<label>Modality <select id="cases-modality">{options(grid.modalities, "all")}</select>'
        '</label><label>Dimensions <select id="cases-dimensions"><option value="">all</option>'
        '<option value="2">2D</option><option value="3">3D</option></select></label>'
        f'<label>Some team is <select id="cases-status">{options(failed, "anything")}</select>'
        "</label></form>"
    )


def _first_rows(grid: ScoreGrid) -> list[str]:
    """The cases with the largest spread of DSC, as the script would draw them."""
    scored = np.flatnonzero(np.isfinite(grid.dsc).any(axis=0) & grid.ok.any(axis=0))
    values = np.round(np.where(grid.ok, grid.dsc, np.nan)[:, scored], 4)
    spread = np.round(np.nanmax(values, axis=0) - np.nanmin(values, axis=0), 4)
    order = scored[np.argsort(-spread, kind="stable")][:SHOWN_WITHOUT_SCRIPT]
    return [_row(grid, case) for case in order.tolist()]


def _row(grid: ScoreGrid, case: int) -> str:
    ok, seconds = grid.ok[:, case], grid.seconds[:, case]
    dsc, nsd = (np.round(values[ok, case], 4) for values in (grid.dsc, grid.nsd))
    numbers = [np.ptp(dsc), np.ptp(nsd), dsc.max(), np.median(dsc), dsc.min()]
    failed = int((grid.status[:, case] != 0).sum())
    slowest = float(np.nanmax(seconds)) if np.isfinite(seconds).any() else None
    cells = [format_value("dsc", float(value)) for value in numbers]
    cells += [str(failed), format_value("seconds", slowest)]
    dimensions = f"{grid.dimensions[case]}D" if grid.dimensions[case] else ""
    return (
        f'<tr><td class="name">{escape(grid.cases[case])}</td>'
        f"<td>{escape(grid.modalities[grid.modality[case]])}</td>"
        + "".join(f'<td class="num">{cell}</td>' for cell in [dimensions, *cells])
        + "</tr>"
    )
