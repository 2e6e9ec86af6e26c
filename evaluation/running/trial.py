"""One case of one team from staged file to record: run it, take its mask, judge."""

import hashlib
import logging
import os
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol as Interface

from evaluation.dataset import Case, digest_of
from evaluation.errors import HarnessFault, OutputError
from evaluation.running.carried_state import CarriedState, describe_use
from evaluation.running.host import Machine
from evaluation.running.outcomes import CaseRun, Outcome, Status, judge, one_line
from evaluation.running.outputs import Expected, take_mask
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord, ResumeKey
from evaluation.running.run_folder import TeamFolder
from evaluation.running.staging import Folders, empty_folders, fresh_folders, kept_folders
from evaluation.running.teams import Submission

ATTEMPTS = 2
"""Times that a case is tried before a fault of ours is recorded; the next start tries again."""

logger = logging.getLogger(__name__)


class CaseRunner(Interface):
    """The part of a runner that a trial needs."""

    name: str
    machine: Machine
    """The machine that cases run on, as describe_host tells it."""
    hardware: str
    """What a case has to run on, by hardware_key."""

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run one case; raises HarnessFault when that fails through no fault of the submission."""

    def run_command(
        self, submission: Submission, case: str, folders: Folders, command: Sequence[str]
    ) -> CaseRun:
        """Run any command in place of the submission's."""


@dataclass(frozen=True)
class Finished:
    """A case that has ended: verdict, measurement, accepted mask, state that it found."""

    outcome: Outcome
    run: CaseRun | None = None
    mask: Path | None = None
    carried: CarriedState | None = None
    walls_s: tuple[float, ...] = ()
    """Of all runs, in order."""
    masks: frozenset[str] = frozenset()
    """Digests of the masks of all runs."""


class Trial:
    """Runs cases of any team under one protocol, in folders below ``work``."""

    def __init__(self, runner: CaseRunner, protocol: Protocol, work: Path) -> None:
        self._runner = runner
        self._protocol = protocol
        self._work = work
        self.machine, self.hardware = runner.machine, runner.hardware

    def run(
        self, submission: Submission, case: Case, digest: str, file: Path, place: TeamFolder
    ) -> CaseRecord:
        """Run one case and return its record; a mask of an earlier run never survives this.

        ``digest`` is the case's, ``file`` what the submission may see of it.
        """
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        place.mask(case.name).unlink(missing_ok=True)
        for _ in range(ATTEMPTS):
            try:
                finished = self._repeat(submission, case, file, place)
                break
            except (HarnessFault, OSError) as error:
                logger.warning("%s, %s: %s", submission.team.name, case.name, error)
                finished = Finished(Outcome(Status.HARNESS_FAULT, one_line(str(error))))
        if finished.mask is None:  # nor does one of a repeat before the one that failed
            place.mask(case.name).unlink(missing_ok=True)
        key = key_of(self._runner.name, submission, case, digest, self._protocol)
        record = _record(case, finished, started_at, key)
        return replace(record, host=str(self.machine["name"]), hardware=self.hardware)

    def warm_up(self, submission: Submission, case: Case, file: Path) -> None:
        """Run a case as often as the protocol says and forget it; faults show in the timed run."""
        for _ in range(self._protocol.warm_up):
            try:
                with fresh_folders(self._work, file, self._protocol.owner) as folders:
                    self._runner.run_case(submission, case.name, folders)
            except (HarnessFault, OSError) as error:
                logger.warning("%s: warm-up: %s", submission.team.name, error)

    def run_command(self, submission: Submission, command: Sequence[str]) -> CaseRun:
        """Run any command in a submission's container, in folders that hold nothing."""
        with empty_folders(self._work, self._protocol.owner) as folders:
            run = self._runner.run_command(submission, "measuring", folders, command)
        return replace(run, load=os.getloadavg()[0])

    def _repeat(
        self, submission: Submission, case: Case, file: Path, place: TeamFolder
    ) -> Finished:
        """Run a case as often as the protocol says; the first run that fails is the case's end."""
        walls_s: list[float] = []
        masks: set[str] = set()
        for _ in range(self._protocol.repeats):
            finished = self._run_and_take(submission, case, file, place)
            walls_s.append(finished.run.wall_s if finished.run else 0.0)
            if finished.mask is None:
                break
            masks.add(digest_of(finished.mask))
        return replace(finished, walls_s=tuple(walls_s), masks=frozenset(masks))

    def _run_and_take(
        self, submission: Submission, case: Case, file: Path, place: TeamFolder
    ) -> Finished:
        protocol, carried = self._protocol, None
        with self._folders(submission, file, place) as folders:
            run = self._runner.run_case(submission, case.name, folders)
            place.log(case.name).write_bytes(run.log)
            mask, problem = place.mask(case.name), None
            if run.exit_code == 0 and not run.timed_out and not run.excess:
                try:
                    limit_bytes = protocol.output_limit_bytes
                    take_mask(folders.outputs, case.name, mask, limit_bytes, self._expected(case))
                except OutputError as error:
                    problem = error
            if folders.left is not None:
                carried = describe_use(folders.left)
        outcome = judge(run, problem, protocol.time_limit_s)
        return Finished(outcome, run, mask if outcome.status is Status.OK else None, carried)

    def _expected(self, case: Case) -> Expected:
        return Expected(case.shape, case.boxes if self._protocol.refuse_unknown_labels else None)

    def _folders(
        self, submission: Submission, file: Path, place: TeamFolder
    ) -> AbstractContextManager[Folders]:
        if not self._protocol.keep_folders:
            return fresh_folders(self._work, file, self._protocol.owner)
        of_both = f"{submission.digest} {self._protocol.digest}".encode()
        return kept_folders(place.kept(hashlib.sha256(of_both).hexdigest()), file)


def key_of(
    runner: str, submission: Submission, case: Case, digest: str, protocol: Protocol
) -> ResumeKey:
    """Return what the result of a case depends on."""
    return ResumeKey(case.name, runner, submission.digest, digest, protocol.digest)


def fault_record(case: Case, key: ResumeKey, reason: str) -> CaseRecord:
    """Return the record of a case that could not be run."""
    fault = Finished(Outcome(Status.HARNESS_FAULT, one_line(reason)))
    return _record(case, fault, datetime.now(UTC).isoformat(timespec="milliseconds"), key)


def _record(case: Case, finished: Finished, started_at: str, key: ResumeKey) -> CaseRecord:
    run, carried = finished.run, finished.carried
    record = CaseRecord(
        case=case.name,
        modality=case.modality,
        dimensions=case.dimensions,
        status=finished.outcome.status,
        reason=finished.outcome.reason,
        exit_code=run.exit_code if run else None,
        oom_killed=run.oom_killed if run else False,
        wall_s=round(_counting_wall_s(finished), 6) if run else None,
        started_at=started_at,
        runner=key.runner,
        submission=key.submission,
        case_sha256=key.case_sha256,
        protocol_sha256=key.protocol_sha256,
    )
    if run is not None:
        repeated = len(finished.walls_s) > 1
        record = replace(
            record,
            wall_runs_s=tuple(round(wall_s, 6) for wall_s in finished.walls_s),
            wall_spread_s=_spread(finished.walls_s),
            masks_differ=len(finished.masks) > 1 if finished.mask and repeated else None,
            turnaround_s=None if run.turnaround_s is None else round(run.turnaround_s, 6),
            cpuset=run.cpuset,
            limits=run.limits,
            cpu_s=None if run.cpu_s is None else round(run.cpu_s, 6),
            peak_bytes=run.peak_bytes,
            network_attempts=run.network_attempts,
            written_bytes=run.written_bytes,
        )
    if carried is not None:
        record = replace(
            record,
            carried_files=carried.files,
            carried_bytes=carried.size_bytes,
            carried_used=carried.used,
            carried_names=carried.names,
        )
    if finished.mask is None:
        return record
    size = finished.mask.stat().st_size
    return replace(record, mask_bytes=size, mask_sha256=digest_of(finished.mask))


def _counting_wall_s(finished: Finished) -> float:
    """Return the median of a case that is ok, and of another the time of the run that failed."""
    if finished.outcome.status is Status.OK:
        return statistics.median(finished.walls_s)
    return finished.walls_s[-1]


def _spread(walls_s: tuple[float, ...]) -> float | None:
    return round(max(walls_s) - min(walls_s), 6) if len(walls_s) > 1 else None
