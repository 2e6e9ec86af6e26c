"""The end of a log of any length, in bounded memory."""

from collections import deque

DROPPED_NOTE = b"[the harness kept only the end of this log]\n"
"""First line of a log that was cut."""


class Tail:
    """Keeps the last ``limit_bytes`` of what is added to it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._blocks: deque[bytes] = deque()
        self._held = 0
        self._dropped = False

    def add(self, block: bytes) -> None:
        """Append a block; the oldest blocks go once the rest fills the limit without them."""
        self._blocks.append(block)
        self._held += len(block)
        while self._held - len(self._blocks[0]) >= self._limit and len(self._blocks) > 1:
            self._held -= len(self._blocks.popleft())
            self._dropped = True

    def content(self) -> bytes:
        """Return what is kept, led by a note if anything was dropped."""
        kept = b"".join(self._blocks)
        if self._dropped or len(kept) > self._limit:
            return DROPPED_NOTE + kept[-self._limit :]
        return kept


def shorten(log: bytes, limit_bytes: int, *, is_end: bool = False) -> bytes:
    """Return a log cut to its last ``limit_bytes``.

    ``is_end`` says that earlier output may be lost already: the first line goes, as it may be torn,
    and the note is put in its place.
    """
    if is_end:
        return DROPPED_NOTE + log[-limit_bytes:].partition(b"\n")[2]
    return DROPPED_NOTE + log[-limit_bytes:] if len(log) > limit_bytes else log
