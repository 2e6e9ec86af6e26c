"""Before and after, original and repetition (figure 4), from what `compare` and `reproduce` wrote.

Read are compare.json and reproduce.json in the run folders and in those of their teams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evaluation.errors import ReportError
from evaluation.report.drawing import (
    Axis,
    circle,
    grid_across,
    grid_up,
    line,
    linear_axis,
    log_axis,
    number,
    plain,
    text,
)
from evaluation.report.figure import WIDTH, Cell, Figure

SCHEMAS = {"compare": 1, "reproduce": 1}
"""Of the files that are understood."""

_TITLES = {"dsc": "DSC", "nsd": "NSD", "seconds": "Seconds", "peak_bytes": "Peak memory, MB"}
_LEFT, _RIGHT, _TOP, _ROW = 100, 92, 26, 26


def comparison_plots(folders: Iterable[Path]) -> list[Figure]:
    """Figures of every comparison found in some folders."""
    figures: list[Figure] = []
    for folder in folders:
        for kind in SCHEMAS:
            path = folder / f"{kind}.json"
            if path.is_file():
                figures += _figures(kind, path)
    return figures


def _figures(kind: str, path: Path) -> list[Figure]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMAS[kind]:
            raise ReportError(f"{path}: schema must be {SCHEMAS[kind]}, found {content['schema']}")
        return _changes(content) if kind == "compare" else _agreements(content)
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path}: expected what {kind} writes, found: {error!r}") from error


def _changes(content: dict[str, Any]) -> list[Figure]:
    """A row a part of the cases: hollow before, full after, and the difference with interval."""
    figures = []
    for metric, title in _TITLES.items():
        found = [
            each for each in content["differences"] if each["metric"] == metric and each["n"] > 0
        ]
        if found:
            figures.append(_change(content, metric, title, found))
    return figures


def _change(
    content: dict[str, Any], metric: str, title: str, found: Sequence[dict[str, Any]]
) -> Figure:
    scale = 1e-6 if metric == "peak_bytes" else 1.0
    bottom = _TOP + _ROW * len(found)
    values = [scale * each[name] for each in found for name in ("mean_a", "mean_b")]
    axis = _axis(values, metric)
    parts = [
        grid_across(axis, _TOP - 6, bottom, f"{title}, mean"),
        text(WIDTH - _RIGHT + 8, 10, "difference", "start", "tick"),
    ]
    rows: list[tuple[Cell, ...]] = []
    for lane, each in enumerate(found):
        y = _TOP + (lane + 0.5) * _ROW
        before, after = (axis.at(scale * each[name]) for name in ("mean_a", "mean_b"))
        parts.append(text(_LEFT - 8, y - 6, each["part"], "end"))
        parts.append(text(_LEFT - 8, y + 6, f"n={each['n']:,}", "end", "tick"))
        parts.append(line([(before, y), (after, y)], "range"))
        parts.append(circle(before, y, 4, "before") + circle(after, y, 4, "after"))
        parts.append(text(WIDTH - _RIGHT + 8, y - 6, _signed(scale * each["difference"], metric)))
        if each["low"] is not None:
            low, high = (_signed(scale * each[name], metric) for name in ("low", "high"))
            parts.append(text(WIDTH - _RIGHT + 8, y + 6, f"{low} to {high}", "start", "tiny"))
        rows.append(tuple(each[name] for name in _CHANGE_COLUMNS))
    first = found[0]
    percent = f"{100 * (1 - content['alpha']):g} %"
    return Figure(
        name=_slug(f"compare-{content['a']}-{content['b']}-{metric}"),
        title=f"{title}: {content['a']} (before) and {content['b']} (after)",
        caption=(
            f"Means over the cases that both have, paired; hollow: {content['a']}, full: "
            f"{content['b']}. Right: mean difference with its {percent} bootstrap interval. Over "
            f"all {first['n']:,} cases the second is better in {first['wins']:,}, worse in "
            f"{first['losses']:,}."
        ),
        height=bottom + 44,
        drawing="".join(parts),
        columns=_CHANGE_COLUMNS,
        rows=tuple(rows),
    )


_CHANGE_COLUMNS = (
    *("part", "n", "mean_a", "mean_b", "difference", "low", "high", "wins", "losses", "ties"),
    *("p_better", "p_worse"),
)


def _agreements(content: dict[str, Any]) -> list[Figure]:
    return [_bland_altman(content, metric) for metric in ("dsc", "nsd") if content["cases"]]


def _bland_altman(content: dict[str, Any], metric: str) -> Figure:
    """Difference over mean of every case, with bias, limits of agreement and margin."""
    pairs = [
        (case["case"], case[f"{metric}_original"], case[f"{metric}_rerun"])
        for case in content["cases"]
    ]
    points = [((one + other) / 2, other - one) for _, one, other in pairs]
    margin = float(content["margin"])
    agreement = content["agreement"]["all"][metric]
    reach = max(2 * margin, *(abs(y) for _, y in points))
    left, right, top, bottom = 58, 14, 12, 230
    across = linear_axis(min(x for x, _ in points), 1.0, left, WIDTH - right)
    up = linear_axis(-reach, reach, bottom, top)
    title = _TITLES[metric]
    parts = [
        grid_across(across, top, bottom, f"{title}, mean of both"),
        grid_up(up, left, WIDTH - right, "repetition − original"),
    ]
    ends = (left, WIDTH - right)
    parts += [line([(x, up.at(sign * margin)) for x in ends], "margin") for sign in (-1, 1)]
    limits = [agreement[name] for name in ("bias", "limit_low", "limit_high")]
    for value, kind in zip(limits, ("median", "interval", "interval"), strict=True):
        if value is not None:
            parts.append(line([(x, up.at(value)) for x in ends], kind))
    spots = sorted({(number(across.at(x)), number(up.at(y))) for x, y in points})
    dots = "".join(f"M{x} {y}h0" for x, y in spots)
    parts.append(f'<path class="dots large" d="{dots}"/>')
    beyond = agreement["beyond_margin"]
    return Figure(
        name=_slug(f"reproduce-{content['original']}-{content['rerun']}-{metric}"),
        title=f"{title}: {content['original']} and its repetition {content['rerun']}",
        caption=(
            f"Verdict: {content['verdict']}. A dot is one of {len(pairs):,} cases. Thick line: "
            f"mean difference {_signed(agreement['bias'], metric)}; thin lines: limits of "
            f"agreement (1.96 standard deviations); dashed: margin {plain(margin)}, beyond which "
            f"{beyond:,} cases lie."
        ),
        height=bottom + 44,
        drawing="".join(parts),
        columns=("case", "original", "rerun"),
        rows=tuple(pairs),
    )


def _axis(values: Sequence[float], metric: str) -> Axis:
    if metric in ("seconds", "peak_bytes"):
        return log_axis(values, _LEFT, WIDTH - _RIGHT)
    return linear_axis(min(values), max(values), _LEFT, WIDTH - _RIGHT, 4)


def _signed(value: float, metric: str) -> str:
    digits = {"dsc": 4, "nsd": 4, "seconds": 2, "peak_bytes": 1}[metric]
    return f"{value:+.{digits}f}".replace("-", "−")


def _slug(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower())
