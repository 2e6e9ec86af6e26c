"""``run``: every team on every case, one fresh container a case, resumable at any moment."""

import argparse
import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from evaluation.dataset import Case, read_cases
from evaluation.errors import EvaluationError
from evaluation.running.host import describe_host, describe_versions
from evaluation.running.measuring import (
    DRIFT_THRESHOLD,
    Sentinel,
    StartUp,
    drift,
    measure_start_up,
    read_ticks,
)
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.protocol_options import add_protocol_arguments, protocol_from
from evaluation.running.remote import RemoteTrial, Workers, check_protocol
from evaluation.running.run_folder import RunFolder, write_json
from evaluation.running.runner import DockerRunner
from evaluation.running.runners import Runner, runners
from evaluation.running.schedule import Schedule
from evaluation.running.teams import Submission, Team, parse_build_args, parse_teams
from evaluation.running.trial import Trial

logger = logging.getLogger(__name__)

TEAM_SCHEMA = 1
"""Version of the fields of ``team.json``."""


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
        "--scheduler",
        default="",
        metavar="ADDRESS",
        help="run on the workers of this Dask scheduler, such as tcp://10.0.0.1:8786",
    )
    parser.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="build argument for teams that are folders; repeatable",
    )
    parser.add_argument(
        "--start-up-runs",
        type=int,
        default=5,
        metavar="N",
        help="runs of each image that do nothing, to measure its start-up; 0 for none",
    )
    parser.add_argument(
        "--sentinel",
        type=int,
        default=25,
        metavar="N",
        help="cases between two runs of the container that shows the machine's drift; 0 for none",
    )
    add_protocol_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Run what is not yet recorded; 0 when every case has a final record, else 1."""
    protocol = protocol_from(args)
    teams = parse_teams(args.team)
    build_args = parse_build_args(args.build_arg)
    cases = read_cases(args.cases)
    if args.scheduler:
        return _execute_remotely(args.scheduler, teams, cases, protocol, args.out)
    with (
        RunFolder(args.out) as folder,
        _stoppable(),
        runners(args.runner, teams, protocol, folder) as lanes,
    ):
        runner, submissions = lanes[0], []
        for team in teams:
            submissions.append(runner.prepare(team, build_args, folder.team(team.name).build_log))
            start_up = _start_up(runner, submissions[-1], protocol, folder, args.start_up_runs)
            describe_team(folder, submissions[-1], runner, protocol, cases, start_up)
        sentinel = _sentinel(runner, submissions[0], protocol, folder, args.sentinel)
        trials = [Trial(lane, protocol, folder.work) for lane in lanes]
        schedule = Schedule(folder, trials, runner.name, protocol, submissions, cases, sentinel)
        schedule.run(runner.clear_leftovers)
        _tell_drift(folder)
        for name, line in schedule.carried().items():
            logger.warning("%s: %s", name, line)
        return summarise(schedule.counts(), len(cases) * len(teams))


def _execute_remotely(
    scheduler: str, teams: Sequence[Team], cases: Sequence[Case], protocol: Protocol, out: Path
) -> int:
    """Run on the workers of a Dask scheduler; as execute otherwise."""
    check_protocol(protocol, teams)
    with RunFolder(out) as folder, _stoppable(), closing(Workers(scheduler)) as workers:
        hosts = workers.describe(protocol)
        submissions = [workers.prepare(team) for team in teams]
        for submission in submissions:
            describe_team(folder, submission, None, protocol, cases, workers=hosts)
        trials = [RemoteTrial(workers, address, protocol) for address in workers.addresses]
        schedule = Schedule(folder, trials, DockerRunner.name, protocol, submissions, cases)
        schedule.run(workers.close)
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
    runner: Runner | None,
    protocol: Protocol,
    cases: Sequence[Case],
    start_up: StartUp | None = None,
    workers: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write ``team.json``; without a runner here, ``workers`` with their hardware run the cases."""
    place = folder.team(submission.team.name)
    place.create()
    description = {
        "schema": TEAM_SCHEMA,
        "team": submission.team.name,
        "source_kind": submission.team.kind.value,
        "source": submission.team.source,
        "runner": runner.name if runner else DockerRunner.name,
        "reference": submission.reference,
        "digest": submission.digest,
        "size_bytes": submission.size_bytes,
        "cases": len(cases),
        "start_up": None if start_up is None else asdict(start_up),
        "protocol": asdict(protocol),
        "protocol_sha256": protocol.digest,
        "host": dict(runner.machine) if runner else describe_host(),
        "hardware": [runner.hardware] if runner else [worker["hardware"] for worker in workers],
        "versions": describe_versions() | (runner.describe() if runner else {}),
        "workers": list(workers),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(place.description, description)


def _start_up(
    runner: Runner, submission: Submission, protocol: Protocol, folder: RunFolder, runs: int
) -> StartUp | None:
    if not isinstance(runner, DockerRunner) or runs == 0:
        return None
    start_up = measure_start_up(runner, submission, protocol, folder.work, runs)
    if start_up is None:
        logger.warning("%s: no shell in the image to measure its start-up", submission.team.name)
    else:
        shown = (submission.team.name, start_up.median_s, start_up.spread_s)
        logger.info("%s: the container's own start-up takes %.3f s (spread %.3f s)", *shown)
    return start_up


def _sentinel(
    runner: Runner, submission: Submission, protocol: Protocol, folder: RunFolder, every: int
) -> Sentinel | None:
    if not isinstance(runner, DockerRunner) or every == 0:
        return None
    return Sentinel(runner, submission, protocol, folder.path, folder.work, every)


def _tell_drift(folder: RunFolder) -> None:
    spread = drift(read_ticks(folder.path))
    if spread is not None:
        level = logging.WARNING if spread > DRIFT_THRESHOLD else logging.INFO
        logger.log(
            level, "drift of the machine: the sentinel's times spread by %.0f %%", 100 * spread
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
