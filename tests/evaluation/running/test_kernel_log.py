"""Out-of-memory kills are read from the kernel's log, where it can be read."""

import os
from pathlib import Path

import pytest

from evaluation.running import kernel_log
from evaluation.running.kernel_log import OomWitness

CONTAINER = "e4f61090dc43" * 5
KILL = "6,7891,2917149009,-;oom-kill:constraint={},oom_memcg=/docker/{},task=dd,pid=1,uid=0\n"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kmsg"
    path.write_text(KILL.format("CONSTRAINT_MEMCG", CONTAINER))
    monkeypatch.setattr(kernel_log, "KERNEL_LOG", str(path))
    # a plain file ends with an empty read where the kernel's log says that it would block
    read = os.read

    def read_or_block(descriptor: int, count: int) -> bytes:
        if block := read(descriptor, count):
            return block
        raise BlockingIOError

    monkeypatch.setattr(os, "read", read_or_block)
    return path


def seen_after(log: Path, text: str) -> bool:
    with OomWitness() as witness, log.open("a") as stream:
        stream.write(text)
        stream.flush()
        return witness.saw(CONTAINER)


def test_a_kill_at_the_limit_is_seen(log: Path) -> None:
    assert seen_after(log, KILL.format("CONSTRAINT_MEMCG", CONTAINER))


def test_what_happened_before_is_not_seen(log: Path) -> None:
    assert not seen_after(log, "")


def test_other_containers_and_a_full_host_do_not_count(log: Path) -> None:
    assert not seen_after(log, KILL.format("CONSTRAINT_MEMCG", "another"))
    assert not seen_after(log, KILL.format("CONSTRAINT_NONE", CONTAINER))


def test_a_log_that_is_not_there_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "KERNEL_LOG", "/absent/kmsg")
    assert not kernel_log.is_readable()
    with OomWitness() as witness:
        assert not witness.saw(CONTAINER)
