"""Out-of-memory kills as the kernel's own log tells them.

Docker Engine's flag is not enough: a container whose main process dies with the killed one is gone
before the engine reads the event, and the flag stays unset (Engine 20.10, cgroup v1: in 3 of 60
runs). The kernel logs a kill before it carries it out, with the container's id in the path of
its cgroup, under cgroup v1 and v2 alike. Reading that log takes root, and an engine on this host;
where either lacks, the engine's flag alone counts.
"""

import os
from types import TracebackType
from typing import Self

KERNEL_LOG = "/dev/kmsg"

_MEMORY_LIMIT_KILL = b"oom-kill:constraint=CONSTRAINT_MEMCG"
"""Start of the line for a kill at a cgroup's limit; a kill for want of host memory has another."""

_RECORD_BYTES = 8192


class OomWitness:
    """Remembers where the kernel log ended, and looks at what came after; a context manager."""

    def __init__(self) -> None:
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            self._close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def saw(self, container: str) -> bool:
        """Return whether a process of this container was killed at a memory limit meanwhile.

        The kernel reports at most ten kills in five seconds, of all containers together.
        """
        name = container.encode()
        return any(
            _MEMORY_LIMIT_KILL in record and name in record for record in self._new_records()
        )

    def _new_records(self) -> list[bytes]:
        records: list[bytes] = []
        while self._descriptor >= 0:
            try:
                records.append(os.read(self._descriptor, _RECORD_BYTES))
            except BrokenPipeError:
                continue  # records were overwritten before we came to them
            except OSError:
                break  # no more
        return records

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_readable() -> bool:
    """Return whether the kernel log is there to be read."""
    return os.access(KERNEL_LOG, os.R_OK)
