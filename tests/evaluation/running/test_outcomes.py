"""One status a run, the cause before its effect."""

from dataclasses import replace

import pytest

from evaluation.errors import (
    MissingOutputError,
    OutputError,
    TooLargeError,
    UnknownLabelsError,
    WrongShapeError,
    WrongTypeError,
)
from evaluation.running.outcomes import CaseRun, Status, judge

GOOD = CaseRun(wall_s=1.0, exit_code=0, log=b"")
MISSING, BROKEN = MissingOutputError("no file"), OutputError("no npz")


@pytest.mark.parametrize(
    ("run", "problem", "status"),
    [
        (GOOD, None, Status.OK),
        (GOOD, MISSING, Status.MISSING_OUTPUT),
        (GOOD, BROKEN, Status.UNREADABLE_OUTPUT),
        (replace(GOOD, exit_code=1), None, Status.CRASH),
        (replace(GOOD, exit_code=137), None, Status.CRASH),
        (replace(GOOD, exit_code=137, oom_killed=True), None, Status.OUT_OF_MEMORY),
        (replace(GOOD, oom_killed=True), MISSING, Status.OUT_OF_MEMORY),
        (replace(GOOD, oom_killed=True), None, Status.OK),
        (replace(GOOD, timed_out=True), None, Status.TIME_OUT),
        (replace(GOOD, timed_out=True, exit_code=137, oom_killed=True), None, Status.TIME_OUT),
        (replace(GOOD, exit_code=127, start_error="no sh"), None, Status.CRASH),
        (replace(GOOD, excess="much", timed_out=True, exit_code=137), None, Status.TOO_LARGE),
        (GOOD, TooLargeError("much"), Status.TOO_LARGE),
        (GOOD, WrongShapeError("flat"), Status.WRONG_SHAPE),
        (GOOD, WrongTypeError("float"), Status.WRONG_TYPE),
        (GOOD, UnknownLabelsError("7"), Status.UNKNOWN_LABELS),
    ],
)
def test_the_cause_comes_before_its_effect(
    run: CaseRun, problem: OutputError | None, status: Status
) -> None:
    outcome = judge(run, problem, time_limit_s=60)
    assert outcome.status is status
    assert bool(outcome.reason) == (status is not Status.OK)


def test_a_reason_is_one_short_printable_line_whatever_the_submission_wrote() -> None:
    hostile = MissingOutputError("found a\nb\udcff\x1b[31m" + "x" * 5000)
    reason = judge(GOOD, hostile, 60).reason
    assert reason.startswith("exit code 0, but found a?b??[31mxxx")
    assert len(reason) == 300
    log = b"first\n" + b"y" * 5000 + b"\xff\nlast \x00 words\n\n"
    crash = judge(replace(GOOD, exit_code=1, log=log), None, 60).reason
    assert crash.isprintable()
    assert crash.startswith("exit code 1: yyy") and crash.endswith(
        "\N{REPLACEMENT CHARACTER} | last ? words"
    )
