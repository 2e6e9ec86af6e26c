"""One case of one team from staged file to record: run it, take its mask, judge."""

import hashlib
import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol as Interface

from evaluation.carried_state import CarriedState, describe_use
from evaluation.dataset import Case, digest_of
from evaluation.errors import HarnessFault, OutputError
from evaluation.outcomes import CaseRun, Outcome, Status, judge, one_line
from evaluation.outputs import Expected, take_mask
from evaluation.protocol import Protocol
from evaluation.records import CaseRecord, ResumeKey
from evaluation.run_folder import TeamFolder
from evaluation.staging import Folders, fresh_folders, kept_folders
from evaluation.teams import Submission

ATTEMPTS = 2
"""Times that a case is tried before a fault of ours is recorded; the next start tries again."""

logger = logging.getLogger(__name__)


class CaseRunner(Interface):
    """The part of a runner that a trial needs."""

    name: str

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run one case; raises HarnessFault when that fails through no fault of the submission."""


@dataclass(frozen=True)
class Finished:
    """A case that has ended: verdict, measurement, accepted mask, state that it found."""

    outcome: Outcome
    run: CaseRun | None = None
    mask: Path | None = None
    carried: CarriedState | None = None


class Trial:
    """Runs cases of any team under one protocol, in folders below ``work``."""

    def __init__(self, runner: CaseRunner, protocol: Protocol, work: Path) -> None:
        self._runner = runner
        self._protocol = protocol
        self._work = work

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
                finished = self._run_and_take(submission, case, file, place)
                break
            except (HarnessFault, OSError) as error:
                logger.warning("%s, %s: %s", submission.team.name, case.name, error)
                finished = Finished(Outcome(Status.HARNESS_FAULT, one_line(str(error))))
        key = key_of(self._runner.name, submission, case, digest, self._protocol)
        return _record(case, finished, started_at, key)

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
        wall_s=round(run.wall_s, 6) if run else None,
        started_at=started_at,
        runner=key.runner,
        submission=key.submission,
        case_sha256=key.case_sha256,
        protocol_sha256=key.protocol_sha256,
    )
    if run is not None:
        record = replace(
            record,
            limits=run.limits,
            cpu_s=None if run.cpu_s is None else round(run.cpu_s, 6),
            peak_bytes=run.peak_bytes,
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
