"""Everything that a run is done under: command, mounts, limits, isolation.

The defaults are the *isolated* protocol: the organisers' command and mount points, and around
them every limit that their script leaves out (challenge.md 6.C: C1 persisting folders, C4 no time
limit, C5 network and swap). The resolved protocol is stored with the run, and its digest is part
of what makes a record count as done.
"""

import hashlib
import json
import math
import os
import re
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from evaluation.errors import UsageError
from evaluation.running.ranking_rules import RankingRules

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

SMALLEST_MEMORY_BYTES = 6 * MIB
"""Docker Engine refuses a smaller memory limit."""

DEFAULT_NAME = "cvpr24-isolated"
"""The shipped protocol that the defaults below are."""

NOT_RUN_UNDER = ("name", "failure_dsc", "failure_nsd", "failure_time_s", "ranking")
"""Fields that no container notices: changing them runs nothing again."""

_ABOVE_ZERO = (
    *("memory_bytes", "time_limit_s", "log_limit_bytes", "output_limit_bytes"),
    *("output_files", "repeats", "jobs"),
)
_ZERO_OR_MORE = ("swap_bytes", "cpus", "pids", "tmp_bytes", "warm_up", "failure_time_s")


def default_user() -> str:
    """Return the ``uid:gid`` that containers run as, never root.

    Root harnesses hand the outputs folder to 1000:1000, the first user of most images (the
    organisers' example Dockerfile has one). Another harness can only read and delete what its own
    user writes.
    """
    return "1000:1000" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"


@dataclass(frozen=True)
class Protocol:
    """The conditions of a run; each field but the last is also a flag and a key of a file."""

    name: str = DEFAULT_NAME
    command: tuple[str, ...] = ("/bin/bash", "-c", "sh predict.sh")
    """CVPR24_time_eval.py:72 runs exactly this; empty for the image's own."""
    inputs_at: str = "/workspace/inputs"
    outputs_at: str = "/workspace/outputs"
    keep_folders: bool = False
    """As the organisers do it: both folders writable, and the same from case to case."""
    memory_bytes: int = 8 * GIB
    swap_bytes: int = 0
    """Beside the memory. CVPR24_time_eval.py:72 has ``-m 8G`` alone, which grants 8G of it."""
    cpus: float = 0.0
    """Processors' worth of time; 0 for all."""
    pids: int = 512
    """Most processes and threads at once; 0 for any number."""
    time_limit_s: float = 3600.0
    """FLARE 2022 scores a failed case with 3600 s; the slowest published case took 437 s."""
    network: str = "none"
    user: str = field(default_factory=default_user)
    """``UID:GID``, or nothing for the image's own."""
    read_only_root: bool = True
    drop_capabilities: bool = True
    allow_new_privileges: bool = False
    tmp_bytes: int = 1 * GIB
    """Size of the tmpfs on /tmp, which counts as memory of the container, too; 0 for none."""
    log_limit_bytes: int = 1 * MIB
    output_limit_bytes: int = 1 * GIB
    """All that may lie in the outputs folder, enforced while the case runs."""
    output_files: int = 10_000
    """Files and folders that may lie in the outputs folder."""
    refuse_unknown_labels: bool = True
    """Whether a mask with labels that no box has is a failure; the official script overlooks it."""
    repeats: int = 1
    """Timed runs of a case; the time that counts is their median."""
    warm_up: int = 0
    """Untimed runs of a team's first case before its first timed one."""
    jobs: int = 1
    """Cases run at once, each on its own share of the processors."""
    failure_dsc: float = 0.0
    failure_nsd: float = 0.0
    failure_time_s: float = 3600.0
    """What a failed case counts as: FLARE 2022's values; CVPR 2024 has published none."""
    ranking: RankingRules = field(default_factory=RankingRules)
    """The ``[ranking]`` table of a file; it has no flags."""

    def __post_init__(self) -> None:
        """Raise UsageError for conditions under which nothing can run."""
        if self.memory_bytes < SMALLEST_MEMORY_BYTES:
            raise UsageError(
                f"memory: expected {SMALLEST_MEMORY_BYTES} bytes or more, found {self.memory_bytes}"
            )
        for name in _ABOVE_ZERO:
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name}: expected more than 0, found {getattr(self, name)}")
        for name in _ZERO_OR_MORE:
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        for name in ("failure_dsc", "failure_nsd"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        for path in (self.inputs_at, self.outputs_at):
            if not PurePosixPath(path).is_absolute() or path == "/":
                raise UsageError(f"mount point: expected an absolute path below /, found {path!r}")
        if self.inputs_at == self.outputs_at:
            raise UsageError(f"mount points: expected two, found {self.inputs_at} twice")
        if self.user and not re.fullmatch(r"\d+:\d+", self.user):
            raise UsageError(f"user: expected UID:GID in numbers or nothing, found {self.user!r}")
        if self.keep_folders and (self.repeats > 1 or self.jobs > 1):
            raise UsageError("repeats, jobs: expected 1 with keep-folders, found more")

    @property
    def owner(self) -> tuple[int, int] | None:
        """Return uid and gid of the container's user; None when the image decides."""
        if not self.user:
            return None
        uid, gid = self.user.split(":")
        return int(uid), int(gid)

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of all conditions under which containers run."""
        conditions = {key: item for key, item in asdict(self).items() if key not in NOT_RUN_UNDER}
        return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
