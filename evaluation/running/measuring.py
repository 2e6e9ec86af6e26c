"""What a reader must know before trusting the seconds: start-up share, and drift of the machine.

The *start-up* of an image is the wall time of a container of it that does nothing, under the very
limits of its cases. The *sentinel* is one container that always does the same work, repeated
through the run: when it becomes slower, so did the machine.
"""

import json
import logging
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from evaluation.errors import HarnessFault
from evaluation.running.outcomes import CaseRun
from evaluation.running.protocol import Protocol
from evaluation.running.staging import Folders, empty_folders
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


class CommandRunner(Interface):
    """The part of a runner of containers that measuring needs."""

    def run_command(
        self, submission: Submission, case: str, folders: Folders, command: Sequence[str]
    ) -> CaseRun:
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


def measure_start_up(
    runner: CommandRunner, submission: Submission, protocol: Protocol, work: Path, runs: int
) -> StartUp | None:
    """Return the start-up of a submission's image after one run unmeasured; None without a shell.

    Raises HarnessFault when the engine fails.
    """
    shell = protocol.command[0] if protocol.command[1:2] == ("-c",) else SHELL
    command = (shell, "-c", ":")
    seconds = []
    for _ in range(runs + 1):
        run = _run(runner, submission, protocol, work, command)
        if run.exit_code != 0:
            return None
        seconds.append(run.wall_s)
    walls = tuple(round(wall_s, 6) for wall_s in seconds[1:])
    spread_s = round(max(walls) - min(walls), 6)
    return StartUp(statistics.median(walls), spread_s, walls, command)


class Sentinel:
    """Repeats one container through a run and keeps its times in the run folder."""

    def __init__(
        self,
        runner: CommandRunner,
        submission: Submission,
        protocol: Protocol,
        run: Path,
        work: Path,
        every: int,
    ) -> None:
        """Repeat it after ``every`` cases."""
        self._runner, self._submission, self._protocol = runner, submission, protocol
        self._path, self._work, self._every = run / SENTINEL_FILE, work, every
        self._cases = 0
        self._works = True

    def case_done(self) -> None:
        """Count a case; every so often, run the sentinel."""
        self._cases += 1
        if self._cases % self._every == 0:
            self.tick()

    def tick(self) -> None:
        """Run the sentinel and append its time; an image without a shell has none."""
        if not self._works:
            return
        words = (SHELL, "-c", _LOOP)
        try:
            run = _run(self._runner, self._submission, self._protocol, self._work, words)
        except HarnessFault as error:
            logger.warning("the sentinel did not run: %s", error)
            return
        self._works = run.exit_code == 0
        if self._works:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            digest, host = self._submission.digest, os.uname().nodename
            wall_s = round(run.wall_s, 6)
            tick = Tick(now, wall_s, run.cpu_s, os.getloadavg()[0], digest, host)
            with self._path.open("a") as stream:
                stream.write(json.dumps(asdict(tick)) + "\n")


def read_ticks(run: Path) -> list[Tick]:
    """Return the sentinel's times of a run; none if there was no sentinel."""
    path = run / SENTINEL_FILE
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    ticks: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [Tick(**tick) for tick in ticks]


def drift(ticks: Sequence[Tick]) -> float | None:
    """Return by what part of their median the sentinel's times spread, on its worst machine.

    None with fewer than two times of one image on one machine.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for tick in ticks:
        groups.setdefault((tick.host, tick.submission), []).append(tick.wall_s)
    spreads = [
        (max(walls) - min(walls)) / statistics.median(walls)
        for walls in groups.values()
        if len(walls) > 1
    ]
    return max(spreads, default=None)


def _run(
    runner: CommandRunner,
    submission: Submission,
    protocol: Protocol,
    work: Path,
    command: Sequence[str],
) -> CaseRun:
    with empty_folders(work, protocol.owner) as folders:
        run = runner.run_command(submission, "measuring", folders, command)
    if run.timed_out:
        raise HarnessFault(f"{submission.team.name}: a container that does nothing timed out")
    return run
