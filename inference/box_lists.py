"""Boxes of pictures and volumes from the files that lie beside them.

``scan.json`` or ``scan.csv`` is ``scan.nii.gz``'s own list, ``boxes.json`` or ``boxes.csv`` the
folder's.  JSON: a list of boxes (in an own list), or ``{"scan.nii.gz": [[...], ...]}``; CSV: a row
a box with the columns x_min, y_min, z_min, x_max, y_max, z_max (and file, in boxes.csv), between
commas or, as some spreadsheets write it, semicolons.

A file of either kind that has no boxes at all, such as the description of a scan that dcm2niix and
BIDS put there, is no list.
"""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from inference.errors import CaseError, UsageError

_COLUMNS = ("x_min", "y_min", "z_min", "x_max", "y_max", "z_max")

NIFTI = (".nii.gz", ".nii")
PNG = (".png",)
SUFFIXES = NIFTI + PNG

Rows = list[list[float]]


def boxes_of(path: Path, flat: bool) -> Rows:
    """Boxes of six numbers (z unused where ``flat``) from the file's own list or the folder's.

    Raises:
        CaseError: there are none, or they are no boxes.
    """
    names = os.listdir(path.parent)
    found_lists = [(name, _read_list(path.with_name(name))) for name in _own_names(path, names)]
    lists = [own for _, own in found_lists if own is not None]
    for own in lists:
        for name in (path.name, ""):
            if name in own:
                return _checked(own[name], flat)
    if any(own == {} and name.endswith(".csv") for name, own in found_lists):
        return []  # a head and no row: no boxes
    listed = folder_list(path.parent, names)
    if path.name not in listed:
        found = ", ".join(sorted({name for own in lists for name in own})) or "none"
        raise CaseError(f"boxes: expected a list, or one named {path.name}, found {found}")
    return _checked(listed[path.name], flat)


def has_own_list(path: Path, names: list[str]) -> bool:
    """Whether one of the folder's ``names`` is a list of ``path``'s own; one that turns out to be
    broken, or another's, is told when it is read."""
    for name in _own_names(path, names):
        try:
            if _read_list(path.with_name(name)) is not None:
                return True
        except CaseError:
            return True
    return False


def folder_list(folder: Path, names: list[str]) -> dict[str, Any]:
    """Boxes by file name from boxes.json or boxes.csv; nothing where there is neither.

    Raises:
        UsageError: it cannot be read, or does not say whose the boxes are.
    """
    for name in ("boxes.json", "boxes.csv"):
        if name in names:
            try:
                found = _read_list(folder / name)
            except CaseError as error:
                raise UsageError(f"{folder / name}: {error}") from error
            if found is None or "" in found:
                columns = f"the columns file, {', '.join(_COLUMNS)}"
                expected = columns if name.endswith(".csv") else '{"scan.nii.gz": [[..]]}'
                found_here = "none" if found is None else "boxes of no file"
                raise UsageError(f"{folder / name}: expected {expected}, found {found_here}")
            return found
    return {}


def _stem(name: str, suffixes: tuple[str, ...]) -> str | None:
    """``name`` without the first of ``suffixes`` that it ends with; None where it has none."""
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None


def _own_names(path: Path, names: list[str]) -> list[str]:
    stem = _stem(path.name, SUFFIXES) or path.name
    return [stem + suffix for suffix in (".json", ".csv") if stem + suffix in names]


def _read_list(path: Path) -> dict[str, Any] | None:
    """Rows by file name, those without a name under ""; None for a file of something else."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a mark first
        return _of_json(text) if path.suffix == ".json" else _of_csv(text)
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
        raise CaseError(f"{path.name}: expected boxes (json or csv), found: {error}") from error


def _of_json(text: str) -> dict[str, Any] | None:
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        return {"": loaded}
    are_boxes = all(
        isinstance(rows, list) and all(isinstance(row, list) for row in rows)
        for rows in loaded.values()
    )
    names_a_scan = any(str(name).lower().endswith(SUFFIXES) for name in loaded)
    return loaded if names_a_scan or are_boxes else None


def _of_csv(text: str) -> dict[str, Any] | None:
    head = text.partition("\n")[0]
    if _COLUMNS[0] not in head:
        return None
    found: dict[str, Any] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter=";" if ";" in head else ","):
        if not any(cell.strip() for cell in row.values() if isinstance(cell, str)):
            continue  # spreadsheets leave rows of commas at the end
        numbers = [float(row[c]) for c in _COLUMNS if (row.get(c) or "").strip()]
        found.setdefault((row.get("file") or "").strip(), []).append(numbers)
    return found


def _checked(rows: Any, flat: bool) -> Rows:
    """Rows as six numbers each."""
    count = 4 if flat else 6
    if not isinstance(rows, list) or not all(
        isinstance(row, list)
        and len(row) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in row)
        for row in rows
    ):
        raise CaseError(f"boxes: expected rows of {count} numbers, found {rows}")
    return [[*row[:2], 0, *row[2:], 0] if flat else list(row) for row in rows]
