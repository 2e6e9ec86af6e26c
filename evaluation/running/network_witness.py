"""Whether a container without a network tried to reach one.

Its network namespace counts the packets for which there was no route. The counters' file, once
open, stays readable after the container has ended, and is exact then. That takes an engine on this
host, and its processes to be seen from here.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

PROC = Path("/proc")

_COUNTERS = {"snmp": "OutNoRoutes", "snmp6": "Ip6OutNoRoutes"}


class NetworkWitness:
    """Holds the counters of one container's network namespace; close it after use."""

    def __init__(self) -> None:
        self._files: dict[str, IO[str]] = {}

    @property
    def is_attached(self) -> bool:
        """Whether a namespace was found that is not our own."""
        return bool(self._files)

    def attach(self, processes: list[int]) -> None:
        """Open the counters of the first process that is in another network than we are.

        A container's first process is in ours for an instant, before runc gives it its own.
        """
        for pid in processes:
            with suppress(OSError):
                ours, theirs = (os.stat(PROC / who / "ns/net").st_ino for who in ("self", str(pid)))
                if ours == theirs:
                    continue
                for name in _COUNTERS:
                    with suppress(FileNotFoundError):
                        self._files[name] = (PROC / str(pid) / "net" / name).open()
                return

    def attempts(self) -> int | None:
        """Return how many packets had no route out; None if the container was never seen."""
        if not self._files:
            return None
        total = 0
        for name, stream in self._files.items():
            with suppress(OSError, ValueError):
                stream.seek(0)
                total += read_counter(stream.read(), _COUNTERS[name])
        return total

    def close(self) -> None:
        """Let go of the namespace."""
        for stream in self._files.values():
            stream.close()
        self._files = {}


def read_counter(text: str, name: str) -> int:
    """Return a counter of snmp (two lines a protocol: names, values) or snmp6 (a line each)."""
    lines = [line.split() for line in text.splitlines()]
    for names, values in zip(lines, [*lines, []][1:], strict=True):
        if names[:1] == [name]:
            return int(names[1])
        if names[:1] == values[:1] and name in names:
            return int(values[names.index(name)])
    return 0
