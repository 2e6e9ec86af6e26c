"""``check``: what a participant runs before submitting; one page of verdicts and how to mend each.

The submission is run as a run would run it, on two ordinary cases twice and on odd ones once, all
made up. Nothing is said about accuracy.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.checking.odd_cases import ORDINARY, write_cases
from evaluation.checking.verdicts import Evidence, Level, judge_submission
from evaluation.dataset import Case, digest_of, read_cases
from evaluation.running.engine import connect
from evaluation.running.measuring import measure_start_up
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.protocol_options import add_protocol_arguments, protocol_from
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import RunFolder, TeamFolder
from evaluation.running.runner import DockerRunner
from evaluation.running.teams import Submission, parse_build_args, parse_team
from evaluation.running.trial import Trial

logger = logging.getLogger(__name__)

START_UP_RUNS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``check``."""
    parser.add_argument(
        "image", metavar="IMAGE", help="image reference, docker save archive or folder"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep logs and masks here; else thrown away"
    )
    parser.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="build argument for a folder; repeatable",
    )
    add_protocol_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Try a submission and print the page; 1 when a verdict is FAIL."""
    protocol = protocol_from(args)
    with tempfile.TemporaryDirectory(prefix="check-") as temporary:
        base = args.out or Path(temporary)
        evidence = try_submission(args.image, args.build_arg, protocol, base)
    verdicts = judge_submission(evidence)
    logger.info("%s under %s", args.image, protocol.name)
    for verdict in verdicts:
        logger.info("%-5s%-22s%s", verdict.level, verdict.subject, verdict.finding)
        if verdict.mending:
            logger.info("     %-22s-> %s", "", verdict.mending)
    failed = sum(verdict.level is Level.FAIL for verdict in verdicts)
    logger.info("%d of %d verdicts are FAIL", failed, len(verdicts))
    return 1 if failed else 0


def try_submission(
    source: str, build_args: Sequence[str], protocol: Protocol, base: Path
) -> Evidence:
    """Run a submission on the made-up cases below ``base``."""
    with RunFolder(base) as folder:
        write_cases(folder.work / "cases")
        cases = read_cases(folder.work / "cases")
        runner = DockerRunner(connect(), protocol, folder.lock)
        try:
            team = parse_team(f"check={source}")
            place = folder.team("check")
            submission = runner.prepare(team, parse_build_args(build_args), place.build_log)
            trial = Trial(runner, protocol, folder.work)
            start_up = measure_start_up(trial, submission, protocol, START_UP_RUNS)
            again = folder.team("check-again")
            ordinary = [case for case in cases if case.name in ORDINARY]
            first = _run_all(trial, submission, cases, place)
            second = _run_all(trial, submission, ordinary, again)
        finally:
            runner.clear_leftovers()
            runner.close()
        same = {
            name: _same_mask(place.mask(name), again.mask(name))
            for name in ORDINARY
            if first[name].status is second[name].status is Status.OK
        }
    return Evidence(submission, protocol, first, second, same, start_up)


def _run_all(
    trial: Trial, submission: Submission, cases: Sequence[Case], place: TeamFolder
) -> dict[str, CaseRecord]:
    place.create()
    return {
        case.name: trial.run(submission, case, digest_of(case.path), case.path, place)
        for case in cases
    }


def _same_mask(one: Path, other: Path) -> bool:
    """Compare labels and not bytes: an archive may hold the time at which it was written."""
    with np.load(one) as first, np.load(other) as second:
        return bool(np.array_equal(first["segs"], second["segs"]))
