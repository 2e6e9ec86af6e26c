"""Where the time of one run goes: spans of named work, as a Chrome trace and as a table.

Off unless :func:`begin` was called; then every span costs about a microsecond, else a tenth of it.
The trace opens in ``chrome://tracing`` or https://ui.perfetto.dev.
"""

import json
import os
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_spans: list["Span"] | None = None
"""What was measured so far; None: nothing is measured."""

_NOTHING = nullcontext()


@dataclass(frozen=True)
class Span:
    """One piece of work."""

    name: str
    began_s: float
    """On :func:`time.perf_counter`'s clock."""
    ended_s: float
    thread: int


class _Measured:
    """A context that adds itself to the spans."""

    def __init__(self, name: str) -> None:
        self._name, self._began = name, 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        add(self._name, self._began, time.perf_counter())


def begin() -> None:
    """Measure from now on; what was measured before is forgotten."""
    global _spans
    _spans = []


def span(name: str) -> AbstractContextManager[None]:
    """``with span("read"): ...``; spans may lie in one another and in several threads."""
    return _NOTHING if _spans is None else _Measured(name)


def add(name: str, began_s: float, ended_s: float, thread: int | None = None) -> None:
    """A span of this thread, or another, that was measured elsewhere; ignored while nothing is
    measured."""
    if _spans is not None:
        _spans.append(Span(name, began_s, ended_s, thread or threading.get_ident()))


def end() -> list[Span]:
    """Every span, in the order of their beginnings; nothing is measured any more."""
    global _spans
    found, _spans = _spans or [], None
    return sorted(found, key=lambda s: (s.began_s, -s.ended_s))


def process_began_s() -> float | None:
    """When the kernel started this process, on :func:`time.perf_counter`'s clock, to 10 ms; None
    where it does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # since boot; field 22 of all
        return time.perf_counter() - (time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def trace(spans: Sequence[Span]) -> str:
    """JSON in the Trace Event Format (complete events, microseconds from the first span)."""
    zero = min((s.began_s for s in spans), default=0.0)
    events = [
        {
            "name": s.name,
            "ph": "X",
            "ts": round((s.began_s - zero) * 1e6, 1),
            "dur": round((s.ended_s - s.began_s) * 1e6, 1),
            "pid": os.getpid(),
            "tid": s.thread,
        }
        for s in spans
    ]
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}) + "\n"


def own_seconds(spans: Sequence[Span]) -> list[float]:
    """Of each span, the seconds that no span inside it, in the same thread, accounts for."""
    own = [s.ended_s - s.began_s for s in spans]
    open_spans: dict[int, list[int]] = {}
    for i, s in enumerate(spans):
        around = open_spans.setdefault(s.thread, [])
        while around and spans[around[-1]].ended_s <= s.began_s:
            around.pop()
        if around:
            own[around[-1]] -= s.ended_s - s.began_s
        around.append(i)
    return own


def table(spans: Sequence[Span], main_thread: int) -> str:
    """Seconds by name; rows of the main thread add up to the wall time that spans cover, those of
    others (marked ``+``) lie beside it."""
    rows: dict[tuple[bool, str], list[float]] = {}
    for s, seconds in zip(spans, own_seconds(spans), strict=True):
        rows.setdefault((s.thread != main_thread, s.name), []).append(seconds)
    wall = max((s.ended_s for s in spans), default=0.0) - min(
        (s.began_s for s in spans), default=0.0
    )
    lines = [f"{'step':<18} {'times':>6} {'seconds':>9} {'share':>6}"]
    for (beside, name), values in rows.items():
        shown = f"+ {name}" if beside else name
        share = sum(values) / wall if wall else 0.0
        lines.append(f"{shown:<18} {len(values):>6} {sum(values):>9.3f} {share:>6.1%}")
    return "\n".join([*lines, f"{'wall':<18} {'':>6} {wall:>9.3f}"])
