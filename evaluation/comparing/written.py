"""The three files of every comparison: all of it as json, a table as csv, and a text to read."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evaluation.scoring.score_tables import replace_file


def write_three(folder: Path, name: str, content: Mapping[str, Any], table: str, text: str) -> None:
    """Write NAME.json, NAME.csv and NAME.txt; the same findings give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(folder / f"{name}.json", f"{written}\n")
    replace_file(folder / f"{name}.csv", table)
    replace_file(folder / f"{name}.txt", f"{text}\n")


def as_csv_text(schema: int, kind: type[Any], rows: Iterable[Any]) -> str:
    """Write rows of one dataclass; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["schema", *(field.name for field in dataclasses.fields(kind))])
    writer.writerows([schema, *dataclasses.astuple(row)] for row in rows)
    return stream.getvalue()
