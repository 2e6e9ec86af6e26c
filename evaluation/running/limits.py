"""Whether the limits that were asked for are the limits that are in force.

Asking is not enough: declared limits that nobody applied went unnoticed elsewhere for months
(harness_peers.md: harbor#1845). What the engine says it applied (HostConfig) and what the kernel
applies (the cgroup) are read back for every case and stored with it.
"""

import mmap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.errors import LimitError
from evaluation.running.cgroups import CgroupLimits
from evaluation.running.protocol import Protocol

SWAPS = Path("/proc/swaps")

LimitsInForce = dict[str, Any]
"""What was read back, as stored in a record: ``host_config``, ``cgroup`` and its ``version``."""

_HOST_CONFIG_KEYS = (
    *("Memory", "MemorySwap", "NanoCpus", "PidsLimit", "CpusetCpus", "NetworkMode"),
    *("ReadonlyRootfs", "CapDrop", "SecurityOpt", "Tmpfs", "Privileged"),
)


def check_host_config(found: Mapping[str, Any], protocol: Protocol, cpuset: str) -> LimitsInForce:
    """Return the engine's word for the limits; raises LimitError if it is not the protocol's."""
    expected = {
        "Memory": protocol.memory_bytes,
        "MemorySwap": protocol.memory_bytes + protocol.swap_bytes,
        "NanoCpus": round(protocol.cpus * 1e9),
        "PidsLimit": protocol.pids or None,
        "CpusetCpus": cpuset,
        "NetworkMode": protocol.network,
        "ReadonlyRootfs": protocol.read_only_root,
        "CapDrop": ["ALL"] if protocol.drop_capabilities else None,
        "SecurityOpt": None if protocol.allow_new_privileges else ["no-new-privileges:true"],
        "Privileged": False,
    }
    for key, wanted in expected.items():
        if (found.get(key) or None) != (wanted or None):
            raise LimitError(
                f"{key}: expected {wanted!r} in the HostConfig, found {found.get(key)!r}"
            )
    return {key: found.get(key) for key in _HOST_CONFIG_KEYS}


def check_cgroup(found: CgroupLimits, protocol: Protocol, cpuset: str) -> None:
    """Raise LimitError if the kernel's limits are not the protocol's."""
    pages = protocol.memory_bytes // mmap.PAGESIZE * mmap.PAGESIZE
    swap = protocol.swap_bytes // mmap.PAGESIZE * mmap.PAGESIZE
    expected: dict[str, object] = {
        "memory_bytes": pages,
        "pids": protocol.pids or None,
        "cpus": round(protocol.cpus, 2) or None,
    }
    if found.swap_bytes is not None or host_has_swap():
        # the kernel rounds both limits to pages, and so may their difference be one page off
        near = found.swap_bytes is not None and abs(found.swap_bytes - swap) <= mmap.PAGESIZE
        expected["swap_bytes"] = found.swap_bytes if near else swap
    for name, wanted in expected.items():
        actual = getattr(found, name)
        if (round(actual, 2) if isinstance(actual, float) else actual) != wanted:
            raise LimitError(f"{name}: expected {wanted} in the container's cgroup, found {actual}")
    if cpuset and processors_in(found.cpuset) != processors_in(cpuset):
        raise LimitError(f"cpuset: expected {cpuset} in the cgroup, found {found.cpuset!r}")


def in_force(
    host_config: LimitsInForce, cgroup: CgroupLimits | None, version: int
) -> LimitsInForce:
    """Return what a record stores; ``cgroup`` is None where this host cannot see it."""
    seen = None if cgroup is None else {"version": version, **asdict(cgroup)}
    return {"host_config": host_config, "cgroup": seen}


def host_has_swap() -> bool:
    """Return whether this machine swaps at all; without swap there is none to limit."""
    try:
        return len(SWAPS.read_text().splitlines()) > 1
    except OSError:
        return True


def processors_in(text: str) -> set[int]:
    """Return the processors in a kernel list such as ``0-2,5``."""
    processors: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        processors.update(range(int(first), int(last or first) + 1))
    return processors
