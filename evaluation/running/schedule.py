"""Works off what is left of a run and records each case as it ends."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol as Interface

from evaluation.dataset import Case
from evaluation.errors import EngineError
from evaluation.progress import Progress
from evaluation.running.lanes import work_off
from evaluation.running.measuring import CommandTrial, Sentinel
from evaluation.running.outcomes import Status
from evaluation.running.plan import Plan, Turn, Turns
from evaluation.running.records import CaseRecord, RecordLog
from evaluation.running.run_folder import TeamFolder
from evaluation.running.staging import staged_case
from evaluation.running.teams import Submission

logger = logging.getLogger(__name__)

MOST_FAULTS_IN_A_ROW = 3
"""So many harness faults one after the other mean that the engine or the disk is gone."""


class AnyTrial(CommandTrial, Interface):
    """What runs one case of one team: a Trial on this machine or on another."""

    hardware: str
    """What its cases have to run on, by hardware_key."""

    def run(
        self, submission: Submission, case: Case, digest: str, file: Path, place: TeamFolder
    ) -> CaseRecord:
        """Run one case and return its record."""

    def warm_up(self, submission: Submission, case: Case, file: Path) -> None:
        """Run a case as often as the protocol says and forget it."""


class Schedule:
    """The open turns of a plan, and the trials that work them off."""

    def __init__(
        self,
        plan: Plan,
        trials: Sequence[AnyTrial],
        work: Path,
        sentinel: Sentinel | None = None,
    ) -> None:
        """Run with all of ``trials`` at once; ``work`` is a folder for what lives a case long."""
        self._plan, self._trials, self._work = plan, trials, work
        self._sentinel = sentinel
        self._faults_in_a_row = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, end: Callable[[], object]) -> None:
        """Run everything that has no final record yet, recording each case as it ends.

        ``end`` ends whatever runs, when the run has to stop.
        """
        turns = self._plan.open_turns()
        count = sum(len(submissions) for _, (_, submissions) in turns)
        total = len(self._plan.cases) * len(self._plan.submissions)
        if count < total:
            logger.info("%d of %d cases are recorded already", total - count, total)
        if not count:
            return
        waiting = Turns(turns, {trial.hardware for trial in self._trials})
        if waiting.elsewhere:
            logger.warning("%d cases go on on other hardware than before", waiting.elsewhere)
        with ExitStack() as stack:
            logs = {
                submission.team.name: stack.enter_context(
                    RecordLog(self._plan.place(submission).records)
                )
                for submission in self._plan.submissions
            }
            self._warm_up([turn for _, turn in turns])
            progress = stack.enter_context(Progress("run", count))

            def do(trial: AnyTrial, turn: Turn) -> None:
                self._do_turn(trial, turn, logs, progress)

            work_off(lambda trial: waiting.take(trial.hardware), self._trials, do, self._stop, end)
            self._end_watch()

    def _do_turn(
        self, trial: AnyTrial, turn: Turn, logs: Mapping[str, RecordLog], progress: Progress
    ) -> None:
        case, submissions = turn
        with staged_case(case, self._work) as file:
            for submission in submissions:
                if self._sentinel:
                    self._sentinel.tick_if_due(trial)
                place = self._plan.place(submission)
                record = trial.run(submission, case, self._plan.digests[case.name], file, place)
                with self._lock:
                    if self._stop.is_set():
                        return  # its container may have been ended by us
                    logs[submission.team.name].append(record)
                    progress.advance(1, f"{submission.team.name} {case.name}: {record.status}")
                    self._stop_if_hopeless(record)

    def _warm_up(self, turns: Sequence[Turn]) -> None:
        """Run each team's first open case on every trial, if the protocol warms up."""
        first: dict[str, tuple[Submission, Case]] = {}
        for case, submissions in turns:
            for submission in submissions:
                first.setdefault(submission.team.name, (submission, case))
        for submission, case in first.values():
            with staged_case(case, self._work) as file:
                for trial in self._trials:
                    trial.warm_up(submission, case, file)

    def _end_watch(self) -> None:
        if self._sentinel:
            for trial in self._trials:
                self._sentinel.tick(trial)

    def _stop_if_hopeless(self, record: CaseRecord) -> None:
        fault = record.status is Status.HARNESS_FAULT
        self._faults_in_a_row = self._faults_in_a_row + 1 if fault else 0
        if self._faults_in_a_row >= MOST_FAULTS_IN_A_ROW:
            raise EngineError(
                f"{self._faults_in_a_row} harness faults in a row, the last: {record.reason}; "
                "mend it and run again to resume"
            )
