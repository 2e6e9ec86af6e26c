"""The command `report`: one self-contained HTML file from stored results.

Reads the scores and team descriptions of the runs and the leaderboard that `rank` wrote; with the
cases and the truth at hand it also draws pictures. It measures nothing and judges nothing, and the
same files give the same page.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL

from evaluation import __version__
from evaluation.errors import UsageError
from evaluation.report.data import gather
from evaluation.report.page import render
from evaluation.report.pictures import draw_cases
from evaluation.scoring.score_tables import replace_file

REPORT_FILE = "report.html"

PICTURES = 36
"""Cases drawn unless told otherwise: about 4 MB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `report`."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folder, scored and ranked"
    )
    parser.add_argument("--cases", type=Path, metavar="DIR", help="input folder, for pictures")
    parser.add_argument("--truth", type=Path, metavar="DIR", help="truth folder, for pictures")
    parser.add_argument(
        "--leaderboard",
        type=Path,
        metavar="DIR",
        help="folder of leaderboard.json (default: the first RUN)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"page to write (default: {REPORT_FILE} beside it)"
    )
    parser.add_argument(
        "--pictures", type=int, default=PICTURES, metavar="N", help="draw at most N cases"
    )


def execute(args: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    page = write_report(
        args.runs,
        cases=args.cases,
        truth=args.truth,
        out=args.out,
        leaderboard=args.leaderboard,
        pictures=args.pictures,
    )
    print(f"report: {page}")
    return 0


def write_report(
    runs: Sequence[Path],
    *,
    cases: Path | None = None,
    truth: Path | None = None,
    out: Path | None = None,
    leaderboard: Path | None = None,
    pictures: int = PICTURES,
) -> Path:
    """Write the page of some runs and return its path; pictures need both `cases` and `truth`."""
    if (cases is None) != (truth is None):
        raise UsageError("pictures need both --cases and --truth, found only one of them")
    folder = runs[0] if leaderboard is None else leaderboard
    data = gather(runs, folder)
    drawn = draw_cases(data, cases, truth, pictures) if cases and truth else ()
    versions = {
        "evaluation": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
    target = folder / REPORT_FILE if out is None else out
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, render(data, drawn, versions))
    return target
