"""``check``: what a participant runs before submitting; one page of verdicts and how to mend each.

The submission is run as a run would run it, on two ordinary cases twice and on odd ones once, all
made up. Nothing is said about accuracy.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from evaluation.checking.odd_cases import MENDING, ORDINARY, write_cases
from evaluation.checking.verdicts import (
    Evidence,
    Level,
    Verdict,
    judge_all,
    judge_contract,
    judge_determinism,
    judge_odd,
    judge_size,
)
from evaluation.dataset import Case, digest_of, read_cases
from evaluation.errors import EngineError, HarnessFault, LimitError, RecordError
from evaluation.running.engine import connect
from evaluation.running.measuring import measure_start_up
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.protocol_options import add_protocol_arguments, protocol_from
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import RunFolder, TeamFolder
from evaluation.running.runner import DockerRunner
from evaluation.running.stopping import stoppable
from evaluation.running.teams import Submission, parse_build_args, parse_team
from evaluation.running.trial import Trial

START_UP_RUNS = 3

FAILED = 1
"""Exit code when a verdict is FAIL; 0 when none is, 2 for wrong usage."""

NOT_DONE = 3
"""Exit code when nothing can be said of the submission: no engine, or a fault of the harness."""


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
    """Try a submission and print each verdict as soon as it is known; see the exit codes below."""
    protocol = protocol_from(args)
    print(f"{args.image} under {protocol.name}", flush=True)
    failed, count = [], 0
    try:
        with stoppable(), tempfile.TemporaryDirectory(prefix="check-") as temporary:
            base = args.out or Path(temporary)
            for verdict in try_submission(args.image, args.build_arg, protocol, base):
                _print(verdict)
                count += 1
                if verdict.level is Level.FAIL:
                    failed.append(verdict.subject)
    except (EngineError, HarnessFault, LimitError, RecordError) as error:
        print(f"check: not done, and not by fault of the submission: {error}", file=sys.stderr)
        return NOT_DONE
    named = f": {', '.join(failed)}" if failed else ""
    print(f"{len(failed)} of {count} verdicts are FAIL{named}")
    return FAILED if failed else 0


def _print(verdict: Verdict) -> None:
    print(f"{verdict.level:<5}{verdict.subject:<22}{verdict.finding}", flush=True)
    if verdict.mending:
        print(f"     {'':<22}-> {verdict.mending}", flush=True)


def try_submission(
    source: str, build_args: Sequence[str], protocol: Protocol, base: Path
) -> Iterator[Verdict]:
    """Run a submission on the made-up cases below ``base``; yield each verdict when it is known.

    Raises HarnessFault when a case could not be run.
    """
    team = parse_team(f"check={source}")
    with (
        RunFolder(base) as folder,
        closing(DockerRunner(connect(), protocol, folder.lock)) as runner,
    ):
        runner.clear_leftovers()  # of a check that was killed
        write_cases(folder.work / "cases")
        cases = {case.name: case for case in read_cases(folder.work / "cases")}
        place, again = folder.team("check"), folder.team("check-again")
        try:
            submission = runner.prepare(team, parse_build_args(build_args), place.build_log)
            yield judge_size(submission.size_bytes)
            trial = Trial(runner, protocol, folder.work)
            start_up = measure_start_up(trial, submission, protocol, START_UP_RUNS)
            records, same = {}, {}
            for name in ORDINARY:
                records[name] = _run(trial, submission, cases[name], place)
                yield judge_contract(records[name])
            for name in ORDINARY:
                second = _run(trial, submission, cases[name], again)
                if records[name].status is second.status is Status.OK:
                    same[name] = _same_mask(place.mask(name), again.mask(name))
            yield judge_determinism(same)
            for name in MENDING:
                records[name] = _run(trial, submission, cases[name], place)
                yield judge_odd(records[name])
            yield from judge_all(Evidence(protocol, records, start_up))
        finally:
            runner.clear_leftovers()


def _run(trial: Trial, submission: Submission, case: Case, place: TeamFolder) -> CaseRecord:
    place.create()
    record = trial.run(submission, case, digest_of(case.path), case.path, place)
    if record.status is Status.HARNESS_FAULT:
        raise HarnessFault(record.reason)
    return record


def _same_mask(one: Path, other: Path) -> bool:
    """Compare labels and not bytes: an archive may hold the time at which it was written."""
    with np.load(one) as first, np.load(other) as second:
        return bool(np.array_equal(first["segs"], second["segs"]))
