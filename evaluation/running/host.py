"""Facts about the machine and the software, stored with every run."""

import os
import platform
from pathlib import Path

from evaluation import __version__


def describe_host() -> dict[str, str | int]:
    """Return what a reader of the timings must know of the machine."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


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
