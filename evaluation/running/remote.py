"""Cases on several machines: each worker of a Dask scheduler is one machine with a Docker Engine.

A worker is started with ``dask worker ADDRESS --nthreads 1 --resources container=1``: one timed
container at a time. A case goes to one worker with all its teams, so that the times of a case are
from equal hardware and can be compared. Cases travel to the workers and masks travel back; images
do not: an image reference must be there, and an archive must be readable under the same path.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evaluation import __version__
from evaluation.dataset import Case
from evaluation.errors import EngineError, EvaluationError, HarnessFault, UsageError
from evaluation.running.host import describe_host, describe_versions
from evaluation.running.outcomes import CaseRun
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import TeamFolder, write_bytes
from evaluation.running.runner import DockerRunner
from evaluation.running.teams import SourceKind, Submission, Team
from evaluation.running.trial import fault_record, key_of
from evaluation.running.worker import (
    RemoteCase,
    RemoteResult,
    describe_worker,
    prepare_on_worker,
    run_command_on_worker,
    run_on_worker,
)

logger = logging.getLogger(__name__)

RESOURCE = {"container": 1}
"""What a worker has one of, and every case takes."""

CONNECT_TIMEOUT_S = 30

WAIT_S = 5.0
"""How often a worker that has not answered is looked for."""


class Workers:
    """The workers of a scheduler; use as a context manager."""

    runner = DockerRunner.name

    def __init__(self, scheduler: str, protocol: Protocol) -> None:
        """Raise EngineError if no scheduler answers, or it has no worker of our kind and version.

        Raises UsageError without the package distributed.
        """
        self._protocol = protocol
        self._client = _connect(scheduler)
        try:
            self._hosts = self._describe(_addresses(self._client, scheduler), protocol)
        except BaseException:
            self._client.close()
            raise
        self.trials = [RemoteTrial(self, host, protocol) for host in self._hosts]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave the scheduler: a case that runs is given up, and its worker ends it at once."""
        self._client.close()

    def call(self, address: str, function: Callable[..., Any], *words: Any) -> Any:
        """Return what a function gives on one worker; raises HarnessFault when the worker fails."""
        future = self._client.submit(
            function, *words, workers=[address], resources=RESOURCE, pure=False, retries=0
        )
        try:
            while True:
                try:
                    return future.result(timeout=WAIT_S)
                except TimeoutError:
                    if future.done():  # in the meantime, or with a TimeoutError of its own
                        return future.result()
                    self._require(address, future)
        except EvaluationError:
            raise
        # a lost worker raises KilledWorker, CancelledError, CommClosedError, OSError ...
        except Exception as error:
            raise HarnessFault(f"worker {address}: {type(error).__name__}: {error}") from error

    def _require(self, address: str, future: Any) -> None:
        """Raise HarnessFault when a worker is gone: a task that is bound to it would wait for it
        for ever."""
        if address not in self._client.scheduler_info(n_workers=-1)["workers"]:
            future.cancel()
            raise HarnessFault(f"worker {address}: it is gone")

    def _describe(self, addresses: Sequence[str], protocol: Protocol) -> list[dict[str, Any]]:
        """Return each worker's machine; raises EngineError for another version of the harness."""
        hosts = []
        for address in addresses:
            host = self.call(address, describe_worker, protocol)
            if host["harness"] != __version__:
                raise EngineError(
                    f"worker {address}: expected harness {__version__}, found {host['harness']}"
                )
            hosts.append({"address": address, **host})
        return hosts

    def describe(self) -> dict[str, Any]:
        """Return what ``team.json`` says of the machines; ``host`` is the one with the harness."""
        return {
            "host": dict(describe_host()),
            "hardware": sorted({host["hardware"] for host in self._hosts}),
            "versions": describe_versions(),
            "workers": self._hosts,
        }

    def prepare(self, team: Team, build_args: Mapping[str, str], build_log: Path) -> Submission:
        """Return a team's submission, which must be the same image on every worker."""
        if team.kind is SourceKind.FOLDER:
            raise UsageError(f"team {team.name}: expected an image or archive, found a folder")
        submissions = [
            self.call(host["address"], prepare_on_worker, team, self._protocol)
            for host in self._hosts
        ]
        digests = {submission.digest for submission in submissions}
        if len(digests) > 1:
            raise UsageError(
                f"team {team.name}: expected one image on all workers, found {sorted(digests)}"
            )
        first: Submission = submissions[0]
        return first


class RemoteTrial:
    """Runs cases on one worker; the remote counterpart of a Trial."""

    def __init__(self, workers: Workers, host: Mapping[str, Any], protocol: Protocol) -> None:
        self._workers, self._address, self._protocol = workers, host["address"], protocol
        self.machine, self.hardware = host, str(host["hardware"])

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

    def run_command(self, submission: Submission, command: Sequence[str]) -> CaseRun:
        """Run any command there in a submission's container, in folders that hold nothing."""
        words = (submission, tuple(command), self._protocol)
        run: CaseRun = self._workers.call(self._address, run_command_on_worker, *words)
        return run


def _connect(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--scheduler: expected the package distributed, found none") from error
    try:
        return Client(scheduler, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise EngineError(f"no Dask scheduler answers at {scheduler}: {error}") from error


def _addresses(client: Any, scheduler: str) -> list[str]:
    """Return the addresses of the workers that take containers."""
    found = client.scheduler_info(n_workers=-1)["workers"]
    wanted = RESOURCE["container"]
    takers = [
        key for key, worker in found.items() if worker["resources"].get("container") == wanted
    ]
    if not takers:
        raise EngineError(
            f"{scheduler}: expected workers with --resources container=1, "
            f"found {len(found)} workers, none with it"
        )
    return sorted(takers)


def check_protocol(protocol: Protocol, teams: Sequence[Team]) -> None:
    """Raise UsageError for what cannot be done on several machines."""
    if protocol.keep_folders or protocol.jobs > 1:
        raise UsageError("--scheduler: expected jobs 1 and no keep-folders, found otherwise")
    for team in teams:
        if team.kind is SourceKind.FOLDER:
            raise UsageError(f"team {team.name}: expected an image or archive, found a folder")
