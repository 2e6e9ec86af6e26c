"""How the process ends: by itself, or because it is asked to."""

import contextlib
import os
import sys
from typing import NoReturn


class Stopped(BaseException):
    """The process is asked to end; what is half-written is cleared away on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number
        """As a shell has it."""


def stop_by_sigterm() -> None:
    """Have SIGTERM raise :class:`Stopped` in the main thread.

    By itself SIGTERM, as ``docker stop`` sends it, ends Python at once and leaves half-written
    files; where Python is a container's first process it does nothing at all.
    """
    import signal

    def stop(number: int, _: object) -> None:
        raise Stopped(number)

    signal.signal(signal.SIGTERM, stop)


def leave(status: int) -> NoReturn:
    """End the process: everything is written, and taking the engine apart piece by piece would only
    cost time."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never open
            stream.flush()
    os._exit(status)
