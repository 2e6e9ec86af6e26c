"""What the C library is told about memory, and when it is left alone."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference import memory

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import ctypes, re\n"
    "from inference.memory import keep_memory\n"
    "keep_memory()\n"
    "libc = ctypes.CDLL(None)\n"
    "libc.malloc.restype = ctypes.c_void_p\n"
    "place = libc.malloc(ctypes.c_size_t(8 << 20))\n"
    "low, high = re.search('(.*)-(.*) rw.*heap', open('/proc/self/maps').read()).groups()\n"
    "print(int(low, 16) <= place < int(high, 16))"
)


def clean():
    return {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
@pytest.mark.parametrize(
    ("given", "in_heap"), [({}, "True"), ({"MALLOC_MMAP_THRESHOLD_": "131072"}, "False")]
)
def test_large_pieces_lie_in_the_heap_unless_the_environment_says_otherwise(given, in_heap):
    line = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(
        line, cwd=ROOT, env=clean() | given, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == in_heap


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_a_c_library_that_cannot_be_asked_is_left_alone(monkeypatch, error):
    def refuse(name):
        raise error

    for name in [n for n in os.environ if n.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    memory.keep_memory()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # musl: no mallopt
    memory.keep_memory()
