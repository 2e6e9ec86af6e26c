"""What a run of one case was, and the one word that it earns.

A runner observes and never judges (:class:`CaseRun`); :func:`judge` turns the observation and what
lies in the outputs folder into a :class:`Status` with a reason. The order is fixed: the cause comes
before its effect, so a container that ran out of memory is not a crash, and a crash is not a
missing output. A run that exits with an error is not ok, whatever it left behind.
"""

from dataclasses import dataclass
from enum import StrEnum

from evaluation.errors import (
    MissingOutputError,
    OutputError,
    TooLargeError,
    UnknownLabelsError,
    WrongShapeError,
    WrongTypeError,
)
from evaluation.running.limits import LimitsInForce


class Status(StrEnum):
    """The closed set of outcomes of a case; every record has one."""

    OK = "ok"
    MISSING_OUTPUT = "missing output"
    UNREADABLE_OUTPUT = "unreadable output"
    WRONG_SHAPE = "wrong shape"
    WRONG_TYPE = "wrong type"
    UNKNOWN_LABELS = "labels that no box has"
    TOO_LARGE = "too large"
    TIME_OUT = "time-out"
    OUT_OF_MEMORY = "out of memory"
    CRASH = "crash"
    HARNESS_FAULT = "harness fault"

    @property
    def is_final(self) -> bool:
        """Whether a resumed run leaves the case alone; only a fault of ours is tried again."""
        return self is not Status.HARNESS_FAULT


OUTPUT_STATUSES: dict[type[OutputError], Status] = {
    MissingOutputError: Status.MISSING_OUTPUT,
    TooLargeError: Status.TOO_LARGE,
    WrongShapeError: Status.WRONG_SHAPE,
    WrongTypeError: Status.WRONG_TYPE,
    UnknownLabelsError: Status.UNKNOWN_LABELS,
    OutputError: Status.UNREADABLE_OUTPUT,
}
"""What is wrong with an output -> its status; the general kind comes last."""

SIGNAL_EXIT = 128
"""Shells and Docker report death by signal n as 128 + n."""

_LOG_LINES_IN_REASON = 3
_CHARACTERS_IN_REASON = 300


@dataclass(frozen=True)
class CaseRun:
    """What a runner saw of one case."""

    wall_s: float
    """From the request to start until the exit was known, by a monotonic clock."""
    exit_code: int | None
    """128 + n for death by signal n; None if the container never ran."""
    log: bytes
    """Standard output and error, shortened to the protocol's ``log_limit_bytes``."""
    turnaround_s: float | None = None
    """With making and removing the container, which ``docker run --rm`` takes as well."""
    timed_out: bool = False
    oom_killed: bool = False
    """Whether the kernel killed any of its processes for memory, as the engine reports it."""
    start_error: str = ""
    """Why its command could not be started (no such program in the image)."""
    excess: str = ""
    """What was too much in its outputs; it may have been stopped for that."""
    cpuset: str = ""
    """Processors that were its own; empty for all of the machine."""
    load: float = 0.0
    """Processes that wanted to run on its machine at the end, averaged over the last minute."""
    limits: LimitsInForce | None = None
    """The limits as read back; None where nothing enforces any."""
    cpu_s: float | None = None
    """Processor time of all its processes, by the kernel."""
    peak_bytes: int | None = None
    """Most memory in use at once, with page cache and tmpfs, by the kernel."""
    network_attempts: int | None = None
    """Packets that it had no route for; None if nobody could see."""
    written_bytes: int | None = None
    """What lay in its writable places at the end."""


@dataclass(frozen=True)
class Outcome:
    """The verdict on a case."""

    status: Status
    reason: str
    """Empty for ok; else one short printable line with the evidence."""


def judge(run: CaseRun, output_error: OutputError | None, time_limit_s: float) -> Outcome:
    """Return the outcome of a run whose output was refused with ``output_error``, or accepted."""
    if run.excess:
        return Outcome(Status.TOO_LARGE, one_line(run.excess))
    if run.timed_out:
        return Outcome(Status.TIME_OUT, f"stopped at the limit of {time_limit_s:g} s")
    if run.start_error:
        return Outcome(Status.CRASH, one_line(f"did not start: {run.start_error}"))
    failed = run.exit_code != 0 or output_error is not None
    if run.oom_killed and failed:
        reason = f"killed by the kernel for memory, exit code {run.exit_code}"
        return Outcome(Status.OUT_OF_MEMORY, reason)
    if run.exit_code != 0:
        return Outcome(Status.CRASH, f"{describe_exit(run.exit_code)}{last_lines(run.log)}")
    if isinstance(output_error, MissingOutputError):
        return Outcome(Status.MISSING_OUTPUT, one_line(f"exit code 0, but {output_error}"))
    if output_error is not None:
        kinds = (kind for kind in OUTPUT_STATUSES if isinstance(output_error, kind))
        status = OUTPUT_STATUSES[next(kinds, OutputError)]
        return Outcome(status, one_line(str(output_error)))
    return Outcome(Status.OK, "")


def describe_exit(exit_code: int | None) -> str:
    """Return an exit code in words."""
    if exit_code is not None and exit_code > SIGNAL_EXIT:
        return f"exit code {exit_code} (signal {exit_code - SIGNAL_EXIT})"
    return f"exit code {exit_code}"


def last_lines(log: bytes) -> str:
    """Return the end of a log on one line, printable characters only, led by a colon."""
    lines = [line for line in log.decode(errors="replace").splitlines() if line.strip()]
    end = one_line(" | ".join(line.strip() for line in lines[-_LOG_LINES_IN_REASON:]), last=True)
    return f": {end}" if end else ""


def one_line(text: str, *, last: bool = False) -> str:
    """Return the start, or with ``last`` the end, of a text, with ``?`` for what cannot be printed.

    Names of files come from the submission: they may hold line ends and bytes that are no text.
    """
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean[-_CHARACTERS_IN_REASON:] if last else clean[:_CHARACTERS_IN_REASON]
