"""Significance maps: a square a pair of teams."""

from __future__ import annotations

from evaluation.ranking.results import Board, Ranking, Significance
from evaluation.report.drawing import number, shortened, text
from evaluation.report.figure import WIDTH, Cell, Figure
from evaluation.report.html import counted

_LEFT, _RIGHT = 136, 14

METRIC_TITLES = {"dsc": "DSC", "nsd": "NSD", "seconds": "run time"}


def significance_plot(board: Board, tests: Significance, ranking: Ranking) -> Figure:
    """Which team is better than which in one metric, both in the order of the board."""
    standings, top = board.schemes[0].standings, 34.0
    at = {team.team: index for index, team in enumerate(board.teams)}
    alpha = float(ranking.rules.get("alpha", 0.05))
    width = min((WIDTH - _LEFT - _RIGHT) / len(standings), 26)
    height = max(width, 14.0)
    square = f"h{number(width - 1)}v{number(height - 1)}h-{number(width - 1)}Z"
    parts = [
        text(_LEFT + width * len(standings) / 2, 8, "than the team of place", "middle", "tick")
    ]
    rows: list[tuple[Cell, ...]] = []
    squares: dict[str, list[str]] = {"better": [], "notbetter": []}
    for lane, one in enumerate(standings):
        y = top + lane * height
        label = f"{one.place} {shortened(one.team)}"
        parts.append(text(_LEFT - 6, y + height / 2, label, "end", "small"))
        across = _LEFT + (lane + 0.5) * width
        parts.append(text(across, top - 8, str(one.place), "middle", "tiny"))
        for column, other in enumerate(standings):
            p = tests.p_holm[at[one.team]][at[other.team]]
            if p is None:
                continue
            rows.append((one.team, other.team, tests.p[at[one.team]][at[other.team]], p))
            place = f"M{number(_LEFT + column * width)} {number(y)}"
            squares["better" if p < alpha else "notbetter"].append(place + square)
    parts += [f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in squares.items() if d]
    pairs = len(standings) * (len(standings) - 1) // 2
    name = METRIC_TITLES[tests.metric]
    return Figure(
        name=f"significance-{tests.metric}-{board.name.lower()}",
        title=f"Significance in {name}, {board.name}",
        caption=(
            f"Dark: the team of the row is better in {name} than the team of the column (one-sided "
            f"Wilcoxon signed-rank test over {counted(board.cases, 'case')}, "
            f"Holm-adjusted p < {alpha:g}). "
            f"{len(squares['better'])} of {pairs} pairs of teams can be told apart in it."
        ),
        height=top + height * len(standings) + 6,
        drawing="".join(parts),
        columns=("better_team", "than_team", "p", "p_holm"),
        rows=tuple(rows),
    )
