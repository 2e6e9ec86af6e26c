"""The leaderboard: places with their uncertainty, tiers, means with intervals, failures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from evaluation.ranking.results import METRICS, Board, Interval, Ranking, Standing, TeamResult
from evaluation.report.html import (
    METRIC_TITLES,
    counted,
    format_value,
    number_cell,
    options,
    table,
)
from evaluation.scoring.score_tables import OK

SCHEME_TEXTS = {
    "rank-then-average": "teams are ranked on every case in each metric, and the ranks averaged",
    "aggregate-then-rank": "scores are averaged in each metric, and the averages ranked",
    "test-then-rank": "in each metric a team is ranked by how many others it beats significantly",
}


def leaderboard_section(ranking: Ranking) -> str:
    """All boards; a script shows one at a time and the means of one modality."""
    scheme = ranking.boards[0].schemes[0].name
    alpha = float(ranking.rules.get("alpha", 0.05))
    percent = f"{100 * (1 - alpha):g} %"
    weights = ranking.rules.get("weights", {})
    parts = [f"{METRIC_TITLES[m]} {weights[m]:g}" for m in METRICS if weights.get(m)]
    text = (
        f"<p>Scheme: <b>{escape(scheme)}</b>: {SCHEME_TEXTS.get(scheme, '')}; weights "
        f"{', '.join(parts)}. Teams that cannot be told apart are never in two tiers; "
        f"a double line parts two tiers, and the tier of a team says whom it is like. "
        f"Small print: {percent} intervals from bootstrap samples of the cases. "
        "A failed case counts with its failure value and has no time; seconds are wall time.</p>"
    )
    modalities = list(ranking.boards[0].modalities)
    return text + _controls(ranking.boards, modalities) + "".join(map(_board, ranking.boards))


def _controls(boards: Sequence[Board], modalities: Sequence[str]) -> str:
    choices = "".join(
        f'<label><input type="radio" name="board" value="{board.name}"'
        f"{' checked' if index == 0 else ''}> {board.name}</label>"
        for index, board in enumerate(boards)
    )
    return (
        '<form class="controls" hidden onsubmit="return false"><fieldset><legend>Cases</legend>'
        f'{choices}</fieldset><label>Means of <select id="modality">'
        f"{options(modalities, 'all modalities')}</select></label>"
        '<output id="board-shown"></output></form>'
    )


def _board(board: Board) -> str:
    scheme = board.schemes[0]
    results = {result.team: result for result in board.teams}
    heads = [
        '<th scope="col" class="num">Tier</th>',
        '<th scope="col" class="num">Place</th>',
        '<th scope="col" class="pinned">Team</th>',
        '<th scope="col" class="num"><abbr title="part of the bootstrap samples in which the team '
        'is first">First</abbr></th>',
        f'<th scope="col" class="num"><abbr title="what the places are by; low is better">'
        f"{'Mean rank' if scheme.name == 'rank-then-average' else 'Score'}</abbr></th>",
    ]
    heads += [f'<th scope="col" class="num">{METRIC_TITLES[m]}</th>' for m in METRICS]
    heads += ['<th scope="col" class="num">Failed</th>']
    sampled = bool(sum(scheme.standings[0].place_counts))
    body = []
    tier = scheme.standings[0].tier
    for standing in scheme.standings:
        new_tier = ' class="tier"' if standing.tier != tier else ""
        tier = standing.tier
        body.append(
            f"<tr{new_tier}>{_cells(board, standing, results[standing.team], sampled)}</tr>"
        )
    groups = "" if board.groups == board.cases else f" of {board.groups:,} patient groups"
    untimed = board.cases - board.timed_cases
    notes = f"; seconds compared on {board.timed_cases:,} of them" if untimed else ""
    caption = (
        f"{counted(board.cases, 'case')}{groups} in "
        f"{counted(len(board.modalities), 'modality', 'modalities')}{notes}"
    )
    modalities = escape(json.dumps(list(board.modalities), ensure_ascii=False))
    return (
        f'<div data-board="{board.name}" data-modalities="{modalities}"><h3>{board.name}</h3>'
        + table(heads, body, "board sortable", board.name, caption)
        + "</div>"
    )


def _cells(board: Board, standing: Standing, result: TeamResult, sampled: bool) -> str:
    low, high = standing.places.low, standing.places.high
    between = _small(f"{low:g}", f"{high:g}") if sampled else ""
    cells = [
        number_cell(str(standing.tier), None, _alike(standing)),
        number_cell(f"{standing.place}{between}", standing.place),
        f'<th scope="row" class="pinned">{escape(standing.team)}</th>',
        number_cell(f"{100 * standing.first:.0f} %" if sampled else "-", standing.first),
        number_cell(f"{standing.score:.3f}", standing.score),
    ]
    for metric in METRICS:
        value = getattr(result.mean, metric)
        shown = format_value(metric, value) + _interval(metric, result.interval.get(metric))
        means = {
            name: format_value(metric, getattr(found, metric))
            for name, found in result.modalities.items()
        }
        more = f' data-means="{escape(json.dumps(means, ensure_ascii=False))}"'
        cells.append(number_cell(shown, value, more))
    failed = {status: n for status, n in result.statuses.items() if status != OK and n}
    words = ", ".join(f"{count} {status}" for status, count in failed.items())
    total = sum(failed.values())
    more = f' title="{escape(words)}"' if words else ""
    cells.append(number_cell(str(total), total, more, "num" if total else "num zero"))
    return "".join(cells)


def _alike(standing: Standing) -> str:
    """Words for a pointer over the tier."""
    teams = ", ".join(standing.not_told_apart_from)
    return f' title="not told apart from {escape(teams)}"' if teams else ""


def _interval(metric: str, interval: Interval | None) -> str:
    if interval is None:
        return ""
    digits = 2 if metric == "seconds" else 3
    return _small(f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}")


def _small(low: str, high: str) -> str:
    """An interval in small print, called so where it is read aloud."""
    return f' <small><span class="unseen">interval </span>{low}–{high}</small>'
