"""The alternate signal stack that OpenVINO's processor plugin leaves behind is taken away again.

The plugin gives the thread that loads it an alternate signal stack (``sigaltstack(2)``) of the
smallest size that the kernel allows, which holds the processor's registers and no handler.
Python's own handlers run on such a stack where there is one: the first signal with a Python
handler, such as the SIGCHLD of a data loader's worker or an interrupt, can end the process with a
segmentation fault.
"""

from __future__ import annotations

import contextlib
import ctypes

TYPE_CHECKING = False  # as typing's, which this module does without: it is imported first of all
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Whatever happens inside, this thread has the alternate signal stack afterwards that it had
    before, or none; nothing is done where the C library has no ``sigaltstack``."""
    change: Any = getattr(ctypes.CDLL(None), "sigaltstack", None)
    before = _SignalStack()
    known = change is not None and change(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            change(ctypes.byref(before), None)
