"""A progress bar where somebody looks, and only when it takes long."""

import io

import pytest

from inference import progress as progress_module
from inference.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the start; the test moves them."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def run(monkeypatch, clock, stream, seconds_a_step):
    monkeypatch.setattr("sys.stderr", stream)
    with Progress("slices", 4) as progress:
        for _ in range(3):
            clock[0] += seconds_a_step
            progress.step()
    return stream.getvalue()


def test_nothing_is_shown_within_the_first_two_seconds(monkeypatch, clock):
    assert run(monkeypatch, clock, Terminal(), 0.6) == ""


def test_what_is_done_and_what_is_left_is_shown_and_wiped_at_the_end(monkeypatch, clock):
    shown = run(monkeypatch, clock, Terminal(), 1.5)
    assert "slices [" in shown and "2/4, 3 s left" in shown and "3/4, 2 s left" in shown
    assert shown.endswith("\r")


def test_a_file_gets_no_progress_bar(monkeypatch, clock):
    assert run(monkeypatch, clock, io.StringIO(), 100) == ""


def test_slices_are_not_shown_inside_cases(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("cases", 2) as cases:
        run(monkeypatch, clock, terminal, 1.5)
        clock[0] += 1.5
        cases.step()
    assert "slices" not in terminal.getvalue()
    assert "cases [" in terminal.getvalue()


def test_slices_of_the_only_case_are_shown(monkeypatch, clock):
    terminal = Terminal()
    with Progress("cases", 1):
        assert "slices [" in run(monkeypatch, clock, terminal, 1.5)


def test_without_stderr_there_is_no_bar(monkeypatch, clock):
    for stream in (None, object()):
        monkeypatch.setattr("sys.stderr", stream)
        with Progress("slices", 4) as progress:
            clock[0] += 100
            progress.step()
