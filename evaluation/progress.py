"""Progress on stderr: a bar on a terminal, a line now and then in a log file."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

QUIET_S = 2.0
"""Work that ends sooner shows no progress at all."""

LOG_INTERVAL_S = 20.0
"""Seconds between two lines where stderr is not a terminal."""


class Progress:
    """Counts steps of a job of known length and shows them; a context manager.

    ``total`` counts ``unit``; with ``unit="B"`` the numbers are shown as bytes with a prefix.
    """

    def __init__(self, label: str, total: int, unit: str = "case") -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._next_line = time.monotonic() + QUIET_S
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            desc=label,
            total=total,
            unit=unit,
            unit_scale=unit == "B",
            delay=QUIET_S,
            disable=not self._terminal,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def expect(self, total: int) -> None:
        """Set the number of steps, where it is only known once work has begun."""
        self._total = self._bar.total = total

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count ``steps`` as done; ``note`` says what is happening now."""
        self._done += steps
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(steps)
        now = time.monotonic()
        if not self._terminal and now >= self._next_line:
            self._next_line = now + LOG_INTERVAL_S
            share = 100 * self._done / self._total if self._total else 100.0
            logger.info(
                "%s: %d/%d %s (%.0f %%) %s",
                self._label,
                self._done,
                self._total,
                self._unit,
                share,
                note,
            )
