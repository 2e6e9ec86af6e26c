"""The order of a run, what of it is done already, and one record for each case.

Teams take turns on every case, and each case begins with another team: a machine that slows down in
the course of a run slows them all.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol as Interface

from evaluation.dataset import Case, digest_of
from evaluation.errors import EngineError, HarnessFault, OutputError
from evaluation.outcomes import CaseRun, Outcome, Status, judge, one_line
from evaluation.outputs import take_mask
from evaluation.progress import Progress
from evaluation.protocol import Protocol
from evaluation.records import CaseRecord, RecordLog, last_records, read_records
from evaluation.run_folder import RunFolder, TeamFolder
from evaluation.staging import Folders, fresh_folders, staged_case
from evaluation.teams import Submission

logger = logging.getLogger(__name__)

MOST_FAULTS_IN_A_ROW = 3
"""So many harness faults one after the other mean that the engine or the disk is gone."""


class CaseRunner(Interface):
    """The part of a runner that a schedule needs."""

    name: str

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run one case; raises HarnessFault when that fails through no fault of the submission."""


@dataclass(frozen=True)
class Finished:
    """A case that has ended: verdict, measurement and accepted mask."""

    outcome: Outcome
    run: CaseRun | None = None
    mask: Path | None = None


class Schedule:
    """All cases of all teams, and which of them still have to be run."""

    def __init__(
        self,
        folder: RunFolder,
        runner: CaseRunner,
        protocol: Protocol,
        submissions: Sequence[Submission],
        cases: Sequence[Case],
    ) -> None:
        self._folder = folder
        self._runner = runner
        self._protocol = protocol
        self._submissions = submissions
        self._cases = cases
        self._digests = _digests(cases)
        self._faults_in_a_row = 0

    def run(self) -> None:
        """Run everything that has no final record yet, recording each case as it ends."""
        open_turns = [turn for turn in self._turns() if turn[1]]
        count = sum(len(submissions) for _, submissions in open_turns)
        total = len(self._cases) * len(self._submissions)
        if count < total:
            logger.info("%d of %d cases are recorded already", total - count, total)
        with ExitStack() as stack:
            logs = {
                submission.team.name: stack.enter_context(
                    RecordLog(self._place(submission).records)
                )
                for submission in self._submissions
            }
            progress = stack.enter_context(Progress("run", count))
            for case, submissions in open_turns:
                with staged_case(case, self._folder.work) as file:
                    for submission in submissions:
                        record = self._run_one(submission, case, file)
                        logs[submission.team.name].append(record)
                        progress.advance(1, f"{submission.team.name} {case.name}: {record.status}")
                        self._stop_if_hopeless(record)

    def counts(self) -> dict[str, Counter[Status]]:
        """Return for each team how many of its cases ended how, from the records on disk."""
        counts = {}
        for submission in self._submissions:
            records = self._valid_records(submission)
            counts[submission.team.name] = Counter(record.status for record in records.values())
        return counts

    def _turns(self) -> Iterator[tuple[Case, list[Submission]]]:
        """Yield each case with the submissions that still have to run it, in their order."""
        finished = {
            submission.team.name: {
                record.case
                for record in self._valid_records(submission).values()
                if record.status.is_final and self._has_mask_if_ok(submission, record)
            }
            for submission in self._submissions
        }
        for number, case in enumerate(self._cases):
            first = number % len(self._submissions)
            order = [*self._submissions[first:], *self._submissions[:first]]
            yield case, [entry for entry in order if case.name not in finished[entry.team.name]]

    def _valid_records(self, submission: Submission) -> dict[str, CaseRecord]:
        """Return the records of this very submission, these cases and this protocol."""
        records = last_records(read_records(self._place(submission).records))
        return {
            case.name: records[case.name]
            for case in self._cases
            if case.name in records and records[case.name].key == self._key(submission, case)
        }

    def _key(self, submission: Submission, case: Case) -> tuple[str, str, str, str, str]:
        digest = self._digests[case.name]
        return (case.name, self._runner.name, submission.digest, digest, self._protocol.digest)

    def _has_mask_if_ok(self, submission: Submission, record: CaseRecord) -> bool:
        mask = self._place(submission).mask(record.case)
        return record.status is not Status.OK or mask.is_file()

    def _run_one(self, submission: Submission, case: Case, file: Path) -> CaseRecord:
        """Run one case and return its record; a mask of an earlier run never survives this."""
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._place(submission).mask(case.name).unlink(missing_ok=True)
        try:
            finished = self._run_and_take(submission, case, file)
        except (HarnessFault, OSError) as error:
            logger.warning("%s, %s: %s", submission.team.name, case.name, error)
            finished = Finished(Outcome(Status.HARNESS_FAULT, one_line(str(error))))
        return self._record(submission, case, finished, started_at)

    def _run_and_take(self, submission: Submission, case: Case, file: Path) -> Finished:
        place, protocol = self._place(submission), self._protocol
        with fresh_folders(self._folder.work, file, protocol.owner) as folders:
            run = self._runner.run_case(submission, case.name, folders)
            place.log(case.name).write_bytes(run.log)
            mask, problem = place.mask(case.name), None
            if run.exit_code == 0 and not run.timed_out:
                try:
                    take_mask(folders.outputs, case.name, mask, protocol.output_limit_bytes)
                except OutputError as error:
                    problem = error
        outcome = judge(run, problem, protocol.time_limit_s)
        return Finished(outcome, run, mask if outcome.status is Status.OK else None)

    def _record(
        self, submission: Submission, case: Case, finished: Finished, started_at: str
    ) -> CaseRecord:
        run = finished.run
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
            runner=self._runner.name,
            submission=submission.digest,
            case_sha256=self._digests[case.name],
            protocol_sha256=self._protocol.digest,
        )
        if finished.mask is None:
            return record
        size = finished.mask.stat().st_size
        return replace(record, mask_bytes=size, mask_sha256=digest_of(finished.mask))

    def _stop_if_hopeless(self, record: CaseRecord) -> None:
        fault = record.status is Status.HARNESS_FAULT
        self._faults_in_a_row = self._faults_in_a_row + 1 if fault else 0
        if self._faults_in_a_row >= MOST_FAULTS_IN_A_ROW:
            raise EngineError(
                f"{self._faults_in_a_row} harness faults in a row, the last: {record.reason}; "
                "mend it and run again to resume"
            )

    def _place(self, submission: Submission) -> TeamFolder:
        return self._folder.team(submission.team.name)


def _digests(cases: Sequence[Case]) -> dict[str, str]:
    """Return the digest of each case's file."""
    with Progress("digest cases", sum(case.path.stat().st_size for case in cases), "B") as progress:
        digests = {}
        for case in cases:
            digests[case.name] = digest_of(case.path)
            progress.advance(case.path.stat().st_size, case.name)
    return digests
