"""What this process runs on: the processor, and how much of it.

Imported before anything else of the program, so without pathlib.
"""

import os


def available_threads() -> int:
    """Processors this process may use: its affinity, or the cgroup's quota where that is
    smaller."""
    count = float(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    for quota_file, period_file in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            words = read_text(quota_file).split()
            if period_file is not None:
                words += read_text(period_file).split()
            if words[0] not in ("max", "-1"):
                count = min(count, int(words[0]) / int(words[1]))
        except (OSError, ValueError, IndexError):
            continue
    return max(1, int(count))


def processor() -> str:
    """Model name and instruction sets of the processor."""
    try:
        lines = read_text("/proc/cpuinfo").split("\n\n", 1)[0].splitlines()
    except OSError:
        import platform

        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(wanted))


def read_text(path: str) -> str:
    """A small file of the kernel's."""
    with open(path, encoding="utf-8") as file:
        return file.read()
