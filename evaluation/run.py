"""``run``: every team on every case, one fresh container a case, resumable at any moment."""

import argparse
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol as Interface

from evaluation.dataset import Case, read_cases
from evaluation.engine import connect
from evaluation.errors import EngineError, EvaluationError, UsageError
from evaluation.host import describe_host, describe_versions
from evaluation.outcomes import CaseRun, Status
from evaluation.process_runner import ProcessRunner
from evaluation.protocol import Protocol
from evaluation.protocol_options import add_protocol_arguments, protocol_from
from evaluation.run_folder import RunFolder, write_json
from evaluation.runner import DockerRunner
from evaluation.schedule import Schedule
from evaluation.staging import Folders
from evaluation.teams import SourceKind, Submission, Team, parse_build_args, parse_teams

logger = logging.getLogger(__name__)

TEAM_SCHEMA = 1
"""Version of the fields of ``team.json``."""


class Runner(Interface):
    """What can run a submission: containers of Docker Engine, or plain processes."""

    name: str

    def describe(self) -> dict[str, str]:
        """Return versions of what runs the submissions."""

    def prepare(self, team: Team, build_args: Mapping[str, str], build_log: Path) -> Submission:
        """Make a team's submission ready to run."""

    def clear_leftovers(self) -> int:
        """End and remove what killed harnesses left running; return how many."""

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run one case; raises HarnessFault when that fails through no fault of the submission."""

    def close(self) -> None:
        """Let go of the engine."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.add_argument(
        "--team",
        action="append",
        required=True,
        metavar="NAME=SOURCE",
        help="image reference, docker save archive or folder with a Dockerfile; repeatable",
    )
    parser.add_argument(
        "--cases", type=Path, required=True, metavar="DIR", help="folder of cases (*.npz)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="run folder; an old one is resumed"
    )
    parser.add_argument(
        "--runner",
        choices=("auto", "docker", "process"),
        default="auto",
        help="auto: docker if an engine answers, else process (folders only, not isolated)",
    )
    parser.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="build argument for teams that are folders; repeatable",
    )
    add_protocol_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Run what is not yet recorded; 0 when every case has a final record, else 1."""
    protocol = protocol_from(args)
    teams = parse_teams(args.team)
    build_args = parse_build_args(args.build_arg)
    cases = read_cases(args.cases)
    with (
        RunFolder(args.out) as folder,
        _stoppable(),
        _runner(args, teams, protocol, folder) as runner,
    ):
        submissions = []
        for team in teams:
            submissions.append(runner.prepare(team, build_args, folder.team(team.name).build_log))
            describe_team(folder, submissions[-1], runner, protocol, cases)
        schedule = Schedule(folder, runner, protocol, submissions, cases)
        schedule.run()
        for name, line in schedule.carried().items():
            logger.warning("%s: %s", name, line)
        return summarise(schedule.counts(), len(cases) * len(teams))


def summarise(counts: Mapping[str, Counter[Status]], expected: int) -> int:
    """Log how each team's cases ended; 1 if any has no final record.

    Raises EvaluationError when cases got lost on the way, which would be an error of ours.
    """
    for team, statuses in counts.items():
        parts = ", ".join(f"{statuses[status]} {status}" for status in Status if statuses[status])
        logger.info("%s: %d cases: %s", team, statuses.total(), parts)
    found = sum(statuses.total() for statuses in counts.values())
    if found != expected:
        raise EvaluationError(f"expected {expected} records, found {found}")
    faults = sum(statuses[Status.HARNESS_FAULT] for statuses in counts.values())
    if faults:
        logger.error("%d cases were not run by fault of the harness; run again to resume", faults)
    return 1 if faults else 0


def describe_team(
    folder: RunFolder,
    submission: Submission,
    runner: Runner,
    protocol: Protocol,
    cases: Sequence[Case],
) -> None:
    """Write ``team.json``."""
    place = folder.team(submission.team.name)
    place.create()
    description = {
        "schema": TEAM_SCHEMA,
        "team": submission.team.name,
        "source_kind": submission.team.kind.value,
        "source": submission.team.source,
        "runner": runner.name,
        "reference": submission.reference,
        "digest": submission.digest,
        "size_bytes": submission.size_bytes,
        "cases": len(cases),
        "protocol": asdict(protocol),
        "protocol_sha256": protocol.digest,
        "host": describe_host(),
        "versions": describe_versions() | runner.describe(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(place.description, description)


def choose_runner(
    choice: str, teams: Sequence[Team], protocol: Protocol, folder: RunFolder
) -> Runner:
    """Return the runner that ``choice`` means; says so when ``auto`` finds no engine."""
    if choice == "process":
        return ProcessRunner(protocol, folder.lock)
    try:
        return DockerRunner(connect(), protocol, folder.lock)
    except EngineError as error:
        others = [team for team in teams if team.kind is not SourceKind.FOLDER]
        if choice == "docker":
            raise
        if others:
            named = ", ".join(f"{team.name} ({team.kind})" for team in others)
            raise EngineError(f"{named}: {error}") from error
        logger.warning("%s", error)
        logger.warning("running predict.sh in processes instead: fresh folders, but no isolation")
        return ProcessRunner(protocol, folder.lock)


@contextmanager
def _runner(
    args: argparse.Namespace, teams: Sequence[Team], protocol: Protocol, folder: RunFolder
) -> Iterator[Runner]:
    """Yield the runner; what it left behind is cleared before and after."""
    runner = choose_runner(args.runner, teams, protocol, folder)
    try:
        _check_user(runner, protocol)
        cleared = runner.clear_leftovers()
        if cleared:
            logger.info("cleared %d leftovers of an interrupted run", cleared)
        try:
            yield runner
        finally:
            runner.clear_leftovers()
    finally:
        runner.close()


def _check_user(runner: Runner, protocol: Protocol) -> None:
    """Raise UsageError where masks would belong to a user whose files we cannot read or delete."""
    if runner.name == "process" and protocol.keep_folders:
        raise UsageError("keep-folders: expected Docker Engine, found the process runner")
    ours = os.geteuid()
    if runner.name == "docker" and ours != 0 and protocol.owner != (ours, os.getegid()):
        raise UsageError(
            f"--user: expected {ours}:{os.getegid()}, found {protocol.user or 'the image’s own'}: "
            "only root can clear up after another user"
        )


@contextmanager
def _stoppable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while the block runs, so that everything is cleared up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
