"""Patient groups of cases, from a table: cases of one group are not independent.

A table is a csv with a column `group` and a column `case`, or `file` whose name without folder and
ending is the case, as data_splits/default.csv has it. A case that it does not name, or that has no
group there, is a group of its own.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from evaluation.errors import RankError


def read_groups(path: Path) -> dict[str, str]:
    """Return the group of each case; raises RankError naming the line that cannot be used."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise RankError(f"{path}: expected a table of groups, found no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RankError(f"{path}: expected a table of groups, found: {error}") from error
    reader = csv.DictReader(lines)
    columns = reader.fieldnames or []
    key = next((name for name in ("case", "file") if name in columns), None)
    if key is None or "group" not in columns:
        found = ", ".join(columns) or "none"
        raise RankError(f"{path}: expected columns group and case (or file), found {found}")
    groups: dict[str, str] = {}
    for row in reader:
        name, group = row[key], row["group"]
        if name is None or group is None:
            raise RankError(f"{path}: line {reader.line_num}: expected a case and a group")
        case = PurePosixPath(name).name.removesuffix(".npz")
        if groups.setdefault(case, group) != group:
            raise RankError(
                f"{path}: line {reader.line_num}: {case}: expected one group, "
                f"found {groups[case]} and {group}"
            )
    return {case: group for case, group in groups.items() if group}
