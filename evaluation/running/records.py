"""The record of each finished case: one JSON object a line, appended, flushed to disk.

A file is only ever appended to. A torn last line (the harness was killed in the middle of it) is
cut off when the file is next opened for writing and ignored when it is read; anything else that is
not a record is an error. Of several records of a case, the last one counts.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from evaluation import __version__
from evaluation.errors import RecordError
from evaluation.running.limits import LimitsInForce
from evaluation.running.outcomes import Status

SCHEMA = 1
"""Version of a record's fields; goes up when one changes its meaning."""


@dataclass(frozen=True)
class CaseRecord:
    """One finished run of one case."""

    case: str
    modality: str
    dimensions: int
    status: Status
    reason: str
    """Empty for ok; else one line with the evidence."""
    exit_code: int | None
    oom_killed: bool
    wall_s: float | None
    """None when the case did not run (harness fault)."""
    started_at: str
    """UTC, ISO 8601; for people, never for arithmetic."""
    runner: str
    submission: str
    """Digest of the image, or of the folder's files without Docker Engine."""
    case_sha256: str
    protocol_sha256: str
    mask_bytes: int | None = None
    mask_sha256: str | None = None
    harness: str = __version__
    """Version of the harness, as in the resume key."""
    wall_runs_s: tuple[float, ...] = ()
    """All timed runs, in order; ``wall_s`` is their median."""
    wall_spread_s: float | None = None
    """Longest less shortest of several; None of one."""
    turnaround_s: float | None = None
    """Of the last run, with making and removing its container: what the official script times."""
    masks_differ: bool | None = None
    """Whether repeated runs gave different masks; None after one run, and where one failed."""
    cpuset: str = ""
    """Processors that were its own; empty for all of the machine."""
    host: str = ""
    """Name of the machine that it ran on."""
    hardware: str = ""
    """What it had to run on, by host.hardware_key: times compare only where this is equal."""
    limits: LimitsInForce | None = None
    """As read back from engine and kernel; None where nothing enforces any."""
    cpu_s: float | None = None
    peak_bytes: int | None = None
    network_attempts: int | None = None
    written_bytes: int | None = None
    """See CaseRun; None where the kernel does not tell."""
    carried_files: int | None = None
    """Files that earlier cases had left in kept folders; None in fresh folders."""
    carried_bytes: int | None = None
    carried_used: int | None = None
    """Of those, how many this case read, changed or removed; None where that cannot be told."""
    carried_names: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def key(self) -> "ResumeKey":
        """Return what the result depends on."""
        digests = (self.submission, self.case_sha256, self.protocol_sha256)
        return ResumeKey(self.case, self.runner, *digests, self.harness)


class ResumeKey(NamedTuple):
    """What the result of a case depends on: equal keys mean that it need not be run again."""

    case: str
    runner: str
    submission: str
    case_sha256: str
    protocol_sha256: str
    harness: str = __version__


_TAIL_BYTES = 1 << 16
_FIELDS = {entry.name for entry in fields(CaseRecord)}
_TUPLES = {"carried_names", "wall_runs_s"}  # JSON has lists only


class RecordLog:
    """The open record file of one team; use as ``with RecordLog(path) as log``."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __enter__(self) -> "RecordLog":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def append(self, record: CaseRecord) -> None:
        """Write one record and return when it is on disk."""
        line = json.dumps(asdict(record), sort_keys=True, allow_nan=False).encode() + b"\n"
        try:
            written = os.write(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            raise RecordError(f"{record.case}: its record cannot be written: {error}") from error
        if written != len(line):
            raise RecordError(f"{record.case}: record of {len(line)} bytes, {written} written")


def read_records(path: Path) -> list[CaseRecord]:
    """Return all records in the order in which they were written; none if there is no file."""
    return list(iterate_records(path))


def iterate_records(path: Path) -> Iterator[CaseRecord]:
    """Yield what read_records returns, one record after the other."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.endswith(b"\n"):
                yield parse_record(line, f"{path}:{number}")


def parse_record(line: bytes, where: str) -> CaseRecord:
    """Return the record in one line; raises RecordError naming ``where`` when it is none."""
    try:
        values: dict[str, Any] = json.loads(line)
        if values.get("schema") != SCHEMA:
            raise RecordError(f"{where}: schema must be {SCHEMA}, found {values.get('schema')}")
        values["status"] = Status(values["status"])
        for name in _TUPLES & values.keys():
            values[name] = tuple(values[name])
        for name in values.keys() - _FIELDS:  # of a later version
            del values[name]
        return CaseRecord(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{where}: expected a record, found {line[:60]!r} ({error})") from error


def last_records(records: Iterable[CaseRecord]) -> dict[str, CaseRecord]:
    """Return the record that counts for each case, by case name."""
    return {record.case: record for record in records}


def cut_torn_line(path: Path) -> None:
    """Remove what follows the last line end of a file, if anything does."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        left = stream.seek(0, os.SEEK_END)
        while left:
            start = max(left - _TAIL_BYTES, 0)
            stream.seek(start)
            end = stream.read(left - start).rfind(b"\n")
            if end >= 0:
                left = start + end + 1
                break
            left = start
        stream.truncate(left)
