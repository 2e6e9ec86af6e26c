"""How the C library takes memory from the kernel, for a process that opens graphs and then ends.

By itself it grows the heap of a thread by a few pages at a time (``mprotect``, for which every core
that runs the process is stopped) and gives large pieces back to the kernel as soon as they are
free, which clears them again when they are next asked for.
"""

import ctypes
import os

SETTINGS = {
    -2: 32 << 20,  # M_TOP_PAD: what a heap begins with, and grows by
    -3: 32 << 20,  # M_MMAP_THRESHOLD: no piece below this goes past the heap
    -1: 256 << 20,  # M_TRIM_THRESHOLD: what may lie free at its end
}
"""Of glibc's ``mallopt``, by ``malloc.h``'s numbers; memory that nobody writes to costs nothing."""


def keep_memory() -> None:
    """Take memory in large pieces and keep it; nothing where the environment has settings of malloc
    or the C library knows none (musl, macOS)."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for what, size in SETTINGS.items():
        mallopt(what, size)
