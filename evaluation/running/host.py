"""Facts about the machine and the software, stored with every run."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation import __version__
from evaluation.running.engine import Engine, is_local
from evaluation.running.protocol import MIB, Protocol

Machine = Mapping[str, str | int]
"""What describe_host returns."""


def describe_host() -> Machine:
    """Return what a reader of the timings must know of the machine."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def describe_engine_host(engine: Engine, info: Mapping[str, Any]) -> Machine:
    """Return the same of the machine that an engine runs on, with its ``info``.

    A distant engine does not tell its processor's model: it is named after the machine, so that it
    is equal to no other.
    """
    if is_local(engine):
        return describe_host()
    return {
        "name": str(info["Name"]),
        "system": f"{info['OperatingSystem']} {info['KernelVersion']}",
        "machine": str(info["Architecture"]),
        "processor": f"unknown processor of {info['Name']}",
        "processors": int(info["NCPU"]),
        "memory_bytes": int(info["MemTotal"]),
    }


def hardware_key(
    machine: Machine, protocol: Protocol, cpuset: str = "", *, enforced: bool = True
) -> str:
    """Return in one line what a case had to run on; times compare only where it is the same text.

    ``machine`` is what describe_host returns there, ``cpuset`` the processors of the case's own,
    one by one as in ``0,1`` (empty for all). Without ``enforced`` limits the cases had all of the
    machine, and no container had to be started. The name of the machine is no part of it: two
    machines of one kind are equal.
    """
    processors = float(machine["processors"])
    given = float(len(cpuset.split(","))) if cpuset else processors
    parts = [f"{machine['processor']} ({machine['machine']})"]
    if not enforced:
        return ", ".join([*parts, f"{processors:g} of {processors:g} processors", "no container"])
    given = min(given, protocol.cpus or given)
    return ", ".join(
        [
            *parts,
            f"{given:g} of {processors:g} processors",
            f"{protocol.memory_bytes / MIB:g} MiB",
            f"{protocol.jobs} at once",
        ]
    )


def describe_versions() -> dict[str, str]:
    """Return the versions of the harness and of what it runs on."""
    return {"harness": __version__, "python": platform.python_version()}


def _processor() -> str:
    """Return the processor's name, as Linux knows it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
