"""The order of a run, what of it is done already, and one record for each case.

Teams take turns on every case, and each case begins with another team: a machine that slows down in
the course of a run slows them all.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol as Interface

from evaluation.dataset import Case, digest_of
from evaluation.errors import EngineError
from evaluation.progress import Progress
from evaluation.running.carried_state import summarise_carried
from evaluation.running.lanes import work_off
from evaluation.running.measuring import Sentinel
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord, RecordLog, ResumeKey, last_records, read_records
from evaluation.running.run_folder import RunFolder, TeamFolder
from evaluation.running.staging import staged_case
from evaluation.running.teams import Submission
from evaluation.running.trial import key_of

logger = logging.getLogger(__name__)

MOST_FAULTS_IN_A_ROW = 3
"""So many harness faults one after the other mean that the engine or the disk is gone."""


class AnyTrial(Interface):
    """What runs one case of one team: a Trial on this machine or on another."""

    def run(
        self, submission: Submission, case: Case, digest: str, file: Path, place: TeamFolder
    ) -> CaseRecord:
        """Run one case and return its record."""

    def warm_up(self, submission: Submission, case: Case, file: Path) -> None:
        """Run a case as often as the protocol says and forget it."""


Turn = tuple[Case, list[Submission]]
"""A case, and the submissions that still have to run it, in their order."""


class Schedule:
    """All cases of all teams, and which of them still have to be run."""

    def __init__(
        self,
        folder: RunFolder,
        trials: Sequence[AnyTrial],
        runner: str,
        protocol: Protocol,
        submissions: Sequence[Submission],
        cases: Sequence[Case],
        sentinel: Sentinel | None = None,
    ) -> None:
        """Run with all of ``trials`` at once; ``runner`` is the name of what runs containers."""
        self._folder = folder
        self._trials = trials
        self._runner = runner
        self._protocol = protocol
        self._submissions = submissions
        self._cases = cases
        self._sentinel = sentinel
        self._digests = _digests(cases)
        self._faults_in_a_row = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, clear: Callable[[], object]) -> None:
        """Run everything that has no final record yet, recording each case as it ends.

        ``clear`` ends whatever runs, when the run has to stop.
        """
        open_turns = [turn for turn in self._turns() if turn[1]]
        count = sum(len(submissions) for _, submissions in open_turns)
        total = len(self._cases) * len(self._submissions)
        if count < total:
            logger.info("%d of %d cases are recorded already", total - count, total)
        if not count:
            return
        with ExitStack() as stack:
            logs = {
                submission.team.name: stack.enter_context(
                    RecordLog(self._place(submission).records)
                )
                for submission in self._submissions
            }
            self._warm_up(self._trials[0], open_turns)
            progress = stack.enter_context(Progress("run", count))
            self._tick()

            def do(trial: AnyTrial, turn: Turn) -> None:
                self._do_turn(trial, turn, logs, progress)

            work_off(open_turns, self._trials, do, self._stop, clear)
            self._tick()

    def _do_turn(
        self, trial: AnyTrial, turn: Turn, logs: Mapping[str, RecordLog], progress: Progress
    ) -> None:
        case, submissions = turn
        with staged_case(case, self._folder.work) as file:
            for submission in submissions:
                digest, place = self._digests[case.name], self._place(submission)
                record = trial.run(submission, case, digest, file, place)
                with self._lock:
                    if self._stop.is_set():
                        return  # its container may have been ended by us
                    logs[submission.team.name].append(record)
                    progress.advance(1, f"{submission.team.name} {case.name}: {record.status}")
                    self._stop_if_hopeless(record)
                    if self._sentinel:
                        self._sentinel.case_done()

    def _warm_up(self, trial: AnyTrial, turns: Sequence[Turn]) -> None:
        if self._protocol.warm_up:
            for submission in self._submissions:
                case = next((case for case, teams in turns if submission in teams), None)
                if case is not None:
                    with staged_case(case, self._folder.work) as file:
                        trial.warm_up(submission, case, file)

    def _tick(self) -> None:
        if self._sentinel:
            self._sentinel.tick()

    def carried(self) -> dict[str, str]:
        """Return for each team that found state of earlier cases what that was, in one line."""
        told = {}
        for submission in self._submissions:
            line = summarise_carried(self._valid_records(submission).values())
            if line:
                told[submission.team.name] = line
        return told

    def counts(self) -> dict[str, Counter[Status]]:
        """Return for each team how many of its cases ended how, from the records on disk."""
        counts = {}
        for submission in self._submissions:
            records = self._valid_records(submission)
            counts[submission.team.name] = Counter(record.status for record in records.values())
        return counts

    def _turns(self) -> Iterator[Turn]:
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

    def _key(self, submission: Submission, case: Case) -> ResumeKey:
        digest = self._digests[case.name]
        return key_of(self._runner, submission, case, digest, self._protocol)

    def _has_mask_if_ok(self, submission: Submission, record: CaseRecord) -> bool:
        mask = self._place(submission).mask(record.case)
        return record.status is not Status.OK or mask.is_file()

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
