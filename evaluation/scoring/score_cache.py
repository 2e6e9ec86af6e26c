"""Finished scores kept by content, so that a stopped `score` goes on and a new team costs only
itself.

A result depends on the truth, the mask, the record and this version's rules, and its name is the
digest of all of them: nothing is ever out of date, and a name that is there is right. Anything that
cannot be read is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from evaluation import __version__
from evaluation.dataset import digest_of
from evaluation.scoring.score_tables import SCHEMA, LabelRow, ScoreRow

CACHE_FOLDER = ".scores"
"""In a run folder, or beside the table of a folder of masks."""

_RULES = 2
"""Goes up when something else follows from the same facts and files within a version."""

TeamRows = tuple[ScoreRow, tuple[LabelRow, ...]]


def digest_or_none(path: Path | None) -> str | None:
    """Digest of a file that may lack; links are never followed to what they name."""
    if path is None or not path.is_file() or path.is_symlink():
        return None
    return digest_of(path)


def entry_name(facts: dict[str, object], digests: Sequence[str | None]) -> str:
    """Name of what depends on plain facts, on the content of files and on this version."""
    parts = {
        "version": __version__,
        "rules": _RULES,
        "schema": SCHEMA,
        "facts": facts,
        "files": list(digests),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def load_rows(folder: Path, name: str) -> TeamRows | None:
    """Return a kept result, or none if there is none that can be read."""
    try:
        content = json.loads(_place(folder, name).read_text(encoding="utf-8"))
        labels = tuple(LabelRow(**label) for label in content["labels"])
        return ScoreRow(**content["score"]), labels
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_rows(folder: Path, name: str, rows: TeamRows) -> None:
    """Keep a result; a full disk only means that it is computed again."""
    content = {"score": vars(rows[0]), "labels": [vars(label) for label in rows[1]]}
    keep_bytes(_place(folder, name), json.dumps(content).encode())


def keep_bytes(place: Path, content: bytes) -> None:
    """Write a file of the cache whole, and its folder; on a full disk it is not kept."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        if not place.parent.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, place)
    except OSError:
        temporary.unlink(missing_ok=True)


def _place(folder: Path, name: str) -> Path:
    return folder / name[:2] / f"{name}.json"
