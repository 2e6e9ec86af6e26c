"""Runs one case as a process of its own, where there is no Docker Engine.

A fresh working folder holds links to everything in the submission's folder, and fresh inputs and
outputs; ``sh predict.sh`` runs there. This keeps cases apart and enforces the time limit, nothing
else: memory, processes, network and the rest of the file system are the host's. It is for trying a
submission, never for judging a stranger's.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from evaluation.errors import HarnessFault, TeamError
from evaluation.running.host import describe_host, hardware_key
from evaluation.running.logs import Tail
from evaluation.running.outcomes import SIGNAL_EXIT, CaseRun
from evaluation.running.protocol import Protocol
from evaluation.running.staging import Folders
from evaluation.running.teams import SourceKind, Submission, Team, folder_digest

logger = logging.getLogger(__name__)

RUN_VARIABLE = "MEDSAM_LAPTOP_RUN"
"""Environment variable that marks every process of a run, also those that leave its session."""

ENTRY_POINT = "predict.sh"
"""What a submission's folder must have; the organisers' images run the same file."""

LOG_WAIT_S = 5.0
"""A log that does not end this long after its processes were killed is kept as it is."""

_OWN_ENTRIES = ("inputs", "outputs")


class ProcessRunner:
    """Runs submissions that are folders as processes under the time limit of one protocol."""

    name = "process"

    def __init__(self, protocol: Protocol, lock: Path) -> None:
        self._protocol = protocol
        self.machine = describe_host()
        self.hardware = hardware_key(self.machine, protocol, enforced=False)
        self._mark = f"{RUN_VARIABLE}={lock}".encode()

    def describe(self) -> dict[str, str]:
        """Return what is known of the environment: the interpreter that is first on the path."""
        return {"interpreter": sys.executable}

    def prepare(self, team: Team, build_args: Mapping[str, str], build_log: Path) -> Submission:
        """Return the folder as a submission; nothing is built, so build arguments say nothing."""
        if team.kind is not SourceKind.FOLDER:
            raise TeamError(f"team {team.name}: an {team.kind} needs Docker Engine to run")
        folder = Path(team.source).resolve()
        if not (folder / ENTRY_POINT).is_file():
            raise TeamError(f"team {team.name}: expected {ENTRY_POINT} in {folder}, found none")
        digest, size_bytes = folder_digest(folder)
        return Submission(team, str(folder), digest, size_bytes)

    def clear_leftovers(self) -> int:
        """Kill processes of this run that outlived their case or their harness; return how many."""
        marked = [pid for pid in _processes() if self._is_ours(pid)]
        for pid in marked:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return len(marked)

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run a case to its end or its limit; none of its processes is left when this returns."""
        workspace, temporary = _furnish(folders, Path(submission.reference))
        tail = Tail(self._protocol.log_limit_bytes)
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                ["sh", ENTRY_POINT],
                cwd=workspace,
                env=self._environment(temporary),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise HarnessFault(f"{case}: the process cannot be started: {error}") from error
        assert process.stdout is not None  # PIPE
        reader = threading.Thread(target=_pump, args=(process.stdout, tail), daemon=True)
        expired = threading.Event()
        timer = threading.Timer(self._protocol.time_limit_s, _expire, (process.pid, expired))
        try:
            reader.start()
            timer.start()
            # not Popen.wait(timeout): it polls, and rounds times up by as much as 50 ms
            exit_code = process.wait()
            wall_s = time.monotonic() - began
        finally:
            timer.cancel()
            _kill_session(process.pid)
            process.wait()
            self.clear_leftovers()
            reader.join(LOG_WAIT_S)
        return CaseRun(
            wall_s=wall_s,
            exit_code=exit_code if exit_code >= 0 else SIGNAL_EXIT - exit_code,
            log=tail.content(),
            timed_out=expired.is_set(),
        )

    def close(self) -> None:
        """Do nothing; there is no connection."""

    def _environment(self, temporary: Path) -> dict[str, str]:
        """Return our environment with the interpreter of the harness first on the path."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        name, _, value = self._mark.decode().partition("=")
        environment |= {
            name: value,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "TMPDIR": str(temporary),
        }
        return environment

    def _is_ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return self._mark in environment.split(b"\0")


def _furnish(folders: Folders, submission: Path) -> tuple[Path, Path]:
    """Return a new working folder full of links, and a new temporary folder."""
    workspace, temporary = folders.work / "workspace", folders.work / "tmp"
    workspace.mkdir()
    temporary.mkdir()
    for entry in submission.iterdir():
        if entry.name not in _OWN_ENTRIES:
            (workspace / entry.name).symlink_to(entry)
    for folder in (folders.inputs, folders.outputs):
        (workspace / folder.name).symlink_to(folder)
    return workspace, temporary


def _pump(stream: IO[bytes], tail: Tail) -> None:
    """Read a log to its end, whatever its length."""
    with stream:
        while block := os.read(stream.fileno(), 1 << 16):
            tail.add(block)


def _expire(session: int, expired: threading.Event) -> None:
    expired.set()
    _kill_session(session)


def _kill_session(session: int) -> None:
    """Kill all processes of a session's first group, if any is left."""
    try:
        os.killpg(session, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        logger.debug("session %d has ended", session)


def _processes() -> list[int]:
    """Return the ids of all other processes of this machine (Linux)."""
    proc = Path("/proc")
    if not proc.is_dir():
        return []
    pids = [int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if pid != os.getpid()]
