"""The report at the size of the challenge: seconds, memory and bytes of rank and report together.

    python -m benchmarks.report_scale [--teams 25] [--cases 4400] [--run RUN]

Makes the run of `ranking_scale` in a temporary folder (or takes RUN, made before), then runs the
two commands as a user does, each in a process of its own, and the report twice: the bytes must be
the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measure(*words: str) -> tuple[float, float, float]:
    """Run a command; returns wall seconds, processor seconds and peak MiB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(words)}: failed")
    wall_s = time.perf_counter() - start
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--teams", type=int, default=25)
    parser.add_argument("--cases", type=int, default=4400)
    parser.add_argument("--run", type=Path, help="made before by ranking_scale make")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = args.run or Path(folder) / "run"
        if args.run is None:
            sizes = ["--teams", str(args.teams), "--cases", str(args.cases)]
            measure(str(ROOT / "benchmarks" / "ranking_scale.py"), "make", str(run), *sizes)
        print("| command | seconds | processor seconds | peak MiB |")
        print("| --- | ---: | ---: | ---: |")
        pages = []
        for name in ("rank", "report", "report"):
            wall_s, cpu_s, peak_mib = measure("-m", "evaluation", name, str(run))
            print(f"| {name} | {wall_s:.1f} | {cpu_s:.1f} | {peak_mib:.0f} |")
            if name == "report":
                pages.append((run / "report.html").read_bytes())
        same = "the same" if pages[0] == pages[1] else "NOT the same"
        print(f"\nreport.html: {len(pages[0]) / 1e6:.1f} MB, {same} bytes twice")


if __name__ == "__main__":
    main()
