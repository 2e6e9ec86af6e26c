"""What of a run is done already, and what is left to do, by the records on disk.

A record counts while all that its result depends on is unchanged (:class:`ResumeKey`). What is left
of a case goes to hardware on which its other teams were timed, as long as there is any.
"""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from evaluation.dataset import Case
from evaluation.running.carried_state import summarise_carried
from evaluation.running.case_digests import digest_cases
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord, ResumeKey, iterate_records, last_records
from evaluation.running.run_folder import RunFolder, TeamFolder
from evaluation.running.teams import Submission

logger = logging.getLogger(__name__)

Turn = tuple[Case, list[Submission]]
"""A case, and the submissions that still have to run it, in their order."""


class Turns:
    """The open turns of a run, each kept for the hardware that its case was begun on."""

    def __init__(self, turns: Sequence[tuple[str, Turn]], hardware: set[str]) -> None:
        """Take turns with the hardware of each (empty for any); ``hardware`` is what there is."""
        self._waiting: dict[str, deque[Turn]] = {}
        self.elsewhere = 0
        """Turns that go on on other hardware than they began on, as that is not here."""
        for begun_on, turn in turns:
            if begun_on and begun_on not in hardware:
                self.elsewhere += 1
                begun_on = ""
            self._waiting.setdefault(begun_on, deque()).append(turn)

    def take(self, hardware: str) -> Turn | None:
        """Return the next turn for this hardware; None when nothing is left for it."""
        for place in (hardware, ""):
            if self._waiting.get(place):
                return self._waiting[place].popleft()
        return None


@dataclass
class Standing:
    """How a run stands, from its records."""

    counts: dict[str, Counter[Status]] = field(default_factory=dict)
    """By team, how many of its cases ended how."""
    carried: dict[str, str] = field(default_factory=dict)
    """By team that found state of earlier cases, what that was, in one line."""
    uneven: int = 0
    """Cases whose teams were timed on unequal hardware: their times do not compare."""


@dataclass
class Survey:
    """What all records say, read once."""

    done: dict[str, set[str]] = field(default_factory=dict)
    """By team, its cases that need not be run again."""
    begun_on: dict[str, str] = field(default_factory=dict)
    """By case, the hardware of the first team's good time."""
    standing: Standing = field(default_factory=Standing)
    _uneven: set[str] = field(default_factory=set)

    def add(self, team: str, records: Iterable[CaseRecord], masks: set[str]) -> None:
        """Take in the valid records of one team, which has masks of these cases."""
        done, counts, carrying = set[str](), Counter[Status](), []
        for record in records:
            counts[record.status] += 1
            is_ok = record.status is Status.OK
            if record.case in masks if is_ok else record.status.is_final:
                done.add(record.case)
            if is_ok and self.begun_on.setdefault(record.case, record.hardware) != record.hardware:
                self._uneven.add(record.case)
            if record.carried_files:
                carrying.append(record)
        self.done[team], self.standing.counts[team] = done, counts
        self.standing.uneven = len(self._uneven)
        if carrying:
            self.standing.carried[team] = summarise_carried(carrying)


class Plan:
    """All cases of all teams of a run, and which of them are done."""

    def __init__(
        self,
        folder: RunFolder,
        runner: str,
        protocol: Protocol,
        submissions: Sequence[Submission],
        cases: Sequence[Case],
    ) -> None:
        """Plan a run; ``runner`` is the name of what runs containers."""
        self._folder, self._runner, self._protocol = folder, runner, protocol
        self.submissions, self.cases = submissions, cases
        self.digests = digest_cases(cases, folder.path)
        self._surveyed: tuple[list[int], Survey] | None = None

    def place(self, submission: Submission) -> TeamFolder:
        """Return where the results of a submission are."""
        return self._folder.team(submission.team.name)

    def open_turns(self) -> list[tuple[str, Turn]]:
        """Return what has no final record, by case, with the hardware that the case began on."""
        survey = self._survey()
        turns = []
        for number, case in enumerate(self.cases):
            places = balanced_order(len(self.submissions), number)
            order = [self.submissions[place] for place in places]
            left = [entry for entry in order if case.name not in survey.done[entry.team.name]]
            if left:
                turns.append((survey.begun_on.get(case.name, ""), (case, left)))
        return turns

    def standing(self) -> Standing:
        """Return how the run stands now, from the records on disk."""
        return self._survey().standing

    def _survey(self) -> "Survey":
        """Read all records, unless nothing was written since they were last read."""
        paths = [self.place(submission).records for submission in self.submissions]
        sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
        if self._surveyed is None or sizes != self._surveyed[0]:
            survey = Survey()
            for submission in self.submissions:
                masks = self.place(submission).masks()
                survey.add(submission.team.name, self._valid_records(submission), masks)
            self._surveyed = (sizes, survey)
        return self._surveyed[1]

    def _valid_records(self, submission: Submission) -> Iterator[CaseRecord]:
        """Yield the records of this very submission, these cases and this protocol."""
        common = (self._runner, submission.digest)
        protocol = self._protocol.digest
        for case, record in last_records(iterate_records(self.place(submission).records)).items():
            digest = self.digests.get(case)
            if digest and record.key == ResumeKey(case, *common, digest, protocol):
                yield record


def balanced_order(teams: int, case: int) -> list[int]:
    """Return in which order teams run a case: each is as often first, and as often after any other.

    A machine that slows down in the course of a run slows them all, and what a container leaves
    behind (heat, a full page cache) meets no team more often than another. Balanced over every
    ``teams`` cases, or twice as many where the number of teams is odd (Williams 1949, "Experimental
    designs balanced for the estimation of residual effects of treatments").
    """
    zigzag = [(step + 1) // 2 if step % 2 else -(step // 2) for step in range(teams)]
    order = [(place + case) % teams for place in zigzag]
    return order[::-1] if teams % 2 and case // teams % 2 else order
