"""The command `reproduce`: did running a submission again give the result that was claimed?

The answer is one of four: the masks are identical; the scores agree within the margin; they do not;
or there are too few cases to say. Both DSC and NSD must agree, in the mean over all cases, and no
modality and no dimension may be shown to differ. A case with another status is not reproduced,
whatever it scores.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.comparing.agreement import Agreement, agree
from evaluation.comparing.pairing import Pair, pair_up, strata
from evaluation.comparing.written import as_csv_text, write_three
from evaluation.dataset import array_headers, digest_of
from evaluation.errors import EvaluationError, UsageError
from evaluation.ranking.tables import aligned
from evaluation.scoring.labelmaps import read_mask
from evaluation.scoring.score_tables import OK

SCHEMA = 1
"""Version of reproduce.json and .csv."""

METRICS = ("dsc", "nsd")

NOT_REPRODUCED = 4
UNDECIDED = 3
"""Exit codes beside 0, reproduced; 1 and 2 are errors."""


class Verdict(enum.StrEnum):
    """What came out."""

    IDENTICAL = "reproduced exactly"
    EQUIVALENT = "reproduced within the margin"
    DIFFERENT = "not reproduced"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        """Return the process's exit code."""
        codes = {Verdict.DIFFERENT: NOT_REPRODUCED, Verdict.UNDECIDED: UNDECIDED}
        return codes.get(self, 0)


class Masks(enum.StrEnum):
    """Whether two masks of a case are the same."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    UNKNOWN = "not there"


@dataclass(frozen=True)
class CaseAgreement:
    """One case of both results; a row of reproduce.csv."""

    case: str
    modality: str
    dimensions: int | None
    original_status: str
    rerun_status: str
    masks: str
    dsc_original: float
    dsc_rerun: float
    dsc_difference: float
    nsd_original: float
    nsd_rerun: float
    nsd_difference: float
    within_margin: bool
    """Status equal and both differences at most the margin."""


@dataclass(frozen=True)
class Reproduction:
    """Everything that `reproduce` finds."""

    original: str
    rerun: str
    margin: float
    alpha: float
    verdict: Verdict
    reasons: tuple[str, ...]
    masks: dict[str, int]
    statuses_differ: int
    only_in_original: tuple[str, ...]
    only_in_rerun: tuple[str, ...]
    agreement: dict[str, dict[str, Agreement]]
    """By part (all, 2D, 3D, modality) and metric."""
    seconds: dict[str, Any]
    """Median of rerun / original over cases that are ok in both, and whether hardware is equal."""
    cases: tuple[CaseAgreement, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `reproduce`."""
    parser.add_argument("original", type=Path, metavar="ORIGINAL", help="RUN/TEAM, scored")
    parser.add_argument("rerun", type=Path, metavar="RERUN", help="RUN/TEAM of the repetition")
    parser.add_argument(
        "--margin",
        type=float,
        default=0.01,
        metavar="M",
        help="largest mean difference that counts as the same, in DSC and in NSD",
    )
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="A", help="level of the two one-sided tests"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for reproduce.* (default: RERUN)"
    )


def execute(args: argparse.Namespace) -> int:
    """Compare, write reproduce.json, .csv and .txt, print the text; exit code by the verdict."""
    if not args.margin > 0:
        raise UsageError(f"--margin: expected more than 0, found {args.margin}")
    if not 0 < args.alpha < 0.5:
        raise UsageError(f"--alpha: expected between 0 and 0.5, found {args.alpha}")
    pair = pair_up(args.original, args.rerun)
    found = examine(pair, args.margin, args.alpha)
    text = as_text(found)
    content = {"schema": SCHEMA, **dataclasses.asdict(found)}
    table = as_csv_text(SCHEMA, CaseAgreement, found.cases)
    write_three(args.out or pair.other.folder, "reproduce", content, table, text)
    print(text)
    return found.verdict.exit_code


def examine(pair: Pair, margin: float, alpha: float) -> Reproduction:
    """Compare case by case and part by part, and judge."""
    cases = tuple(_case(pair, case, margin) for case in pair.cases)
    by_name = {each.case: each for each in cases}
    agreement = {
        part: {
            metric: agree(
                [getattr(by_name[case], f"{metric}_original") for case in names],
                [getattr(by_name[case], f"{metric}_rerun") for case in names],
                margin,
                alpha,
            )
            for metric in METRICS
        }
        for part, names in strata(pair).items()
    }
    verdict, reasons = judge(pair, cases, agreement)
    return Reproduction(
        original=pair.one.folder.name,
        rerun=pair.other.folder.name,
        margin=margin,
        alpha=alpha,
        verdict=verdict,
        reasons=tuple(reasons),
        masks=dict(sorted(Counter(each.masks for each in cases).items())),
        statuses_differ=sum(each.original_status != each.rerun_status for each in cases),
        only_in_original=pair.only_one,
        only_in_rerun=pair.only_other,
        agreement=agreement,
        seconds=_seconds(pair),
        cases=cases,
    )


def judge(
    pair: Pair, cases: tuple[CaseAgreement, ...], agreement: dict[str, dict[str, Agreement]]
) -> tuple[Verdict, list[str]]:
    """Return the verdict and the sentences that it rests on."""
    reasons = []
    missing = len(pair.only_one)
    if missing:
        reasons.append(f"{missing} cases of the original were not run again")
    changed = sum(each.original_status != each.rerun_status for each in cases)
    if changed:
        reasons.append(f"{changed} of {len(cases)} cases ended otherwise")
    shown = [
        f"{metric.upper()} of {part} differs by more than the margin"
        for part, metrics in agreement.items()
        for metric, found in metrics.items()
        if found.different
    ]
    if reasons or shown:
        return Verdict.DIFFERENT, reasons + shown
    good = [each for each in cases if each.original_status == OK]
    equal = all(each.dsc_difference == each.nsd_difference == 0 for each in cases)
    if good and equal and all(each.masks == Masks.IDENTICAL for each in good):
        return Verdict.IDENTICAL, ["every mask is identical"]
    if not good:
        return Verdict.UNDECIDED, ["no case is ok, so that there is nothing to reproduce"]
    unsure = [metric for metric, found in agreement["all"].items() if not found.equivalent]
    if unsure:
        names = " and ".join(metric.upper() for metric in unsure)
        return Verdict.UNDECIDED, [f"the mean {names} is not shown to lie within the margin"]
    return Verdict.EQUIVALENT, ["the mean DSC and NSD are shown to lie within the margin"]


def as_text(found: Reproduction) -> str:
    """Verdict first, then a table of the parts."""
    lines = [f"{found.verdict}: {'; '.join(found.reasons)}", ""]
    lines.append(f"original {found.original}, rerun {found.rerun}, margin {found.margin:g}")
    masks = ", ".join(f"{count} {kind}" for kind, count in found.masks.items())
    lines.append(f"masks of {len(found.cases)} cases: {masks}")
    ratio = found.seconds["median_ratio"]
    if ratio is not None:
        note = "" if found.seconds["equal_hardware"] else " (not on equal, known hardware)"
        lines.append(f"seconds: rerun takes {ratio:g} times the original in the median{note}")
    head = ["part", "metric", "cases", "original", "rerun", "bias", "limits of agreement"]
    rows = [[*head, "largest", "beyond", "TOST p"]]
    for part, metrics in found.agreement.items():
        rows += [_text_row(part, metric, each) for metric, each in metrics.items()]
    return "\n".join([*lines, "", *aligned(rows, 2)])


def _text_row(part: str, metric: str, found: Agreement) -> list[str]:
    limits = "-"
    if found.limit_low is not None:
        limits = f"{found.limit_low:+.4f} to {found.limit_high:+.4f}"
    p = "-"
    if found.p_lower is not None and found.p_upper is not None:
        p = f"{max(found.p_lower, found.p_upper):.2g}"
    return [
        *(part, metric.upper(), str(found.n), f"{found.mean_first:.4f}"),
        *(f"{found.mean_second:.4f}", f"{found.bias:+.4f}", limits, f"{found.largest:.4f}"),
        *(str(found.beyond_margin), p),
    ]


def _case(pair: Pair, case: str, margin: float) -> CaseAgreement:
    one, other = pair.one.rows[case], pair.other.rows[case]
    dsc = (one.dsc or 0.0, other.dsc or 0.0)
    nsd = (one.nsd or 0.0, other.nsd or 0.0)
    differences = [round(second - first, 10) for first, second in (dsc, nsd)]
    within = max(abs(difference) for difference in differences) <= margin
    return CaseAgreement(
        case=case,
        modality=one.modality,
        dimensions=one.dimensions,
        original_status=one.status,
        rerun_status=other.status,
        masks=compare_masks(pair, case),
        dsc_original=dsc[0],
        dsc_rerun=dsc[1],
        dsc_difference=differences[0],
        nsd_original=nsd[0],
        nsd_rerun=nsd[1],
        nsd_difference=differences[1],
        within_margin=within and one.status == other.status,
    )


def compare_masks(pair: Pair, case: str) -> Masks:
    """Compare two masks label by label; files may differ where they were packed otherwise."""
    paths = (pair.one.mask(case), pair.other.mask(case))
    if not all(path.is_file() for path in paths):
        return Masks.UNKNOWN
    if digest_of(paths[0]) == digest_of(paths[1]):
        return Masks.IDENTICAL
    try:
        shape = _shape(paths[0])
        one, other = (read_mask(path, shape) for path in paths)
    except EvaluationError:
        return Masks.DIFFERENT
    return Masks.IDENTICAL if np.array_equal(one, other) else Masks.DIFFERENT


def _shape(path: Path) -> tuple[int, ...]:
    headers = array_headers(path)
    return headers["segs"][0] if "segs" in headers else ()


def _seconds(pair: Pair) -> dict[str, Any]:
    ratios, equal = [], True
    for case in pair.cases:
        before, after = pair.one.seconds(case), pair.other.seconds(case)
        if before and after:
            ratios.append(after / before)
            equal &= pair.equal_hardware(case)
    ratio = round(float(np.median(ratios)), 4) if ratios else None
    return {"median_ratio": ratio, "cases": len(ratios), "equal_hardware": bool(ratios) and equal}
