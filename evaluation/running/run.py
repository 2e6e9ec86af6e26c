"""``run``: every team on every case, one fresh container a case, resumable at any moment."""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from evaluation.dataset import Case, read_cases
from evaluation.errors import EvaluationError
from evaluation.running.measuring import (
    DRIFT_THRESHOLD,
    Sentinel,
    drift,
    measure_start_up,
    read_ticks,
)
from evaluation.running.outcomes import Status
from evaluation.running.plan import Plan, Standing
from evaluation.running.protocol import Protocol
from evaluation.running.protocol_options import add_protocol_arguments, protocol_from
from evaluation.running.remote import Workers, check_protocol
from evaluation.running.run_folder import RunFolder, write_json
from evaluation.running.runner import DockerRunner
from evaluation.running.runners import local_crew
from evaluation.running.schedule import AnyTrial, Schedule
from evaluation.running.stopping import stoppable
from evaluation.running.teams import Submission, Team, parse_build_args, parse_teams

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


class Crew(Interface):
    """Who runs the cases: lanes of this machine, or the workers of a scheduler."""

    runner: str
    """Name of what runs submissions, as in records."""

    @property
    def trials(self) -> Sequence[AnyTrial]:
        """Return one for each case that can run at a time."""

    def prepare(self, team: Team, build_args: Mapping[str, str], build_log: Path) -> Submission:
        """Make a team's submission ready to run."""

    def describe(self) -> dict[str, Any]:
        """Return what ``team.json`` says of the machines."""

    def end(self) -> object:
        """End every case that runs, and start none any more."""


def execute(args: argparse.Namespace) -> int:
    """Run what is not yet recorded; 0 when every case has a final record, else 1."""
    protocol = protocol_from(args)
    teams = parse_teams(args.team)
    build_args = parse_build_args(args.build_arg)
    cases = read_cases(args.cases)
    if args.scheduler:
        check_protocol(protocol, teams)
    with RunFolder(args.out) as folder, stoppable(), _crew(args, teams, protocol, folder) as crew:
        submissions = []
        for team in teams:
            submission = crew.prepare(team, build_args, folder.team(team.name).build_log)
            start_up = _start_up(crew, submission, protocol, folder, args.start_up_runs)
            describe_team(folder, submission, crew, protocol, cases, start_up)
            submissions.append(submission)
        plan = Plan(folder, crew.runner, protocol, submissions, cases)
        sentinel = None
        if crew.runner == DockerRunner.name and args.sentinel:
            sentinel = Sentinel(submissions[0], folder.path, args.sentinel)
        Schedule(plan, crew.trials, folder.work, sentinel).run(crew.end)
        _tell_drift(folder)
        standing = plan.standing()
        tell(standing)
        return summarise(standing.counts, len(cases) * len(teams))


def _crew(
    args: argparse.Namespace, teams: Sequence[Team], protocol: Protocol, folder: RunFolder
) -> AbstractContextManager[Crew]:
    if args.scheduler:
        return Workers(args.scheduler, protocol)
    return local_crew(args.runner, teams, protocol, folder)


def tell(standing: Standing) -> None:
    """Log what a reader of the results has to know."""
    for name, line in standing.carried.items():
        logger.warning("%s: %s", name, line)
    if standing.uneven:
        logger.warning(
            "%d cases have times from unequal hardware, which do not compare", standing.uneven
        )


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
    crew: Crew,
    protocol: Protocol,
    cases: Sequence[Case],
    start_up: Mapping[str, Any] | None = None,
) -> None:
    """Write ``team.json``."""
    place = folder.team(submission.team.name)
    place.create()
    description = {
        "schema": TEAM_SCHEMA,
        "team": submission.team.name,
        "source_kind": submission.team.kind.value,
        "source": submission.team.source,
        "runner": crew.runner,
        "reference": submission.reference,
        "digest": submission.digest,
        "size_bytes": submission.size_bytes,
        "cases": len(cases),
        "start_up": start_up,
        "protocol": asdict(protocol),
        "protocol_sha256": protocol.digest,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **crew.describe(),
    }
    write_json(place.description, description)


def _start_up(
    crew: Crew, submission: Submission, protocol: Protocol, folder: RunFolder, runs: int
) -> Mapping[str, Any] | None:
    """Return the image's start-up, measured now unless ``team.json`` has it from a like run."""
    if crew.runner != DockerRunner.name or runs == 0:
        return None
    name, trial = submission.team.name, crew.trials[0]
    conditions = [submission.digest, protocol.digest, trial.hardware]
    earlier = _read_start_up(folder.team(name).description)
    if earlier is not None and earlier.get("conditions") == conditions:
        return earlier
    start_up = measure_start_up(trial, submission, protocol, runs)
    if start_up is None:
        logger.warning("%s: no shell in the image to measure its start-up", name)
        return None
    shown = (name, start_up.median_s, start_up.spread_s)
    logger.info("%s: the container's own start-up takes %.3f s (spread %.3f s)", *shown)
    return {**asdict(start_up), "conditions": conditions}


def _read_start_up(description: Path) -> dict[str, Any] | None:
    """Return the start-up in a ``team.json``; None if there is none."""
    try:
        found = json.loads(description.read_bytes())["start_up"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _tell_drift(folder: RunFolder) -> None:
    spread = drift(read_ticks(folder.path))
    if spread is not None:
        level = logging.WARNING if spread > DRIFT_THRESHOLD else logging.INFO
        logger.log(
            level, "drift of the machine: the sentinel's times spread by %.0f %%", 100 * spread
        )
