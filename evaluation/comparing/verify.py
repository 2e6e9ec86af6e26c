"""The command `verify`: does every cell of the leaderboard follow from the records?

Three questions, each with its own checks: do the stored scores follow from the stored masks (a
sample of them is scored again), do all rows of scores.csv follow from the records (status, time,
no case lost or added), and do rank.json, leaderboard.csv and leaderboard.md follow from the rows
(all of it is computed again, and compared byte by byte).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.comparing.written import as_csv_text, write_three
from evaluation.dataset import digest_of
from evaluation.errors import ComparisonError, UsageError
from evaluation.ranking.rank import LEADERBOARD_CSV, LEADERBOARD_MD, rank_runs
from evaluation.ranking.results import RANK_FILE, as_json, read_ranking
from evaluation.ranking.tables import as_csv, as_markdown
from evaluation.running.outcomes import Status
from evaluation.running.ranking_rules import parse_rules
from evaluation.running.records import CaseRecord, last_records, read_records
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.case_scores import score_task
from evaluation.scoring.score_tables import NO_TRUTH, NOT_RUN, OK, ScoreRow, scored_teams
from evaluation.scoring.scores import plan

SCHEMA = 1
"""Version of verify.json and .csv."""

NOT_VERIFIED = 4
"""Exit code when anything does not follow; 1 and 2 are errors."""

TOLERANCE = 1e-9
"""Scores that differ by less are equal: another version of NumPy may sum in another order."""

SHOWN_FAULTS = 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; a row of verify.csv."""

    what: str
    """`score`, `mask`, `row` or `leaderboard`."""
    team: str
    case: str
    cell: str
    """Column, or the place in rank.json."""
    follows: bool
    stored: str
    expected: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `verify`."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folders, all that were ranked"
    )
    parser.add_argument(
        "--truth", type=Path, metavar="DIR", help="truth, to score a sample of the masks again"
    )
    parser.add_argument(
        "--cases", type=Path, metavar="DIR", help="input folder, for spacings the truth lacks"
    )
    parser.add_argument("--sample", type=int, default=20, metavar="N", help="cases scored again")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of cases")
    parser.add_argument(
        "--groups", type=Path, metavar="CSV", help="groups that the ranking was made with"
    )
    parser.add_argument(
        "--leaderboard",
        type=Path,
        metavar="DIR",
        help="folder of rank.json (default: first RUN)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for verify.* (default: first RUN)"
    )


def execute(args: argparse.Namespace) -> int:
    """Check everything, write verify.json, .csv and .txt, print the text; 0 if all follows."""
    if args.sample < 0:
        raise UsageError(f"--sample: expected 0 or more, found {args.sample}")
    checks: list[Check] = []
    for run in args.runs:
        checks += check_rows(run)
        if args.truth is not None and args.sample:
            checks += check_scores(run, args.truth, args.cases, args.sample, args.seed)
    folder = args.leaderboard or args.runs[0]
    checks += check_leaderboard(args.runs, folder, args.groups)
    faults = [check for check in checks if not check.follows]
    text = as_text(checks, scored_again=args.truth is not None and args.sample > 0)
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "follows": not faults,
        "checks": {
            what: sum(check.what == what for check in checks)
            for what in sorted({check.what for check in checks})
        },
        "sample": args.sample if args.truth is not None else 0,
        "seed": args.seed,
        "faults": [dataclasses.asdict(check) for check in faults],
    }
    table = as_csv_text(SCHEMA, Check, checks)
    write_three(args.out or args.runs[0], "verify", content, table, text)
    print(text)
    return NOT_VERIFIED if faults else 0


def check_rows(run: Path) -> Iterator[Check]:
    """Compare every row of every scores.csv with the record of its case."""
    teams = scored_teams(run)
    folders = {team: TeamFolder(run / team) for team in teams}
    written = {team: read_records(folder.records) for team, folder in folders.items()}
    records = {team: last_records(folders[team].own_of(own)) for team, own in written.items()}
    expected = {record.case for own in written.values() for record in own}
    for team, rows in teams.items():
        cases = [row.case for row in rows]
        lost = len(expected - set(cases)) + len(cases) - len(set(cases))
        yield Check("row", team, "", "cases", lost == 0, str(len(cases)), str(len(expected)))
        for row in rows:
            yield from _check_row(team, row, records[team].get(row.case))


def _check_row(team: str, row: ScoreRow, record: CaseRecord | None) -> Iterator[Check]:
    """Compare status and time; a record that is ok may still have a mask that cannot be scored."""
    if record is None:
        allowed = {NOT_RUN, NO_TRUTH}
    elif record.status is not Status.OK:
        allowed = {str(record.status), NO_TRUTH}
    else:
        masks = (Status.MISSING_OUTPUT, Status.UNREADABLE_OUTPUT)
        shapes = (Status.WRONG_SHAPE, Status.WRONG_TYPE)
        allowed = {OK, NO_TRUTH, *map(str, masks + shapes)}
    expected = " or ".join(sorted(allowed))
    yield Check("row", team, row.case, "status", row.status in allowed, row.status, expected)
    wall_s = None if record is None else record.wall_s
    same = row.wall_s == wall_s
    yield Check("row", team, row.case, "wall_s", same, str(row.wall_s), str(wall_s))


def check_scores(
    run: Path, truth: Path, cases: Path | None, sample: int, seed: int
) -> Iterator[Check]:
    """Score a random sample of the cases again, for every team, from masks and truth."""
    tasks = plan(run, truth, cases)
    chosen = random.Random(seed).sample(tasks, min(sample, len(tasks)))
    stored = {(team, row.case): row for team, rows in scored_teams(run).items() for row in rows}
    for task in sorted(chosen, key=lambda task: task.case):
        for row in score_task(dataclasses.replace(task, cache=None)).scores:
            kept = stored.get((row.team, row.case))
            if kept is None:
                yield Check("score", row.team, row.case, "row", False, "none", row.status)
                continue
            yield from _check_mask(run, row, task.records[row.team])
            for field in dataclasses.fields(ScoreRow):
                old, new = getattr(kept, field.name), getattr(row, field.name)
                same = _equal(old, new)
                yield Check("score", row.team, row.case, field.name, same, str(old), str(new))


def _check_mask(run: Path, row: ScoreRow, record: CaseRecord | None) -> Iterator[Check]:
    """Compare the digest of the stored mask with the one that was recorded when it was taken."""
    if record is None or record.mask_sha256 is None:
        return
    path = TeamFolder(run / row.team).mask(row.case)
    found = digest_of(path) if path.is_file() else "no file"
    same = found == record.mask_sha256
    yield Check("mask", row.team, row.case, "sha256", same, found, record.mask_sha256)


def check_leaderboard(runs: Sequence[Path], folder: Path, groups: Path | None) -> Iterator[Check]:
    """Rank again by the stored rules and compare every cell of the three files.

    Raises ComparisonError when the ranking was made with a table of groups that is not given.
    """
    path = folder / RANK_FILE
    stored = read_ranking(path)
    if ("groups" in stored.inputs) != (groups is not None):
        word = "with" if "groups" in stored.inputs else "without"
        raise ComparisonError(f"{path}: this ranking was made {word} --groups; say it in this way")
    table = {key: value for key, value in stored.rules.items() if key != "failure"}
    again = rank_runs(runs, groups=groups, rules=parse_rules(table, f"{path}: rules"))
    old = dict(_cells(json.loads(path.read_text(encoding="utf-8"))))
    new = dict(_cells(json.loads(as_json(again))))
    for cell in sorted(old.keys() | new.keys()):
        kept, found = old.get(cell, "none"), new.get(cell, "none")
        yield Check("leaderboard", "", "", f"{RANK_FILE}: {cell}", kept == found, kept, found)
    for name, text in ((LEADERBOARD_CSV, as_csv(again)), (LEADERBOARD_MD, as_markdown(again))):
        kept_text = (folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else ""
        same = kept_text == text
        yield Check("leaderboard", "", "", name, same, f"{len(kept_text)} characters", "the same")


def as_text(checks: Sequence[Check], *, scored_again: bool) -> str:
    """The verdict, what was looked at, and what does not follow."""
    faults = [check for check in checks if not check.follows]
    verdict = "does not follow" if faults else "follows"
    lines = [f"the leaderboard {verdict} from the records: {len(faults)} of {len(checks)} differ"]
    if not scored_again:
        lines.append("no mask was scored again: that needs --truth")
    for what in sorted({check.what for check in checks}):
        own = [check for check in checks if check.what == what]
        bad = sum(not check.follows for check in own)
        lines.append(f"{what}: {len(own)} looked at, {bad} differ")
    for check in faults[:SHOWN_FAULTS]:
        where = " ".join(part for part in (check.team, check.case, check.cell) if part)
        lines.append(f"  {check.what} {where}: stored {check.stored}, expected {check.expected}")
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(faults) - SHOWN_FAULTS} more in verify.csv")
    return "\n".join(lines)


def _equal(stored: object, expected: object) -> bool:
    """Whether two cells are the same number, or the same text; NaN is NaN."""
    if isinstance(stored, float) and isinstance(expected, float):
        if math.isnan(stored) or math.isnan(expected):
            return math.isnan(stored) and math.isnan(expected)
        return abs(stored - expected) <= TOLERANCE
    return stored == expected


def _cells(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every number and text of a JSON file with its place."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _cells(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for index, part in enumerate(value):
            yield from _cells(part, f"{place}[{index}]")
    else:
        yield place, json.dumps(value, ensure_ascii=False)
