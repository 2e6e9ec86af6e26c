"""How much a submission has written into its folders, and whether that is too much."""

import os
from collections.abc import Sequence
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


@dataclass(frozen=True)
class Quota:
    """The most that may lie in a submission's writable folders."""

    folders: Sequence[Path]
    size_bytes: int
    entries: int

    def measure(self) -> Written:
        """Return what lies there, links not followed; stops counting above the entries' limit."""
        size = entries = 0
        waiting = [str(folder) for folder in self.folders]
        while waiting and entries <= self.entries:
            try:
                with os.scandir(waiting.pop()) as found:
                    for entry in found:
                        entries += 1
                        size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        if entries > self.entries:
                            break
            except OSError:
                continue  # removed, or closed to us, since it was listed
        return Written(size, entries)

    def excess(self, written: Written) -> str:
        """Return what is too much, or nothing."""
        if written.entries > self.entries:
            return f"expected at most {self.entries} files in the outputs, found more"
        if written.size_bytes > self.size_bytes:
            return (
                f"expected at most {self.size_bytes} bytes in the outputs, "
                f"found {written.size_bytes}"
            )
        return ""
