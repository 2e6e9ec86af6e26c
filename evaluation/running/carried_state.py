"""What a submission leaves in folders that live on, and whether a later case makes use of it.

Under the organisers' protocol only the case's file and its mask go away between two cases
(CVPR24_time_eval.py:81-87), so that compiled models left in either folder make every case but the
first faster (challenge.md 6.C, C1), and nothing stops a case from reading an earlier one. That is
part of the published numbers, and therefore allowed here, counted and told.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.running.records import CaseRecord

_NAMES_TOLD = 3
_MOST_ENTRIES = 10_000
_BEFORE_NS = 1_000_000_000


@dataclass(frozen=True)
class LeftFile:
    """A file that an earlier case left, as it was before the next one began."""

    path: Path
    name: str
    """Relative to the folder that holds inputs and outputs."""
    size_bytes: int
    changed_ns: int
    read_ns: int


@dataclass(frozen=True)
class CarriedState:
    """What one case found of earlier ones."""

    files: int
    size_bytes: int
    used: int | None
    """Files of them that were read, changed or removed; None where the file system cannot tell."""
    names: tuple[str, ...]
    """The first few."""


def find_left_files(base: Path) -> list[LeftFile]:
    """Return all files below ``base``, with their times of reading set back so that a read shows.

    A file read by its owner gets a new time of reading only if the old one is not newer than its
    last change (mount option relatime, Linux's default).
    """
    left: list[LeftFile] = []
    for folder, _, names in os.walk(base):
        for name in sorted(names)[: _MOST_ENTRIES - len(left)]:
            path = Path(folder, name)
            found = path.lstat()
            read_ns = found.st_mtime_ns - _BEFORE_NS
            os.utime(path, ns=(read_ns, found.st_mtime_ns), follow_symlinks=False)
            size = found.st_size
            left.append(
                LeftFile(path, str(path.relative_to(base)), size, found.st_mtime_ns, read_ns)
            )
    return sorted(left, key=lambda entry: entry.name)


def describe_use(left: Sequence[LeftFile]) -> CarriedState:
    """Return what became of left files in the course of a case."""
    tells = all(
        not os.statvfs(entry.path.parent).f_flag & os.ST_NOATIME
        for entry in left[:1]
        if entry.path.parent.is_dir()
    )
    return CarriedState(
        files=len(left),
        size_bytes=sum(entry.size_bytes for entry in left),
        used=sum(_is_used(entry) for entry in left) if tells else None,
        names=tuple(entry.name for entry in left[:_NAMES_TOLD]),
    )


def summarise_carried(records: Iterable[CaseRecord]) -> str:
    """Return in one line what the cases of a team found of earlier ones; empty if nothing."""
    found = [record for record in records if record.carried_files]
    if not found:
        return ""
    most = max(found, key=lambda record: record.carried_bytes or 0)
    users = sum(bool(record.carried_used) for record in found)
    known = all(record.carried_used is not None for record in found)
    return (
        f"state carried from case to case: {len(found)} cases found files of earlier ones, "
        f"{users if known else 'unknown how many'} used them; at most {most.carried_files} files, "
        f"{most.carried_bytes} bytes ({', '.join(most.carried_names)})"
    )


def _is_used(entry: LeftFile) -> bool:
    try:
        found = entry.path.lstat()
    except OSError:
        return True
    return (found.st_mtime_ns, found.st_atime_ns) != (entry.changed_ns, entry.read_ns)
