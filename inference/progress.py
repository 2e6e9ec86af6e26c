"""A progress bar on stderr for what takes longer than two seconds; the standard library is enough
for it."""

import sys
import time
from types import TracebackType
from typing import ClassVar

PATIENCE_S = 2.0
"""Nothing is shown before this."""

_WIDTH = 30


class Progress:
    """``with Progress("slices", 120) as progress: ... progress.step()``; silent unless stderr is a
    terminal, and while another bar of several steps is open: slices are not shown inside cases."""

    _open: ClassVar[int] = 0
    """Bars of several steps that are open."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = self._shown = time.monotonic()
        self._visible = False
        is_terminal = getattr(sys.stderr, "isatty", None)  # a program may have no stderr at all
        self._enabled = is_terminal is not None and is_terminal() and Progress._open == 0

    def __enter__(self) -> "Progress":
        Progress._open += self._total > 1
        return self

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if not self._enabled or now - self._began < PATIENCE_S or now - self._shown < 0.1:
            return
        self._shown, self._visible = now, True
        filled = _WIDTH * self._done // max(1, self._total)
        bar = "#" * filled + "." * (_WIDTH - filled)
        left = (now - self._began) / self._done * (self._total - self._done)
        sys.stderr.write(f"\r{self._what} [{bar}] {self._done}/{self._total}, {left:.0f} s left ")
        sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        Progress._open -= self._total > 1
        if self._visible:
            sys.stderr.write("\r" + " " * 79 + "\r")
            sys.stderr.flush()
