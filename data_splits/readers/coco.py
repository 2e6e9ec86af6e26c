"""COCO annotations (instances) by pycocotools: polygons and run-length masks."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from data_splits.errors import SourceError, UsageError, one_line
from data_splits.sources import SourceLabels, paint


@dataclass(frozen=True)
class CocoPicture:
    """One row of ``images``."""

    number: int
    file_name: str


def read_pictures(path: Path) -> list[CocoPicture]:
    """The pictures that an annotation file speaks of, by name."""
    coco = _load(path)
    try:
        rows = [CocoPicture(int(k), str(v["file_name"])) for k, v in coco.imgs.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path.name}: expected images with id and file_name: {error}") from error
    return sorted(rows, key=lambda row: row.file_name)


def read_coco_labels(path: Path, number: int, shape: tuple[int, int]) -> SourceLabels:
    """Annotation i of a picture, in the order of their ids, as label i; named by category.

    Crowds (``iscrowd``) are left out: they are no object. Filled by COCO's own rule.
    """
    coco = _load(path)
    stated = (int(coco.imgs[number]["height"]), int(coco.imgs[number]["width"]))
    if stated != shape:
        raise SourceError(f"{path.name}: expected a picture of {stated}, found {shape}")
    masks, names, notes = [], [], []
    for row in sorted(coco.loadAnns(coco.getAnnIds([number])), key=lambda a: int(a["id"])):
        if row.get("iscrowd"):
            notes.append(f"annotation {row['id']}: a crowd, left out")
            continue
        try:
            mask = np.asarray(coco.annToMask(row), bool)
        except Exception as error:  # malformed polygons end in many kinds
            raise SourceError(
                f"{path.name}: annotation {row.get('id')}: expected polygons or run lengths, "
                f"found: {one_line(error)}"
            ) from error
        if not mask.any():
            notes.append(f"annotation {row['id']}: no pixel inside, left out")
            continue
        masks.append(mask)
        names.append(str(coco.cats.get(row["category_id"], {}).get("name", "")))
    if not masks:
        return SourceLabels(np.zeros(shape, np.uint8), None, notes=tuple(notes))
    values = list(range(1, len(masks) + 1))
    labels, lost = paint(masks, values, names)
    return SourceLabels(labels, None, dict(zip(values, names, strict=True)), (*notes, *lost))


_LOADED: dict[tuple[Path, int], Any] = {}
"""The last file read, with its time: a worker converts many pictures of the same one."""


def _load(path: Path) -> Any:
    try:
        key = (path, path.stat().st_mtime_ns)
    except OSError as error:
        raise UsageError(f"{path}: expected COCO annotations, found: {error.strerror}") from error
    if key not in _LOADED:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                loaded = COCO(str(path))
        except (OSError, json.JSONDecodeError, KeyError, TypeError, AssertionError) as error:
            raise UsageError(
                f"{path.name}: expected COCO annotations, found: {one_line(error)}"
            ) from error
        _LOADED.clear()
        _LOADED[key] = loaded
    return _LOADED[key]
