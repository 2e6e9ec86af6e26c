"""Failures: cases of every team by status, and why, with equal reasons told once."""

from __future__ import annotations

from html import escape

import numpy as np

from evaluation.report.grid import ScoreGrid
from evaluation.report.html import counted, folded, table

GROUPS_SHOWN = 300
"""Kinds of failure that are listed; the others stand in scores.csv."""

GROUPS_OPEN = 30
"""With more kinds their list starts folded."""

REASON_LENGTH = 400
"""Characters of a reason that are shown."""


def failure_section(grid: ScoreGrid) -> str:
    """Counts by team and status, which add up to the number of cases; then the reasons."""
    body = []
    for index, team in enumerate(grid.teams):
        counts = np.bincount(grid.status[index], minlength=len(grid.statuses)).tolist()
        cells = "".join(
            f'<td class="num{"" if count else " zero"}">{count}</td>'
            for count in [*counts, sum(counts)]
        )
        body.append(f'<tr><th scope="row" class="pinned">{escape(team)}</th>{cells}</tr>')
    heads = ['<th scope="col" class="pinned">Team</th>']
    heads += [f'<th scope="col" class="num">{escape(s)}</th>' for s in [*grid.statuses, "all"]]
    counts_table = table(heads, body, "failures sortable", caption="Cases by status")
    groups = _groups(grid)
    if not groups:
        return counts_table + "<p>No case failed.</p>"
    lines = [
        f'<tr><td>{escape(team)}</td><td>{escape(status)}</td><td class="num">{len(cases)}</td>'
        f'<td class="reason">{escape(reason)}</td>'
        f'<td class="reason">{escape(_some(cases))}</td></tr>'
        for (team, status, reason), cases in list(groups.items())[:GROUPS_SHOWN]
    ]
    total = sum(map(len, groups.values()))
    title = f"Every failure and why: {counted(total, 'case')}, {counted(len(groups), 'reason')}"
    more = len(groups) - GROUPS_SHOWN
    rest = f"<p>{counted(more, 'more reason')} in scores.csv.</p>" if more > 0 else ""
    listing = table(["Team", "Status", "Cases", "Reason", "Which"], lines, "faults sortable")
    return counts_table + folded(title, listing + rest, opened=len(groups) <= GROUPS_OPEN)


def _groups(grid: ScoreGrid) -> dict[tuple[str, str, str], list[str]]:
    """Cases by team, status and reason; the largest groups of a team first."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for team, case in np.argwhere(grid.status != 0).tolist():
        status = grid.statuses[grid.status[team, case]]
        reason = grid.reasons.get((team, case), "")[:REASON_LENGTH]
        groups.setdefault((grid.teams[team], status, reason), []).append(grid.cases[case])
    order = {team: index for index, team in enumerate(grid.teams)}
    return dict(sorted(groups.items(), key=lambda item: (order[item[0][0]], -len(item[1]))))


def _some(cases: list[str]) -> str:
    shown = ", ".join(cases[:3])
    return shown if len(cases) <= 3 else f"{shown} and {len(cases) - 3} more"
