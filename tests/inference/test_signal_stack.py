"""The signal stack of a thread is what it was, whatever a library did to it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import ctypes, mmap
from inference.signal_stack import _SignalStack, signal_stack_kept
libc = ctypes.CDLL(None)

def now():
    found = _SignalStack()
    assert libc.sigaltstack(None, ctypes.byref(found)) == 0
    return found.address, found.flags, found.size

memory = mmap.mmap(-1, 1 << 17)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
def give(offset):
    new = _SignalStack(address + offset, 0, 1 << 16)
    assert libc.sigaltstack(ctypes.byref(new), None) == 0
"""


def run(program: str) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM + program], cwd=ROOT, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()


def test_one_that_was_not_there_is_taken_away():
    run("""
before = now()
with signal_stack_kept():
    give(0)
    assert now()[1:] == (0, 1 << 16)
assert now() == before and before[1] == 2  # SS_DISABLE
""")


def test_one_that_was_there_comes_back_even_after_an_error():
    run("""
give(0)
before = now()
try:
    with signal_stack_kept():
        give(1 << 16)
        assert now() != before
        raise KeyError
except KeyError:
    pass
assert now() == before and before[1] == 0
""")


def test_a_segmenter_leaves_none_behind(tmp_path):
    """Compiled anew, then from the kept file, each in a process of its own."""
    for _ in range(2):
        run(f"""
import numpy, inference
before = now()
segmenter = inference.load(cache_dir={str(tmp_path)!r})
segmenter.segment(numpy.zeros((64, 64, 3), numpy.uint8), numpy.array([[5, 5, 30, 30]]))
assert now() == before and before[1] == 2, (before, now())
""")
