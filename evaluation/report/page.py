"""The report as one HTML page: sections put together from stored results.

Everything that comes from a file (names, reasons, logs) is escaped, and the page forbids itself any
network by its content security policy. Without scripts leaderboard, figures and tables are there;
scripts sort, filter, and draw the table of all cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evaluation.report.all_figures import Figures
from evaluation.report.case_section import case_section
from evaluation.report.data import CONTAINER_RUNNER, PROCESS_RUNNER, ReportData
from evaluation.report.failure_section import failure_section
from evaluation.report.figure import ASSETS, in_a_row
from evaluation.report.gallery import gallery
from evaluation.report.html import anchor, counted, folded, section
from evaluation.report.leaderboard_section import leaderboard_section
from evaluation.report.modality_section import modality_tables
from evaluation.report.official_section import official_section
from evaluation.report.pictures import CasePicture
from evaluation.report.provenance_section import provenance_section
from evaluation.running.measuring import DRIFT_THRESHOLD

RUNNER_TEXTS = {  # HTML
    CONTAINER_RUNNER: "<b>in containers</b> (Docker Engine), a fresh one for every case",
    PROCESS_RUNNER: "<b>as plain processes, without containers</b>: neither memory nor network"
    " was limited, and the times cannot be compared with those of containers",
}

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render(
    data: ReportData,
    figures: Figures,
    pictures: Sequence[CasePicture],
    facts: dict[str, str],
    command: str,
) -> str:
    """Return the whole page."""
    contents = _contents(data, figures, pictures, facts, command)
    shown = {title: content for title, content in contents.items() if content}
    links = "".join(f'<li><a href="#{anchor(title)}">{title}</a></li>' for title in shown)
    body = [
        '<a class="skip" href="#leaderboard">To the leaderboard</a>',
        _head(data),
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>',
        *(section(title, content) for title, content in shown.items()),
        "</main>",
    ]
    style, script = (
        "".join((ASSETS / name).read_text(encoding="utf-8") for name in names)
        for names in (("palette.css", "page.css", "figure.css"), ("tables.js", "cases.js"))
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Segmentation leaderboard of {counted(len(data.teams), 'team')}</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _contents(
    data: ReportData,
    figures: Figures,
    pictures: Sequence[CasePicture],
    facts: dict[str, str],
    command: str,
) -> dict[str, str]:
    """Title and content of every section; empty where a run has nothing for it."""
    overall = f"-{data.boards[0].name.lower()}"
    firm = [figure for figure in figures.stability if figure.name.endswith(overall)]
    others = [figure for figure in figures.stability if not figure.name.endswith(overall)]
    return {
        "Leaderboard": leaderboard_section(data.ranking),
        "Failures": failure_section(data.grid),
        "Accuracy by rank": in_a_row(figures.by_rank),
        "Accuracy and run time": in_a_row(figures.against_time),
        "By modality": in_a_row(figures.by_modality) + modality_tables(data.boards),
        "NSD over tolerance": in_a_row(figures.tolerances),
        "Comparisons": in_a_row(figures.comparisons),
        "Ranking stability": in_a_row(firm)
        + folded("The same for 2D and 3D", in_a_row(others), long=True),
        "Official script": official_section(data, figures.official),
        "Timing": in_a_row(figures.timing),
        "Pictures": gallery(data.grid, pictures) if pictures else "",
        "Cases": case_section(data.grid),
        "Provenance": provenance_section(data, facts, command),
    }


def _head(data: ReportData) -> str:
    facts = f"{counted(len(data.teams), 'team')}, {counted(len(data.grid.cases), 'case')}, "
    facts += counted(len(data.grid.modalities), "modality", "modalities")
    notes = []
    for runner in data.runners:
        text = RUNNER_TEXTS.get(runner, f"by the runner “{escape(runner)}”")
        kind = "good" if runner == CONTAINER_RUNNER else "warn"
        teams = ", ".join(escape(team.name) for team in data.teams if team.runner == runner)
        who = "Run" if len(data.runners) == 1 else f"{teams}: run"
        notes.append(f'<p class="note {kind}" data-runner="{escape(runner)}">{who} {text}.</p>')
    if data.drift is not None and data.drift > DRIFT_THRESHOLD:
        notes.append(
            '<p class="note warn">The machine drifted: the times of the same work spread by '
            f"{100 * data.drift:.0f} %. Read the seconds accordingly.</p>"
        )
    if data.ranking.unscored_cases:
        names = ", ".join(escape(case) for case in data.ranking.unscored_cases)
        notes.append(f'<p class="note warn">No truth, left out for every team: {names}.</p>')
    notes += [f'<p class="note warn">{escape(words)}</p>' for words in data.ranking.warnings]
    return f"<header><h1>Segmentation leaderboard</h1><p>{facts}</p>{''.join(notes)}</header>"
