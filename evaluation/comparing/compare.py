"""The command `compare`: what did a change bring? B against A, on the cases that both have.

For DSC, NSD, seconds and peak memory, on every part of the cases (all, 2D, 3D, each modality): the
means, the mean paired difference B - A with a bootstrap interval over patient groups, how often
each is the better one, and Wilcoxon's signed-rank test. Times count where both are ok and were
taken on equal, known hardware; memory where both are ok and were measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.comparing.intervals import BOOTSTRAPS, SEED, Members, paired_interval
from evaluation.comparing.pairing import Pair, pair_up, strata
from evaluation.comparing.written import as_csv_text, write_three
from evaluation.errors import UsageError
from evaluation.ranking.bootstrap import groups_of_kinds, lone_remark
from evaluation.ranking.groups import read_groups
from evaluation.ranking.paired_tests import test_pairs
from evaluation.ranking.score_matrix import Floats
from evaluation.ranking.tables import aligned

SCHEMA = 1
"""Version of compare.json and .csv."""

METRICS = ("dsc", "nsd", "seconds", "peak_bytes")

HIGH_IS_BETTER = ("dsc", "nsd")

DIGITS = 6


@dataclass(frozen=True)
class Difference:
    """One metric on one part of the cases; a row of compare.csv. None where nothing compares."""

    part: str
    metric: str
    n: int
    """Cases with a value in both that may be compared."""
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    """Mean of B - A."""
    low: float | None
    high: float | None
    """Its bootstrap interval, by patient group; None of fewer than two groups."""
    ratio: float | None
    """Geometric mean of B / A, of seconds and memory."""
    wins: int
    """Cases in which B is better."""
    losses: int
    ties: int
    p_better: float | None
    p_worse: float | None
    """One-sided signed-rank tests: B better than A; B worse than A."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `compare`."""
    parser.add_argument("a", type=Path, metavar="A", help="RUN/TEAM, scored: before")
    parser.add_argument("b", type=Path, metavar="B", help="RUN/TEAM, scored: after")
    parser.add_argument(
        "--groups", type=Path, metavar="CSV", help="patient group of each case, as for rank"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="A", help="1 less the intervals' coverage"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for compare.* (default: B)")


def execute(args: argparse.Namespace) -> int:
    """Compare, write compare.json, .csv and .txt and print the text."""
    if not 0 < args.alpha < 1:
        raise UsageError(f"--alpha: expected between 0 and 1, found {args.alpha}")
    pair = pair_up(args.a, args.b)
    groups = {} if args.groups is None else read_groups(args.groups)
    found = [
        difference_of(pair, part, cases, metric, groups, args.alpha)
        for part, cases in strata(pair).items()
        for metric in METRICS
    ]
    strata_of_all = groups_of_kinds(_members(pair.cases, groups), _kinds_of(pair, pair.cases))
    text = as_text(pair, found, lone_remark(strata_of_all))
    content = {
        "schema": SCHEMA,
        "a": pair.one.folder.name,
        "b": pair.other.folder.name,
        "alpha": args.alpha,
        "bootstraps": BOOTSTRAPS,
        "seed": SEED,
        "cases": len(pair.cases),
        "only_in_a": pair.only_one,
        "only_in_b": pair.only_other,
        "statuses": status_changes(pair),
        "differences": [dataclasses.asdict(each) for each in found],
    }
    table = as_csv_text(SCHEMA, Difference, found)
    write_three(args.out or pair.other.folder, "compare", content, table, text)
    print(text)
    return 0


def difference_of(
    pair: Pair, part: str, cases: list[str], metric: str, groups: Mapping[str, str], alpha: float
) -> Difference:
    """Compare one metric on some cases."""
    values = {case: found for case in cases if (found := _values(pair, case, metric))}
    if not values:
        return Difference(part, metric, 0, *(None,) * 6, 0, 0, 0, None, None)
    both = np.array(list(values.values()), dtype=float).T  # (2, n): A, B
    members = _members(values, groups)
    better_low = -both if metric in HIGH_IS_BETTER else both
    tests = test_pairs(better_low, members, alpha)
    change = np.round(better_low[1] - better_low[0], 10)
    ends = paired_interval(both[1] - both[0], members, _kinds_of(pair, values), alpha)
    low, high = (None if end is None else _rounded(end) for end in ends)
    return Difference(
        part=part,
        metric=metric,
        n=len(values),
        mean_a=_rounded(both[0].mean()),
        mean_b=_rounded(both[1].mean()),
        difference=_rounded((both[1] - both[0]).mean()),
        low=low,
        high=high,
        ratio=_ratio(both) if metric not in HIGH_IS_BETTER else None,
        wins=int((change < 0).sum()),
        losses=int((change > 0).sum()),
        ties=int((change == 0).sum()),
        p_better=float(f"{tests.p[0, 1, 0]:.6g}"),
        p_worse=float(f"{tests.p[0, 0, 1]:.6g}"),
    )


def status_changes(pair: Pair) -> dict[str, int]:
    """Count the cases by "status in A -> status in B" where the two differ."""
    changes: dict[str, int] = {}
    for case in pair.cases:
        before, after = pair.one.rows[case].status, pair.other.rows[case].status
        if before != after:
            changes[f"{before} -> {after}"] = changes.get(f"{before} -> {after}", 0) + 1
    return dict(sorted(changes.items()))


def as_text(pair: Pair, found: list[Difference], remark: str = "") -> str:
    """One line for each part and metric that compares, below what is to be known of all."""
    lines = [f"A {pair.one.folder.name}, B {pair.other.folder.name}: {len(pair.cases)} cases"]
    lines += [f"{count} cases: {change}" for change, count in status_changes(pair).items()]
    for name, only in (("A", pair.only_one), ("B", pair.only_other)):
        if only:
            lines.append(f"{len(only)} cases are in {name} alone and not compared")
    rows = [["part", "metric", "cases", "A", "B", "B - A", "interval", "B / A", "wins", "losses"]]
    rows[0] += ["ties", "p better", "p worse"]
    rows += [_text_row(each) for each in found if each.n]
    if not any(each.n for each in found if each.metric == "seconds"):
        lines.append("no times compare: none were taken on equal, known hardware")
    if remark:
        lines.append(remark)
    return "\n".join([*lines, "", *aligned(rows, 2)])


def _text_row(found: Difference) -> list[str]:
    scale, title, decimals = {
        "dsc": (1.0, "DSC", 4),
        "nsd": (1.0, "NSD", 4),
        "seconds": (1.0, "seconds", 2),
        "peak_bytes": (2.0**20, "peak MiB", 0),
    }[found.metric]

    def shown(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{value / scale:{sign}.{decimals}f}"

    interval = "-" if found.low is None else f"{shown(found.low, '+')} to {shown(found.high, '+')}"
    ratio = "" if found.ratio is None else f"{found.ratio:.3f}"
    return [
        *(found.part, title, str(found.n), shown(found.mean_a), shown(found.mean_b)),
        *(shown(found.difference, "+"), interval, ratio),
        *(str(found.wins), str(found.losses), str(found.ties)),
        *(f"{found.p_better:.2g}", f"{found.p_worse:.2g}"),
    ]


def _values(pair: Pair, case: str, metric: str) -> tuple[float, float] | None:
    """Return A's and B's value of a case, or None where they cannot be compared."""
    one: float | None
    other: float | None
    if metric == "seconds":
        one, other = pair.one.seconds(case), pair.other.seconds(case)
        if not pair.equal_hardware(case):
            return None
    elif metric == "peak_bytes":
        one, other = pair.one.peak_bytes(case), pair.other.peak_bytes(case)
    else:
        one, other = (getattr(result.rows[case], metric) for result in (pair.one, pair.other))
    return None if one is None or other is None else (one, other)


def _kinds_of(pair: Pair, cases: Iterable[str]) -> list[tuple[str, int]]:
    rows = pair.one.rows
    return [(rows[case].modality, rows[case].dimensions or 0) for case in cases]


def _members(cases: Iterable[str], groups: Mapping[str, str]) -> Members:
    """Return the number of each case's group; without one a case is a group of its own."""
    return np.unique([groups.get(case, f"case {case}") for case in cases], return_inverse=True)[1]


def _ratio(both: Floats) -> float | None:
    if not (both > 0).all():
        return None
    return _rounded(math.exp(float(np.log(both[1] / both[0]).mean())))


def _rounded(value: float) -> float:
    return round(float(value), DIGITS) + 0.0
