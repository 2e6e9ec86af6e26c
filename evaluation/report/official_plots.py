"""The organisers' numbers beside ours: places from one to the other, and the scores that differ."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.ranking.results import Board, TeamResult
from evaluation.report.drawing import circle, line, shortened, text
from evaluation.report.figure import Cell, Figure
from evaluation.report.html import counted

_ROW, _TOP = 18, 40
_FIRST, _SECOND = 148, 252


def official_plots(boards: Sequence[Board]) -> list[Figure]:
    """A ladder of places for every board with more than one team."""
    return [_ladder(board) for board in boards if len(board.teams) > 1]


def _ladder(board: Board) -> Figure:
    ours = [(each.place, each.team) for each in board.schemes[0].standings]
    position = {team: index for index, (_, team) in enumerate(ours)}
    results = {result.team: result for result in board.teams}
    theirs = sorted((results[team].official.place, position[team], team) for _, team in ours)
    spot = {team: _TOP + (lane + 0.5) * _ROW for lane, (_, _, team) in enumerate(theirs)}
    parts = [
        text(_FIRST, 14, "our scores", "end"),
        text(_SECOND, 14, "organisers’ script", "start"),
    ]
    changed = 0
    for lane, (place, team) in enumerate(ours):
        official = results[team].official.place
        left, right = (_FIRST + 10, _TOP + (lane + 0.5) * _ROW), (_SECOND - 10, spot[team])
        kind = "same" if official == place else "up" if official < place else "down"
        changed += kind != "same"
        ends = circle(*left, 3, "end") + circle(*right, 3, "end")
        parts.append(f'<g class="{kind}">{line([left, right], "ladder")}{ends}</g>')
        parts.append(text(_FIRST, left[1], f"{place} {shortened(team)}", "end"))
        parts.append(text(_SECOND, right[1], f"{official} {shortened(team)}"))
    words = "No team changes its place."
    if changed:
        words = f"{changed} of {len(ours)} teams would have another place."
    return Figure(
        name=f"official-places-{board.name.lower()}",
        title=f"Places by our scores and by the organisers’ script, {board.name}",
        caption=(
            f"{counted(board.cases, 'case')}, the same masks, run times and scheme. "
            "Full line: the script "
            f"puts the team higher; dashed: lower; pale: the same. {words}"
        ),
        height=_TOP + _ROW * len(ours) + 10,
        drawing="".join(parts),
        columns=(
            *("team", "place", "official_place"),
            *("mean_dsc", "official_mean_dsc", "mean_nsd", "official_mean_nsd"),
        ),
        rows=tuple(_row(place, results[team]) for place, team in ours),
    )


def _row(place: int, result: TeamResult) -> tuple[Cell, ...]:
    mean, official = result.mean, result.official
    scores = (mean.dsc, official.dsc, mean.nsd, official.nsd)
    return (result.team, place, official.place, *scores)
