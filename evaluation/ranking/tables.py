"""The ranking as leaderboard.csv, leaderboard.md and as text for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from evaluation.ranking.results import METRICS, SCHEMA, Board, Interval, Ranking, Scheme
from evaluation.scoring.score_tables import OK

METRIC_TITLES = {"dsc": "DSC", "nsd": "NSD", "seconds": "seconds"}

METRIC_DECIMALS = {"dsc": 4, "nsd": 4, "seconds": 2}
"""Decimals for people; rank.json and leaderboard.csv keep all that is stored."""

_COLUMNS = (
    *("schema", "board", "scheme", "place", "tier", "team", "score"),
    *(f"score_{metric}" for metric in METRICS),
    *("place_low", "place_high", "first", "official_place", "official_dsc", "official_nsd"),
    *("cases", "failed"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
)


def as_csv(ranking: Ranking) -> str:
    """One row for each board, scheme and team; columns for every modality of any board."""
    modalities = sorted({name for board in ranking.boards for name in board.modalities})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cells = [f"{metric}_{modality}" for modality in modalities for metric in METRICS]
    writer.writerow([*_COLUMNS, *cells])
    for board in ranking.boards:
        for scheme in board.schemes:
            writer.writerows(_csv_rows(board, scheme, modalities))
    return text.getvalue()


def as_markdown(ranking: Ranking) -> str:
    """The boards under the scheme of the rules, and the places under the others."""
    parts = []
    for board in ranking.boards:
        head, *body = _main_rows(board)
        lines = [f"## {board.name}: {board.cases} cases, {board.schemes[0].name}", ""]
        lines += [_markdown_row(head), _markdown_row(["---"] * 3 + ["---:"] * (len(head) - 3))]
        lines += [_markdown_row(row) for row in body]
        head, *body = _modality_rows(board)
        lines += ["", _markdown_row(head)]
        lines.append(_markdown_row(["---"] * 2 + ["---:"] * (len(head) - 2)))
        lines += [_markdown_row(row) for row in body]
        failures = _failures(board)
        parts.append("\n".join([*lines, *([""] if failures else []), *failures]) + "\n")
    notes = [f"- {warning}\n" for warning in ranking.warnings]
    return "\n".join(parts) + ("\n" + "".join(notes) if notes else "")


def as_text(ranking: Ranking) -> str:
    """The boards as aligned columns."""
    parts = []
    for board in ranking.boards:
        lines = [
            f"{board.name}: cases {board.cases}, modalities {len(board.modalities)}, "
            f"{board.schemes[0].name}"
        ]
        lines += aligned(_main_rows(board), 3) + [""] + aligned(_modality_rows(board), 2)
        parts.append("\n".join([*lines, *_failures(board)]))
    return "\n\n".join([*parts, *ranking.warnings])


def format_value(metric: str, value: float | None) -> str:
    """Write a mean with the decimals of its metric; a dash for none."""
    return "-" if value is None else f"{value:.{METRIC_DECIMALS[metric]}f}"


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns of equal width, the first ones to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _csv_rows(board: Board, scheme: Scheme, modalities: Sequence[str]) -> list[list[object]]:
    results = {result.team: result for result in board.teams}
    rows = []
    for standing in scheme.standings:
        result = results[standing.team]
        row: list[object] = [SCHEMA, board.name, scheme.name, standing.place, standing.tier]
        row += [standing.team, standing.score]
        row += [getattr(standing.metric_scores, metric) for metric in METRICS]
        row += [standing.places.low, standing.places.high, standing.first]
        row += [result.official.place, result.official.dsc, result.official.nsd]
        row += [board.cases, board.cases - result.statuses.get(OK, 0)]
        for metric in METRICS:
            row += [getattr(result.mean, metric), *_ends(result.interval[metric])]
        for modality in modalities:
            means = result.modalities.get(modality)
            row += [None if means is None else getattr(means, metric) for metric in METRICS]
        rows.append(row)
    return rows


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _main_rows(board: Board) -> list[list[str]]:
    """Place, tier and team; score, interval of the place, chance of being first; means; others."""
    results = {result.team: result for result in board.teams}
    head = ["#", "tier", "team", "score", "places", "first"]
    head += [METRIC_TITLES[metric] for metric in METRICS]
    others = board.schemes[1:]
    rows = [[*head, *(f"# {scheme.name}" for scheme in others)]]
    places = [{each.team: each.place for each in scheme.standings} for scheme in others]
    for standing in board.schemes[0].standings:
        mean = results[standing.team].mean
        rows.append(
            [
                str(standing.place),
                str(standing.tier),
                standing.team,
                f"{standing.score:.3f}",
                f"{standing.places.low:g} to {standing.places.high:g}",
                f"{100 * standing.first:.1f} %",
                *(format_value(metric, getattr(mean, metric)) for metric in METRICS),
                *(str(place[standing.team]) for place in places),
            ]
        )
    return rows


def _modality_rows(board: Board) -> list[list[str]]:
    """One row a team and metric, one column a modality."""
    results = {result.team: result for result in board.teams}
    titles = [f"{modality} ({cases})" for modality, cases in board.modalities.items()]
    rows = [["team", "metric", *titles]]
    for standing in board.schemes[0].standings:
        found = results[standing.team].modalities
        for metric in METRICS:
            cells = [
                format_value(metric, getattr(found[name], metric)) for name in board.modalities
            ]
            rows.append([standing.team, METRIC_TITLES[metric], *cells])
    return rows


def _failures(board: Board) -> list[str]:
    """A line for each team with cases that are not ok."""
    lines = []
    for result in board.teams:
        failed = {status: n for status, n in result.statuses.items() if status != OK}
        if failed:
            kinds = ", ".join(f"{count} {status}" for status, count in failed.items())
            lines.append(f"{result.team}: {sum(failed.values())} of {board.cases} failed: {kinds}")
    return lines


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
