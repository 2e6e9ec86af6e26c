"""What a worker of a Dask scheduler does: one case in one container of its own Docker Engine.

A Dask worker cannot stop a task: one that its client has given up (or whose client is gone) is only
marked so, and runs on. A thread therefore looks at that mark and ends the case.
"""

import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation import __version__
from evaluation.dataset import Case
from evaluation.running.engine import connect, engine_info
from evaluation.running.host import describe_engine_host, hardware_key
from evaluation.running.image_volumes import ImageVolumes
from evaluation.running.images import make_image
from evaluation.running.outcomes import CaseRun, Status
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import RunFolder, is_abandoned
from evaluation.running.runner import DockerRunner
from evaluation.running.staging import remove_tree
from evaluation.running.teams import Submission, Team
from evaluation.running.trial import Trial

WORK_PREFIX = "medsam-laptop-case-"
"""Start of the names of a worker's temporary folders."""

GIVEN_UP_LOOK_S = 0.5
"""Time between two looks whether anybody still waits for the case that runs."""

SETTLED_S = 60
"""A temporary folder without a held lock that is this old is abandoned."""


@dataclass(frozen=True)
class RemoteCase:
    """One case of one team as it travels to a worker."""

    submission: Submission
    case: Case
    digest: str
    content: bytes
    """The case's file without its truth."""
    protocol: Protocol


@dataclass(frozen=True)
class RemoteResult:
    """What comes back."""

    record: CaseRecord
    mask: bytes | None
    log: bytes


def describe_worker(protocol: Protocol) -> dict[str, Any]:
    """Return this machine, what cases have to run on, and the versions of what runs them."""
    with closing(connect()) as engine:
        machine = describe_engine_host(engine, engine_info(engine))
    versions = {"harness": __version__, "python": platform.python_version()}
    return {**machine, **versions, "hardware": hardware_key(machine, protocol)}


def prepare_on_worker(team: Team, protocol: Protocol) -> Submission:
    """Return a team's submission as an image of this machine's engine."""
    with closing(connect()) as engine:
        submission = make_image(engine, team, {}, Path("build.log"))
        ImageVolumes(engine, protocol, {}).check(submission)
        return submission


def run_on_worker(task: RemoteCase) -> RemoteResult:
    """Run a case on this machine, in folders that are gone afterwards."""
    with _runner_on_worker(task.protocol) as (runner, run):
        file = run.path / f"{task.case.name}.npz"
        file.write_bytes(task.content)
        place = run.team(task.submission.team.name)
        place.create()
        trial = Trial(runner, task.protocol, run.work)
        record = trial.run(task.submission, task.case, task.digest, file, place)
        mask, log = place.mask(task.case.name), place.log(task.case.name)
        return RemoteResult(
            record=record,
            mask=mask.read_bytes() if record.status is Status.OK else None,
            log=log.read_bytes() if log.is_file() else b"",
        )


def run_command_on_worker(
    submission: Submission, command: Sequence[str], protocol: Protocol
) -> CaseRun:
    """Run any command in a submission's container on this machine."""
    with _runner_on_worker(protocol) as (runner, run):
        return Trial(runner, protocol, run.work).run_command(submission, command)


@contextmanager
def _runner_on_worker(protocol: Protocol) -> Iterator[tuple[DockerRunner, RunFolder]]:
    """Yield a runner and a folder that are gone afterwards, also what a killed worker left.

    The case that runs is ended when its client gives it up, or is gone.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as base,
        RunFolder(Path(base)) as run,
        closing(DockerRunner(connect(), protocol, run.lock)) as runner,
    ):
        runner.clear_leftovers()
        over = threading.Event()
        words = (runner, _is_wanted(), over)
        watch = threading.Thread(target=_end_if_given_up, args=words, daemon=True)
        watch.start()
        try:
            yield runner, run
        finally:
            over.set()
            watch.join()
            runner.clear_leftovers()


def _end_if_given_up(
    runner: DockerRunner, is_wanted: Callable[[], bool], over: threading.Event
) -> None:
    """End what a runner runs as soon as nobody waits for it any more."""
    while not over.wait(GIVEN_UP_LOOK_S):
        if not is_wanted():
            runner.stop()
            runner.clear_leftovers()
            return


def _is_wanted() -> Callable[[], bool]:
    """Return a function that tells whether the task of the calling thread is still asked for."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        ending = worker.status.name in ("closing", "closed", "failed")
        return task is not None and task.state == "executing" and not ending

    return is_wanted


def _remove_abandoned(temporary: Path) -> None:
    """Remove the folders of workers that were killed in a case."""
    for folder in temporary.glob(f"{WORK_PREFIX}*"):
        lock = folder / ".lock"
        with suppress(OSError):
            settled = time.time() - folder.stat().st_ctime > SETTLED_S  # or its lock is to come
            if settled and lock.is_file() and is_abandoned(lock):
                remove_tree(folder)
