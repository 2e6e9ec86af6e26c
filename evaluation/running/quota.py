"""How much a submission has written into its folders, and whether that is too much."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512
"""Unit of st_blocks, whatever the file system's own block size."""


@dataclass(frozen=True)
class Written:
    """What lies in some folders."""

    size_bytes: int
    """On the disk: a file with holes counts without them."""
    entries: int
    closed: bool = False
    """Whether a folder was closed by a container of the harness's own user, to whom it was open;
    what another user's container has closed, root's above all, cannot be told from a temporary
    folder and is not counted."""


def _is_ours(place: str) -> bool:
    try:
        return os.lstat(place).st_uid == os.geteuid()
    except OSError:
        return False


@dataclass(frozen=True)
class Quota:
    """The most that may lie in a submission's writable folders."""

    folders: Sequence[Path]
    size_bytes: int
    entries: int

    def measure(self) -> Written:
        """Return what lies there, links not followed; stops counting above the entries' limit."""
        size, entries, closed = 0, 0, False
        waiting = [str(folder) for folder in self.folders]
        while waiting and entries <= self.entries:
            place = waiting.pop()
            try:
                with os.scandir(place) as found:
                    for entry in found:
                        entries += 1
                        with suppress(FileNotFoundError):  # removed since it was listed
                            size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        if entries > self.entries:
                            break
            except PermissionError:  # a harness that is not root
                closed = closed or _is_ours(place)
            except OSError:
                continue  # removed since it was listed
        return Written(size, entries, closed)

    def excess(self, written: Written) -> str:
        """Return what is too much, or nothing."""
        if written.closed:
            return "expected folders in the outputs that can be looked into, found a closed one"
        if written.entries > self.entries:
            return f"expected at most {self.entries} files in the outputs, found more"
        if written.size_bytes > self.size_bytes:
            return (
                f"expected at most {self.size_bytes} bytes in the outputs, "
                f"found {written.size_bytes}"
            )
        return ""
