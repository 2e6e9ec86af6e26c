"""The report as one HTML page: sections put together from stored results.

Everything that comes from a file (names, reasons, logs) is escaped, and the page forbids itself any
network by its content security policy. Without scripts it is complete; scripts only sort and
filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from evaluation.ranking.leaderboard import METRICS, Board, Standing
from evaluation.ranking.rank import METRIC_TITLES, SCHEME, SHORT_MODALITIES, format_value
from evaluation.report.data import (
    CONTAINER_RUNNER,
    PROCESS_RUNNER,
    ReportData,
    TeamInfo,
    status_counts,
)
from evaluation.report.figures import metric_plot
from evaluation.report.gallery import gallery
from evaluation.report.html import colour_class, counted, facts_list, legend, section, table
from evaluation.report.official import official_section
from evaluation.report.pictures import CasePicture
from evaluation.running.measuring import DRIFT_THRESHOLD
from evaluation.scoring.score_tables import OK

ASSETS = Path(__file__).parent / "assets"

FAILURES_SHOWN_OPEN = 30
"""With more failed cases their list starts folded."""

RUNNER_TEXTS = {  # HTML
    CONTAINER_RUNNER: "<b>in containers</b> (Docker Engine), a fresh one for every case",
    PROCESS_RUNNER: "<b>as plain processes, without containers</b>: neither memory nor network"
    " was limited, and the times cannot be compared with those of containers",
}

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render(data: ReportData, pictures: Sequence[CasePicture], versions: dict[str, str]) -> str:
    """Return the whole page."""
    style = (ASSETS / "style.css").read_text(encoding="utf-8")
    script = (ASSETS / "script.js").read_text(encoding="utf-8")
    sections = [
        _head(data),
        section("Leaderboard", _leaderboard(data)),
        section("Official script", official_section(data)),
        section("Failures", _failures(data)),
        section("By modality", _plots(data)),
        section("Pictures", gallery(data, pictures)) if pictures else "",
        section("Cases", _cases(data)),
        section("Provenance", _provenance(data, versions)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Leaderboard of {len(data.teams)} teams</title>\n<style>\n{style}</style>\n"
        "</head>\n<body>\n"
        + "\n".join(sections)
        + f"\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _head(data: ReportData) -> str:
    modalities = {row.modality for row in data.rows}
    facts = f"{counted(len(data.teams), 'team')}, {counted(len(data.cases), 'case')}, "
    facts += counted(len(modalities), "modality", "modalities")
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
    if data.unscored:
        names = ", ".join(escape(case) for case in data.unscored)
        notes.append(f'<p class="note warn">No truth, left out for every team: {names}.</p>')
    return f"<header><h1>Segmentation leaderboard</h1><p>{facts}</p>{''.join(notes)}</header>"


def _leaderboard(data: ReportData) -> str:
    text = (
        f"<p>Order: {escape(SCHEME)}. A failed case scores 0 and has no time. "
        "Seconds are wall time of a case. Best values are bold.</p>"
    )
    order = {team.name: index for index, team in enumerate(data.teams)}
    return text + "".join(_board(board, order) for board in data.boards)


def _board(board: Board, order: dict[str, int]) -> str:
    heads = ["#", "Team", "Metric", "Rank", "Mean"]
    heads += [
        f'<abbr title="{escape(name)}">{escape(SHORT_MODALITIES.get(name, name))}</abbr>'
        f"<small>{count}</small>"
        for name, count in board.modalities.items()
    ]
    best = {
        (metric, column): _best(metric, [_cells(each, metric)[column] for each in board.standings])
        for metric in METRICS
        for column in range(len(board.modalities) + 1)
    }
    body = []
    for standing in board.standings:
        for metric in METRICS:
            lead = ""
            if metric == METRICS[0]:
                mark = f'<i class="dot {colour_class(f"t{order[standing.team]}")}"></i>'
                lead = (
                    f'<td rowspan="{len(METRICS)}" class="num">{standing.place}</td>'
                    f'<th rowspan="{len(METRICS)}" scope="rowgroup">{mark}'
                    f"{escape(standing.team)}</th>"
                )
            cells = [
                f'<td>{METRIC_TITLES[metric]}</td><td class="num">{standing.ranks[metric]}</td>'
            ]
            for column, value in enumerate(_cells(standing, metric)):
                text = format_value(metric, value)
                strong = value is not None and value == best[metric, column]
                cells.append(f'<td class="num">{f"<b>{text}</b>" if strong else text}</td>')
            body.append(f"<tr>{lead}{''.join(cells)}</tr>")
    title = f"<h3>{escape(board.name)}<small>{counted(board.cases, 'case')}</small></h3>"
    return title + table(heads, body, "board", board.name)


def _cells(standing: Standing, metric: str) -> list[float | None]:
    return [getattr(means, metric) for means in (standing.mean, *standing.modalities.values())]


def _best(metric: str, values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    if len(present) < 2:
        return None
    return min(present) if metric == "seconds" else max(present)


def _failures(data: ReportData) -> str:
    counts = status_counts(data.rows)
    statuses = sorted({row.status for row in data.rows}, key=lambda status: (status != OK, status))
    body = []
    for team, found in counts.items():
        cells = "".join(
            f'<td class="num{"" if found[status] else " zero"}">{found[status]}</td>'
            for status in statuses
        )
        total = sum(found.values())
        body.append(
            f'<tr><th scope="row">{escape(team)}</th>{cells}<td class="num">{total}</td></tr>'
        )
    parts = [table(["Team", *map(escape, statuses), "all"], body, "failures")]
    failed = [row for row in data.rows if row.status != OK]
    if not failed:
        return parts[0] + "<p>No case failed.</p>"
    lines = [
        f"<tr><td>{escape(row.team)}</td><td class=name>{escape(row.case)}</td>"
        f"<td>{escape(row.status)}</td><td class=reason>{escape(row.reason)}</td></tr>"
        for row in sorted(failed, key=lambda row: (row.team, row.case))
    ]
    state = " open" if len(failed) <= FAILURES_SHOWN_OPEN else ""
    listing = table(["Team", "Case", "Status", "Reason"], lines, "faults")
    parts.append(
        f"<details{state}><summary>Every case not ok: {len(failed)}</summary>{listing}</details>"
    )
    return "".join(parts)


def _plots(data: ReportData) -> str:
    teams = [team.name for team in data.teams]
    figures = "".join(
        f"<figure><figcaption>{title}</figcaption>{metric_plot(data.rows, teams, metric, title)}"
        "</figure>"
        for metric, title in (
            ("dsc", "DSC"),
            ("nsd", "NSD, tolerance 2 mm (3D) or 2 pixels (2D)"),
            ("seconds", "Seconds a case (cases that are ok, logarithmic)"),
        )
    )
    text = "<p>A dot is a case, the upright line the mean of a team in a modality.</p>"
    return f'{text}{legend(teams)}<div class="plots">{figures}</div>'


def _cases(data: ReportData) -> str:
    titles = ["Case", "Modality", "Dim", "Team", "Status", "DSC", "NSD", "Seconds", "Labels"]
    titles += ["False labels"]
    heads = [f'<button type="button">{title}</button>' for title in titles]
    body = [
        f'<tr><td class="name">{escape(row.case)}</td><td>{escape(row.modality)}</td>'
        f'<td class="num">{"" if row.dimensions is None else f"{row.dimensions}D"}</td>'
        f'<td>{escape(row.team)}</td><td title="{escape(row.reason)}">{escape(row.status)}</td>'
        f'<td class="num">{format_value("dsc", row.dsc)}</td>'
        f'<td class="num">{format_value("nsd", row.nsd)}</td>'
        f'<td class="num">{format_value("seconds", row.wall_s)}</td>'
        f'<td class="num">{row.labels}</td><td class="num">{row.false_positive_labels}</td></tr>'
        for row in data.rows
    ]
    return (
        '<p class="filter"><label>Show rows with <input type="search" id="filter" '
        'placeholder="team, modality, status …"></label> <output id="shown"></output></p>'
        + table(heads, body, "cases")
    )


def _provenance(data: ReportData, versions: dict[str, str]) -> str:
    report = {**versions, "leaderboard.json sha256": data.leaderboard_sha256}
    return facts_list("Report", report) + "".join(_team_facts(team) for team in data.teams)


def _team_facts(team: TeamInfo) -> str:
    facts = {"runner": team.runner, **team.description}
    if PROCESS_RUNNER in team.runner:
        facts["limits"] = "of the protocol only the time limit holds for a process; see the top"
    if team.started:
        facts["first case started"], facts["last case started"] = team.started
    facts |= {f"{name} sha256": digest for name, digest in team.digests.items()}
    return facts_list(team.name, facts)
