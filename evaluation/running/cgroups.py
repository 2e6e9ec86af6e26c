"""Limits and use of a container as the kernel tells them, under cgroup v1 and v2.

A container's own cgroup is gone with its last process. Each case therefore gets a parent of its
own (``--cgroup-parent``), which outlives the container and holds its totals: exact, and nothing
has to be sampled. That takes an engine on this host with the cgroupfs driver, and root. Elsewhere
the container's own cgroup is read while it is there.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")

UNLIMITED_BYTES = 1 << 60
"""cgroup v1 writes "no limit" as a number near 2^63."""

REMOVE_WAIT_S = 1.0
"""The kernel may take this long to let go of the cgroup of a container that was removed."""

_PLACES = (
    "docker/{id}",
    "system.slice/docker-{id}.scope",
    "user.slice/user-*.slice/user@*.service/*.slice/docker-{id}.scope",
)
"""Where a container without a parent of ours lies: drivers cgroupfs, systemd, systemd rootless."""


@dataclass(frozen=True)
class CgroupLimits:
    """What a cgroup allows; None is no limit, and for swap also a kernel that does not count it."""

    memory_bytes: int | None
    swap_bytes: int | None
    pids: int | None
    cpus: float | None
    cpuset: str


@dataclass(frozen=True)
class Usage:
    """What the processes of a cgroup and all below it have used."""

    cpu_s: float | None = None
    peak_bytes: int | None = None
    """With the page cache and the tmpfs that were theirs."""
    oom_kills: int | None = None
    """None under v1, which does not count them for a parent."""


class Cgroup:
    """One cgroup by its path below the mount, such as ``docker/<id>``; it need not exist."""

    def __init__(self, path: str, root: Path = CGROUPS) -> None:
        self._path = path.strip("/")
        self._root = root
        self.version = 2 if (root / "cgroup.controllers").is_file() else 1

    def child(self, name: str) -> "Cgroup":
        """Return the cgroup of that name in this one."""
        return Cgroup(f"{self._path}/{name}", self._root)

    @property
    def exists(self) -> bool:
        """Whether the kernel has it now."""
        return self._file("memory", "").is_dir()

    def limits(self) -> CgroupLimits | None:
        """Return its limits; None if it is not there, or going."""
        try:
            return self._limits_v2() if self.version == 2 else self._limits_v1()
        except (OSError, ValueError):
            return None

    def processes(self) -> list[int]:
        """Return the ids of its processes now."""
        try:
            return [int(word) for word in self._read("memory", "cgroup.procs").split()]
        except (OSError, ValueError):
            return []

    def usage(self) -> Usage:
        """Return what can be read of its use."""
        if self.version == 2:
            return Usage(
                cpu_s=_scaled(self._word("", "cpu.stat", "usage_usec"), 1e-6),
                peak_bytes=self._number("", "memory.peak"),
                oom_kills=self._word("", "memory.events", "oom_kill"),
            )
        return Usage(
            cpu_s=_scaled(self._number("cpuacct", "cpuacct.usage"), 1e-9),
            peak_bytes=self._number("memory", "memory.max_usage_in_bytes"),
        )

    def memory_bytes(self) -> int | None:
        """Return the memory in use now; Linux before 5.19 keeps no peak of it under v2."""
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return self._number("memory", name)

    def remove(self) -> None:
        """Remove it from every hierarchy; one that is not there, or still in use, is left."""
        deadline = time.monotonic() + REMOVE_WAIT_S
        while (found := self._folders()) and time.monotonic() < deadline:
            for folder in found:
                with suppress(OSError):
                    os.rmdir(folder)
            if self._folders():
                time.sleep(REMOVE_WAIT_S / 100)

    def _folders(self) -> list[Path]:
        """Return where it is: once under v2, in each controller's hierarchy under v1."""
        pattern = self._path if self.version == 2 else f"*/{self._path}"
        # unified/ is the empty v2 tree beside v1; some controllers are links to one hierarchy
        return list({path.resolve() for path in self._root.glob(pattern) if path.is_dir()})

    def _limits_v1(self) -> CgroupLimits:
        memory = _limit(self._read("memory", "memory.limit_in_bytes"))
        total_file = self._file("memory", "memory.memsw.limit_in_bytes")
        total = _limit(total_file.read_text()) if total_file.exists() else None
        swap = total - memory if total is not None and memory is not None else None
        quota = int(self._read("cpu", "cpu.cfs_quota_us"))
        period = int(self._read("cpu", "cpu.cfs_period_us"))
        return CgroupLimits(
            memory_bytes=memory,
            swap_bytes=swap,
            pids=_limit(self._read("pids", "pids.max")),
            cpus=quota / period if quota > 0 else None,
            cpuset=self._read("cpuset", "cpuset.cpus").strip(),
        )

    def _limits_v2(self) -> CgroupLimits:
        """Read interface files; those of a controller that is not enabled here do not exist.

        See the kernel's Documentation/admin-guide/cgroup-v2.rst. A controller that is not enabled
        limits nothing; a file that is missing though it is enabled means that the cgroup is going.
        """
        controllers = self._read("", "cgroup.controllers").split()
        memory = swap = pids = cpus = None
        if "memory" in controllers:
            memory = _limit(self._read("", "memory.max"))
            swap_file = self._file("", "memory.swap.max")  # only where the kernel counts swap
            swap = _limit(swap_file.read_text()) if swap_file.exists() else None
        if "pids" in controllers:
            pids = _limit(self._read("", "pids.max"))
        if "cpu" in controllers:
            quota, period = self._read("", "cpu.max").split()
            cpus = None if quota == "max" else int(quota) / int(period)
        cpuset = self._read("", "cpuset.cpus.effective") if "cpuset" in controllers else ""
        return CgroupLimits(memory, swap, pids, cpus, cpuset.strip())

    def _file(self, controller: str, name: str) -> Path:
        """Return a file's place; v2 has one tree for all controllers."""
        top = self._root if self.version == 2 else self._root / controller
        return top / self._path / name

    def _read(self, controller: str, name: str) -> str:
        return self._file(controller, name).read_text()

    def _number(self, controller: str, name: str) -> int | None:
        with suppress(OSError, ValueError):
            return int(self._read(controller, name))
        return None

    def _word(self, controller: str, name: str, key: str) -> int | None:
        with suppress(OSError, ValueError):
            words = dict(line.split() for line in self._read(controller, name).splitlines())
            return int(words[key]) if key in words else None
        return None


def find_container(container: str, root: Path = CGROUPS) -> Cgroup | None:
    """Return the cgroup of a container that runs without a parent of ours, if it is to be seen."""
    top = root if (root / "cgroup.controllers").is_file() else root / "memory"
    for place in _PLACES:
        for found in top.glob(place.format(id=container)):
            return Cgroup(str(found.relative_to(top)), root)
    return None


def can_hold_cases(driver: str, root: Path = CGROUPS) -> bool:
    """Return whether cases can have parents of their own, given the engine's cgroup driver."""
    top = root if (root / "cgroup.controllers").is_file() else root / "memory"
    return driver == "cgroupfs" and os.access(top, os.W_OK)


def remove_all(prefix: str, root: Path = CGROUPS) -> None:
    """Remove every cgroup at the top whose name begins with ``prefix`` and that nothing runs in."""
    names = {
        path.name for pattern in ("{}*", "*/{}*") for path in root.glob(pattern.format(prefix))
    }
    for name in names:
        Cgroup(name, root).remove()


def _limit(text: str) -> int | None:
    word = text.strip()
    if word == "max" or int(word) >= UNLIMITED_BYTES:
        return None
    return int(word)


def _scaled(number: int | None, unit: float) -> float | None:
    return None if number is None else number * unit
