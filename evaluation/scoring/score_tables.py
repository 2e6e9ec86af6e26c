"""The tables that `score` writes and the later commands read: scores.csv and labels.csv of a team.

A row of a table is a frozen dataclass and its fields are the columns, after a first column
`schema`. Rows are written in a fixed order, numbers in the shortest form that reads back as the
same number, and the file replaces the old one whole: the same masks always give the same bytes.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from evaluation.errors import ScoreError, instead_of_folder
from evaluation.metrics.label_scores import LabelScore
from evaluation.running.run_folder import write_bytes

SCHEMA = 2
"""Version of both tables, in their first column; raised whenever a column changes its meaning."""

SCORES_FILE = "scores.csv"
LABELS_FILE = "labels.csv"

OK = "ok"
"""The container did its part and the mask could be scored; every other status scores 0."""

NOT_RUN = "not run"
"""The team has no record of a case that another team of the run has."""

NO_TRUTH = "no truth"
"""The truth of the case is missing or broken: not the team's fault, no score, not in any mean."""


@dataclasses.dataclass(frozen=True)
class ScoreRow:
    """One case of one team; a row of scores.csv."""

    team: str
    case: str
    modality: str
    dimensions: int | None
    """2 or 3, by the truth's array; none without a truth."""
    status: str
    reason: str
    wall_s: float | None
    """Seconds as recorded, whatever the status; only those of status `ok` enter a ranking."""
    dsc: float | None
    nsd: float | None
    """None without a truth; 0 for every status but `ok`."""
    dsc_official: float | None
    nsd_official: float | None
    """What the organisers' script gives, four decimals; dsc can be NaN. It scores any mask that is
    there, whatever the status."""
    official_remark: str
    """Why the organisers' script would have crashed, or empty."""
    dsc_difference: float | None
    nsd_difference: float | None
    """Official minus ours."""
    labels: int
    """Labels in the truth, over which dsc and nsd are means."""
    false_positive_labels: int
    false_positive_voxels: int
    instance_f1: float | None
    instance_dsc: float | None
    instance_matches: int
    """Labels as objects, matched at IoU 0.5: F1, mean DSC over the matches, and their number."""
    tolerance: float
    """Of nsd: mm in 3D, pixels in 2D."""
    spacing_mm: str
    """In the order of the array's axes, separated by blanks."""
    spacing_origin: str


@dataclasses.dataclass(frozen=True)
class _CaseOfTeam:
    team: str
    case: str


@dataclasses.dataclass(frozen=True)
class LabelRow(LabelScore, _CaseOfTeam):
    """One label of the truth of one case of one team; a row of labels.csv.

    Its columns are `team` and `case`, then the fields of LabelScore, which say what they are.
    """


Row = TypeVar("Row", bound=ScoreRow | LabelRow)


def write_table(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write a table whole, or leave the old file as it was; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = _columns(kind)
    writer.writerow(["schema", *columns])
    values = operator.attrgetter(*columns)
    writer.writerows([SCHEMA, *values(row)] for row in rows)
    replace_file(path, text.getvalue())


def read_table(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table; raises ScoreError when it is missing, of another schema or damaged."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoreError(f"{path}: expected a table written by score, found: {error}") from error
    reader = csv.reader(lines)
    expected = ["schema", *_columns(kind)]
    if (found := next(reader, [])) != expected:
        raise ScoreError(f"{path}: columns must be {','.join(expected)}, found {','.join(found)}")
    hints = list(get_type_hints(kind).values())
    rows = []
    for number, values in enumerate(reader, start=2):
        if len(values) != len(expected) or values[0] != str(SCHEMA):
            raise ScoreError(
                f"{path}: line {number} must have schema {SCHEMA} and {len(expected)} columns, "
                f"found schema {values[0] if values else 'none'} and {len(values)} columns"
            )
        try:
            fields = [_parse(text, hint) for text, hint in zip(values[1:], hints, strict=True)]
        except ValueError as error:
            raise ScoreError(f"{path}: line {number}: {error}") from error
        rows.append(kind(*fields))
    return rows


def replace_file(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all, flushed to disk."""
    write_bytes(path, text.encode())


def scored_teams(run: Path) -> dict[str, list[ScoreRow]]:
    """The scores.csv of every team folder of a run that has one, by team name."""
    if not run.is_dir():
        raise ScoreError(f"{run}: expected a run folder, found {instead_of_folder(run)}")
    tables = sorted(run.glob(f"*/{SCORES_FILE}"))
    if not tables:
        raise ScoreError(f"{run}: expected TEAM/{SCORES_FILE}, found none; run score first")
    return {table.parent.name: read_table(table, ScoreRow) for table in tables}


def _columns(kind: type[Row]) -> Sequence[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _parse(text: str, hint: object) -> Any:
    """Read one cell; an empty one is None where the column allows it."""
    if hint is str:
        return text
    if text == "" and hint in (int | None, float | None):
        return None
    return int(text) if hint in (int, int | None) else float(text)
