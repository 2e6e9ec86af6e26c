"""Two teams' results on the same cases.

A result is a team's folder, RUN/TEAM, with the scores.csv that `score` wrote; its records.jsonl and
masks are used where they are there. A run folder with one team stands for that team.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import ComparisonError, instead_of_folder
from evaluation.ranking.team_facts import TeamFacts, read_facts
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.score_tables import (
    NO_TRUTH,
    OK,
    SCORES_FILE,
    ScoreRow,
    read_table,
)


@dataclass(frozen=True)
class Result:
    """Everything stored of one team's run."""

    folder: Path
    rows: Mapping[str, ScoreRow]
    """By case; cases without a truth are left out."""
    records: Mapping[str, CaseRecord]
    """By case; empty where there is no records.jsonl."""
    facts: TeamFacts

    def seconds(self, case: str) -> float | None:
        """Return the time of a case that is ok."""
        row = self.rows[case]
        return row.wall_s if row.status == OK else None

    def peak_bytes(self, case: str) -> int | None:
        """Return the peak memory of a case that is ok."""
        record = self.records.get(case)
        return record.peak_bytes if record and self.rows[case].status == OK else None

    def mask(self, case: str) -> Path:
        """Return the place of a case's mask, which may be missing."""
        return TeamFolder(self.folder).mask(case)


@dataclass(frozen=True)
class Pair:
    """Two results and the cases that both have."""

    one: Result
    other: Result
    cases: tuple[str, ...]
    """By name."""
    only_one: tuple[str, ...]
    only_other: tuple[str, ...]
    """Cases that are in one of them alone, and in no number here."""

    def equal_hardware(self, case: str) -> bool:
        """Whether the two times of a case were taken on equal, known hardware."""
        keys = {result.facts.hardware.get(case, "") for result in (self.one, self.other)}
        return len(keys) == 1 and "" not in keys


def read_result(folder: Path) -> Result:
    """Read a team's folder, or that of a run with one team.

    Raises ComparisonError when there is no scores.csv, or one of several teams must be named.
    """
    tables = sorted(folder.glob(f"*/{SCORES_FILE}"))
    if not (folder / SCORES_FILE).is_file():
        if not folder.is_dir():
            raise ComparisonError(f"{folder}: expected RUN/TEAM, found {instead_of_folder(folder)}")
        if len(tables) != 1:
            found = ", ".join(table.parent.name for table in tables) or "none"
            raise ComparisonError(
                f"{folder}: expected {SCORES_FILE} of one team, found teams: {found}"
            )
        folder = tables[0].parent
    rows = {row.case: row for row in read_table(folder / SCORES_FILE, ScoreRow)}
    return Result(
        folder=folder,
        rows={case: row for case, row in rows.items() if row.status != NO_TRUTH},
        records=TeamFolder(folder).counting_records(),
        facts=read_facts(folder),
    )


def pair_up(one: Path, other: Path) -> Pair:
    """Read two results; raises ComparisonError when they have no case in common."""
    first, second = read_result(one), read_result(other)
    cases = sorted(first.rows.keys() & second.rows.keys())
    if not cases:
        raise ComparisonError(f"{one} and {other}: expected cases in common, found none")
    for case in cases:
        theirs = [(row.modality, row.dimensions) for row in (first.rows[case], second.rows[case])]
        if theirs[0] != theirs[1]:
            raise ComparisonError(
                f"{case}: expected one modality and dimension, found {theirs[0]} and {theirs[1]}"
            )
    return Pair(
        first,
        second,
        tuple(cases),
        tuple(sorted(first.rows.keys() - second.rows.keys())),
        tuple(sorted(second.rows.keys() - first.rows.keys())),
    )


def strata(pair: Pair) -> dict[str, list[str]]:
    """Return the cases of each part that is looked at by itself: all, 2D, 3D, every modality."""
    parts: dict[str, list[str]] = {"all": list(pair.cases)}
    rows = pair.one.rows
    for dimensions in (2, 3):
        found = [case for case in pair.cases if rows[case].dimensions == dimensions]
        if found:
            parts[f"{dimensions}D"] = found
    for modality in sorted({rows[case].modality for case in pair.cases}):
        parts[modality] = [case for case in pair.cases if rows[case].modality == modality]
    return parts
