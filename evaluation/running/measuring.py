"""What a reader must know before trusting the seconds: start-up share, and drift of the machine.

The *start-up* of an image is the wall time of a container of it that does nothing, under the very
limits of its cases. The *sentinel* is one container that always does the same work, repeated
through the run: when it becomes slower, so did the machine.
"""

import json
import logging
import statistics
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol as Interface

from evaluation.errors import HarnessFault
from evaluation.running.host import Machine
from evaluation.running.outcomes import CaseRun
from evaluation.running.protocol import Protocol
from evaluation.running.records import cut_torn_line
from evaluation.running.teams import Submission

logger = logging.getLogger(__name__)

SHELL = "/bin/sh"
"""In every image that can run ``sh predict.sh``."""

SENTINEL_LOOPS = 200_000
"""A few tenths of a second of a shell's time."""

DRIFT_THRESHOLD = 0.10
"""The report warns when the sentinel's times spread by more than this part of their median."""

SENTINEL_FILE = "sentinel.jsonl"

_LOOP = f"i=0; while [ $i -lt {SENTINEL_LOOPS} ]; do i=$((i+1)); done"


class CommandTrial(Interface):
    """The part of a trial that measuring needs."""

    machine: Machine
    """The machine that its cases run on."""

    def run_command(self, submission: Submission, command: Sequence[str]) -> CaseRun:
        """Run any command in a submission's container, under the limits of its cases."""


@dataclass(frozen=True)
class StartUp:
    """Wall time of an image's container that does nothing."""

    median_s: float
    spread_s: float
    """Longest less shortest."""
    runs_s: tuple[float, ...]
    command: tuple[str, ...]


@dataclass(frozen=True)
class Tick:
    """One run of the sentinel."""

    at: str
    """UTC, ISO 8601."""
    wall_s: float
    cpu_s: float | None
    load: float
    """Processes that wanted to run, averaged over the last minute."""
    submission: str
    host: str
    cpuset: str = ""
    """Processors that were its own; empty for all of the machine."""


def measure_start_up(
    trial: CommandTrial, submission: Submission, protocol: Protocol, runs: int
) -> StartUp | None:
    """Return the start-up of a submission's image after one run unmeasured; None without a shell.

    Raises HarnessFault when the engine fails.
    """
    shell = protocol.command[0] if protocol.command[1:2] == ("-c",) else SHELL
    command = (shell, "-c", ":")
    seconds = []
    for _ in range(runs + 1):
        run = _run(trial, submission, command)
        if run.exit_code != 0:
            return None
        seconds.append(run.wall_s)
    walls = tuple(round(wall_s, 6) for wall_s in seconds[1:])
    spread_s = round(max(walls) - min(walls), 6)
    return StartUp(statistics.median(walls), spread_s, walls, command)


class Sentinel:
    """Repeats one container through a run, in every lane, and keeps its times in the run folder.

    It runs where the lane's cases run and between two of them: never beside a case that shares its
    processors.
    """

    def __init__(self, submission: Submission, run: Path, every: int) -> None:
        """Repeat it in each lane before its first case and after every ``every`` more."""
        self._submission, self._path, self._every = submission, run / SENTINEL_FILE, every
        self._cases: dict[int, int] = {}
        self._works = True
        self._lock = threading.Lock()

    def tick_if_due(self, trial: CommandTrial) -> None:
        """Count a case that is about to run in a lane; every so often, run the sentinel first."""
        with self._lock:
            cases = self._cases.setdefault(id(trial), 0)
            self._cases[id(trial)] += 1
        if cases % self._every == 0:
            self.tick(trial)

    def tick(self, trial: CommandTrial) -> None:
        """Run the sentinel and append its time; an image without a shell has none."""
        if not self._works:
            return
        try:
            run = _run(trial, self._submission, (SHELL, "-c", _LOOP))
        except HarnessFault as error:
            logger.warning("the sentinel did not run: %s", error)
            return
        self._works = run.exit_code == 0
        if self._works:
            self._append(run, str(trial.machine["name"]))

    def _append(self, run: CaseRun, host: str) -> None:
        tick = Tick(
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            wall_s=round(run.wall_s, 6),
            cpu_s=run.cpu_s,
            load=run.load,
            submission=self._submission.digest,
            host=host,
            cpuset=run.cpuset,
        )
        with self._lock:
            cut_torn_line(self._path)
            with self._path.open("a") as stream:
                stream.write(json.dumps(asdict(tick)) + "\n")


def read_ticks(run: Path) -> list[Tick]:
    """Return the sentinel's times of a run; none if there was no sentinel. A line that is none of
    them is left out with a warning: no score depends on it."""
    path = run / SENTINEL_FILE
    lines = path.read_text(errors="replace").split("\n")[:-1] if path.is_file() else []
    ticks = []
    for number, line in enumerate(lines, 1):
        try:
            ticks.append(Tick(**json.loads(line)))
        except (ValueError, TypeError) as error:
            logger.warning("%s:%d: expected a time of the sentinel: %s", path, number, error)
    return ticks


def drift(ticks: Sequence[Tick]) -> float | None:
    """Return by what part of their median the sentinel's times spread, on its worst machine.

    None with fewer than two times of one image on one machine.
    """
    groups: dict[tuple[str, str, str], list[float]] = {}
    for tick in ticks:
        groups.setdefault((tick.host, tick.cpuset, tick.submission), []).append(tick.wall_s)
    spreads = [
        (max(walls) - min(walls)) / statistics.median(walls)
        for walls in groups.values()
        if len(walls) > 1
    ]
    return max(spreads, default=None)


def _run(trial: CommandTrial, submission: Submission, command: Sequence[str]) -> CaseRun:
    run = trial.run_command(submission, command)
    if run.timed_out:
        raise HarnessFault(f"{submission.team.name}: a container that does nothing timed out")
    return run
