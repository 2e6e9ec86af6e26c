"""The folder of a run: its lock, its places, and what is cleared away when a harness died in it.

::

    RUN/.lock                     held while a harness works here; the kernel frees it if it dies
    RUN/.work/                    fresh folders of the cases in progress; emptied at every start
    RUN/digests.json              digests of the cases, so that none is read twice (case_digests.py)
    RUN/sentinel.jsonl            times of the container that shows drift (measuring.py)
    RUN/<team>/team.json          what was run and under which conditions
    RUN/<team>/records.jsonl      one object a finished case (records.py)
    RUN/<team>/masks/<case>.npz   accepted masks
    RUN/<team>/logs/<case>.log    output of the container
    RUN/<team>/build.log          for teams handed in as a folder
    RUN/<team>/kept/<digest>/     inputs and outputs that live on, under the organisers' protocol
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evaluation.errors import RecordError
from evaluation.running.outputs import sync_folder
from evaluation.running.records import CaseRecord, last_records, read_records
from evaluation.running.staging import remove_tree

LOCK_WAIT_S = 1.0
"""How long a held lock is waited for: a child that a killed harness was just forking may hold it
until it becomes a program of its own.
"""


@dataclass(frozen=True)
class TeamFolder:
    """The places of one team in a run."""

    path: Path

    @property
    def description(self) -> Path:
        """Return the place of ``team.json``."""
        return self.path / "team.json"

    @property
    def records(self) -> Path:
        """Return the place of the record file."""
        return self.path / "records.jsonl"

    @property
    def build_log(self) -> Path:
        """Return the place of the log of ``docker build``."""
        return self.path / "build.log"

    def kept(self, digest: str) -> Path:
        """Return the place of the folders that live on, for one submission and protocol."""
        return self.path / "kept" / digest[:16]

    def mask(self, case: str) -> Path:
        """Return the place of a case's mask."""
        return self.path / "masks" / f"{case}.npz"

    def masks(self) -> set[str]:
        """Return the cases that have a mask."""
        with suppress(FileNotFoundError), os.scandir(self.path / "masks") as found:
            return {entry.name.removesuffix(".npz") for entry in found if entry.is_file()}
        return set()

    def log(self, case: str) -> Path:
        """Return the place of a case's log."""
        return self.path / "logs" / f"{case}.log"

    def read_description(self) -> dict[str, Any]:
        """Return what ``team.json`` says; nothing where there is none.

        Raises RecordError when it is no object.
        """
        path = self.description
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: expected JSON, found: {error}") from error
        if not isinstance(content, dict):
            raise RecordError(f"{path}: expected an object, found a list or value")
        return content

    def own_of(self, records: Iterable[CaseRecord]) -> list[CaseRecord]:
        """Return those of the team's records that are of what ``team.json`` says was run.

        Where a team was run again with another image or protocol and was stopped, others are left
        from before, and masks with them. All records where nothing says what was run.
        """
        run = self.read_description()
        ours = (run.get("digest"), run.get("protocol_sha256"))
        return [
            record
            for record in records
            if ours[0] in (None, record.submission) and ours[1] in (None, record.protocol_sha256)
        ]

    def counting_records(self) -> dict[str, CaseRecord]:
        """Return the record that counts for each case, the last of its own, by case name."""
        return last_records(self.own_of(read_records(self.records)))

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.path / "masks", self.path / "logs"):
            folder.mkdir(parents=True, exist_ok=True)


class RunFolder:
    """A run folder that this process alone works in; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.lock = self.path / ".lock"
        self.work = self.path / ".work"
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be a run folder: {error}") from error
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _lock(self._descriptor):
            if time.monotonic() > deadline:
                os.close(self._descriptor)
                raise RecordError(f"{self.path}: another harness is working in this folder")
            time.sleep(LOCK_WAIT_S / 50)
        remove_tree(self.work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        remove_tree(self.work)
        os.close(self._descriptor)

    def team(self, name: str) -> TeamFolder:
        """Return a team's places."""
        return TeamFolder(self.path / name)


def is_abandoned(lock: Path) -> bool:
    """Return whether no harness lives that holds this lock file; true if there is no such file."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        return _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that appears whole or not at all, flushed to disk."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, flushed to disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)
