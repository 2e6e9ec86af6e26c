"""The command `report`: one self-contained HTML file from stored results, and its figures as files.

Reads the scores and team descriptions of the runs and the ranking that `rank` wrote; with the cases
and the truth at hand it also draws pictures. It measures nothing and judges nothing, and the same
files give the same page.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL

from evaluation import __version__
from evaluation.errors import UsageError
from evaluation.report.all_figures import all_figures
from evaluation.report.data import ReportData, gather
from evaluation.report.figure import write_figures
from evaluation.report.page import render
from evaluation.report.pictures import draw_cases
from evaluation.scoring.score_tables import replace_file

REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"

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
        help="folder of rank.json (default: the first RUN)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"page to write (default: {REPORT_FILE} beside it)"
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help=f"folder for every figure as svg and csv (default: {FIGURES_FOLDER} beside the page)",
    )
    parser.add_argument(
        "--pictures", type=int, default=PICTURES, metavar="N", help="draw at most N cases"
    )


def execute(args: argparse.Namespace) -> int:
    """Write page and figures and say where they are."""
    page = write_report(
        args.runs,
        cases=args.cases,
        truth=args.truth,
        out=args.out,
        leaderboard=args.leaderboard,
        figures=args.figures,
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
    figures: Path | None = None,
    pictures: int = PICTURES,
) -> Path:
    """Write the page of some runs and return its path; pictures need both `cases` and `truth`."""
    if (cases is None) != (truth is None):
        raise UsageError("pictures need both --cases and --truth, found only one of them")
    folder = runs[0] if leaderboard is None else leaderboard
    data = gather(runs, folder)
    folders = [team.folder for team in data.teams]
    drawn = draw_cases(data.grid, folders, cases, truth, pictures) if cases and truth else ()
    figured = all_figures(data, runs)
    given = {
        "--cases": cases, "--truth": truth, "--leaderboard": leaderboard, "--out": out,
        "--figures": figures, "--pictures": pictures if pictures != PICTURES else None,
    }  # fmt: skip
    target = folder / REPORT_FILE if out is None else out
    target.parent.mkdir(parents=True, exist_ok=True)
    page = render(data, figured, drawn, _facts(data, truth), _command(runs, given))
    write_figures(figures or target.parent / FIGURES_FOLDER, list(figured))
    replace_file(target, page)
    return target


def _command(runs: Sequence[Path], given: dict[str, Path | int | None]) -> str:
    """The words that write this page again."""
    words = ["python", "-m", "evaluation", "report", *map(str, runs)]
    for flag, value in given.items():
        words += [] if value is None else [flag, str(value)]
    return shlex.join(words)


def _facts(data: ReportData, truth: Path | None) -> dict[str, str]:
    """Versions of what made the page, and a digest of the truth where it was given."""
    facts = {
        "evaluation": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
    if truth is not None:
        facts["truth of all cases sha256"] = digest_of_truth(truth, data.grid.cases)
    return facts


def digest_of_truth(truth: Path, cases: Sequence[str]) -> str:
    """SHA-256 of the lines `SHA-256 case` of the truth files; a missing one is a dash."""
    lines = []
    for case in cases:
        path = truth / f"{case}.npz"
        digest = "-"
        if path.is_file():
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{digest} {case}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
