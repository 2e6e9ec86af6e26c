"""Which runner runs the submissions, and how many of it."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol as Interface

from evaluation.errors import EngineError, UsageError
from evaluation.running.engine import connect
from evaluation.running.host import Machine
from evaluation.running.lanes import split_processors
from evaluation.running.outcomes import CaseRun
from evaluation.running.process_runner import ProcessRunner
from evaluation.running.protocol import Protocol
from evaluation.running.run_folder import RunFolder
from evaluation.running.runner import DockerRunner
from evaluation.running.staging import Folders
from evaluation.running.teams import SourceKind, Submission, Team

logger = logging.getLogger(__name__)


class Runner(Interface):
    """What can run a submission: containers of Docker Engine, or plain processes."""

    name: str
    machine: Machine
    """The machine that cases run on, as describe_host tells it."""
    hardware: str
    """What a case has to run on, by hardware_key."""

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
def runners(
    choice: str, teams: Sequence[Team], protocol: Protocol, folder: RunFolder
) -> Iterator[list[Runner]]:
    """Yield a runner for each lane; what the run left behind is cleared before and after."""
    first = choose_runner(choice, teams, protocol, folder)
    lanes = [first]
    try:
        _check_user(first, protocol)
        if protocol.jobs > 1:
            lanes = _parallel(first, protocol, folder)
        cleared = first.clear_leftovers()
        if cleared:
            logger.info("cleared %d leftovers of an interrupted run", cleared)
        try:
            yield lanes
        finally:
            first.clear_leftovers()
    finally:
        for lane in {id(lane): lane for lane in (first, *lanes)}.values():
            lane.close()


def _parallel(first: Runner, protocol: Protocol, folder: RunFolder) -> list[Runner]:
    """Return a runner for each share of the processors."""
    if not isinstance(first, DockerRunner):
        raise UsageError(f"jobs: expected 1 without Docker Engine, found {protocol.jobs}")
    shares = split_processors(protocol.jobs)
    return [DockerRunner(connect(), protocol, folder.lock, share) for share in shares]


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
