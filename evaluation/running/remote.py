"""Cases on several machines: each worker of a Dask scheduler is one machine with a Docker Engine.

A worker is started with ``dask worker ADDRESS --nthreads 1 --resources container=1``: one timed
container at a time. A case goes to one worker with all its teams, so that the times of a case are
from equal hardware and can be compared. Cases travel to the workers and masks travel back; images
do not: an image reference must be there, and an archive must be readable under the same path.
"""

import logging
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation import __version__
from evaluation.dataset import Case
from evaluation.errors import EngineError, EvaluationError, HarnessFault, UsageError
from evaluation.running.engine import connect
from evaluation.running.host import describe_host, hardware_key
from evaluation.running.images import make_image
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import RunFolder, TeamFolder, write_bytes
from evaluation.running.runner import DockerRunner
from evaluation.running.teams import SourceKind, Submission, Team
from evaluation.running.trial import Trial, fault_record, key_of

logger = logging.getLogger(__name__)

RESOURCE = {"container": 1}
"""What a worker has one of, and every case takes."""

CONNECT_TIMEOUT_S = 30


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


class Workers:
    """The workers of a scheduler; close after use."""

    def __init__(self, scheduler: str) -> None:
        """Raise EngineError if no scheduler answers, or it has no worker of our kind."""
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError("--scheduler: expected the package distributed, found none") from error
        try:
            self._client: Any = Client(scheduler, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise EngineError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        self.addresses = sorted(
            address
            for address, worker in found.items()
            if worker["resources"].get("container") == RESOURCE["container"]
        )
        if not self.addresses:
            self.close()
            raise EngineError(
                f"{scheduler}: expected workers with --resources container=1, "
                f"found {len(found)} workers, none with it"
            )

    def call(self, address: str, function: Callable[..., Any], *words: Any) -> Any:
        """Return what a function gives on one worker; raises HarnessFault when the worker fails."""
        future = self._client.submit(
            function, *words, workers=[address], resources=RESOURCE, pure=False, retries=0
        )
        try:
            return future.result()
        except EvaluationError:
            raise
        # a lost worker raises KilledWorker, CancelledError, CommClosedError, OSError ...
        except Exception as error:
            raise HarnessFault(f"worker {address}: {type(error).__name__}: {error}") from error

    def describe(self, protocol: Protocol) -> list[dict[str, Any]]:
        """Return each worker's hardware, with its hardware_key under a protocol.

        Raises EngineError for another version of the harness.
        """
        hosts = []
        for address in self.addresses:
            host = self.call(address, _describe_worker)
            if host["harness"] != __version__:
                raise EngineError(
                    f"worker {address}: expected harness {__version__}, found {host['harness']}"
                )
            hardware = hardware_key(host, protocol)
            hosts.append({"address": address, **host, "hardware": hardware})
        return hosts

    def prepare(self, team: Team) -> Submission:
        """Return a team's submission, which must be the same image on every worker."""
        if team.kind is SourceKind.FOLDER:
            raise UsageError(f"team {team.name}: expected an image or archive, found a folder")
        submissions = [self.call(address, _prepare_on_worker, team) for address in self.addresses]
        digests = {submission.digest for submission in submissions}
        if len(digests) > 1:
            raise UsageError(
                f"team {team.name}: expected one image on all workers, found {sorted(digests)}"
            )
        first: Submission = submissions[0]
        return first

    def close(self) -> None:
        """Leave the scheduler; cases that wait are given up."""
        self._client.close()


class RemoteTrial:
    """Runs cases on one worker; the remote counterpart of a Trial."""

    def __init__(self, workers: Workers, address: str, protocol: Protocol) -> None:
        self._workers, self._address, self._protocol = workers, address, protocol

    def run(
        self, submission: Submission, case: Case, digest: str, file: Path, place: TeamFolder
    ) -> CaseRecord:
        """Run one case there and put its mask and log into their places here."""
        place.mask(case.name).unlink(missing_ok=True)
        task = RemoteCase(submission, case, digest, file.read_bytes(), self._protocol)
        try:
            result: RemoteResult = self._workers.call(self._address, run_on_worker, task)
        except HarnessFault as error:
            logger.warning("%s, %s: %s", submission.team.name, case.name, error)
            key = key_of(DockerRunner.name, submission, case, digest, self._protocol)
            return fault_record(case, key, str(error))
        place.log(case.name).write_bytes(result.log)
        if result.mask is not None:
            write_bytes(place.mask(case.name), result.mask)
        return result.record

    def warm_up(self, submission: Submission, case: Case, file: Path) -> None:
        """Run a case as often as the protocol says and forget it."""
        task = RemoteCase(submission, case, "", file.read_bytes(), self._protocol)
        for _ in range(self._protocol.warm_up):
            self._workers.call(self._address, run_on_worker, task)


def run_on_worker(task: RemoteCase) -> RemoteResult:
    """Run a case on this machine, in folders that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="medsam-laptop-") as base, RunFolder(Path(base)) as run:
        runner = DockerRunner(connect(), task.protocol, run.lock)
        try:
            runner.clear_leftovers()
            file = run.path / f"{task.case.name}.npz"
            file.write_bytes(task.content)
            place = run.team(task.submission.team.name)
            place.create()
            trial = Trial(runner, task.protocol, run.work)
            record = trial.run(task.submission, task.case, task.digest, file, place)
        finally:
            runner.clear_leftovers()
            runner.close()
        mask, log = place.mask(task.case.name), place.log(task.case.name)
        return RemoteResult(
            record=record,
            mask=mask.read_bytes() if record.status is Status.OK else None,
            log=log.read_bytes() if log.is_file() else b"",
        )


def _describe_worker() -> dict[str, Any]:
    return {**describe_host(), "harness": __version__, "python": platform.python_version()}


def _prepare_on_worker(team: Team) -> Submission:
    engine = connect()
    try:
        return make_image(engine, team, {}, Path("build.log"))
    finally:
        engine.close()


def check_protocol(protocol: Protocol, teams: Sequence[Team]) -> None:
    """Raise UsageError for what cannot be done on several machines."""
    if protocol.keep_folders or protocol.jobs > 1:
        raise UsageError("--scheduler: expected jobs 1 and no keep-folders, found otherwise")
    for team in teams:
        if team.kind is SourceKind.FOLDER:
            raise UsageError(f"team {team.name}: expected an image or archive, found a folder")
