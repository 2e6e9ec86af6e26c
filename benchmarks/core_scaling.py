"""One case on one core, on two, and so on: how much of the time shrinks with the cores.

    python benchmarks/core_scaling.py --cache DIR [--model BUNDLE ...] [--cores 1 2] [-n 5]

Runs the whole program on the three cases of speed_cases.py, confined to the first so many of this
machine's cores, by turns.  Printed: medians of the wall and the CPU seconds, the speed-up over the
fewest cores, and from the fewest and the most (Amdahl's law) the part that does not shrink, with
what eight cores would give by it.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from peers_speed import Cost, environment, measure
from speed_cases import write_bar_cases

ROOT = Path(__file__).resolve().parent.parent


def on_cores(count: int, line: list[str | Path]) -> Cost:
    """Run a command confined to so many cores."""
    every = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(every)[:count])  # what a child inherits
        return measure(line, environment())
    finally:
        os.sched_setaffinity(0, every)


def serial_part(fewest: int, most: int, ratio: float) -> float:
    """Part of the time on ``fewest`` cores that does not shrink, where ``most`` take ``ratio`` of
    it."""
    shrunk = fewest / most
    return min(max((ratio - shrunk) / (1 - shrunk), 0.0), 1.0)


def compare(case: Path, model: Path, args: argparse.Namespace, folder: Path) -> str:
    """One row of the table."""
    inputs = folder / "inputs"
    shutil.rmtree(inputs, ignore_errors=True)
    inputs.mkdir()
    shutil.copy(case, inputs)
    line = [sys.executable, "-m", "inference", "-i", inputs, "-o", folder / "masks"]
    line += ["--model", model, "--cache", args.cache]
    measure(line, environment())  # compiled graphs are kept from here on
    rounds = [[on_cores(count, line) for count in args.cores] for _ in range(args.runs)]
    cells = [case.stem, model.name]
    for i in range(len(args.cores)):
        wall = statistics.median(costs[i].wall_s for costs in rounds)
        cpu = statistics.median(costs[i].cpu_s for costs in rounds)
        cells.append(f"{wall:.2f} ({cpu:.2f})")
    ratio = statistics.median(costs[-1].wall_s / costs[0].wall_s for costs in rounds)
    serial = serial_part(args.cores[0], args.cores[-1], ratio)
    on_eight = serial + (1 - serial) * args.cores[0] / 8
    cells += [f"{1 / ratio:.2f}", f"{serial:.2f}", f"{1 / on_eight:.1f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="compiled graphs")
    default = ROOT / "inference" / "bundle"
    parser.add_argument("--model", type=Path, nargs="+", default=[default], help="bundles")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("-n", "--runs", type=int, default=5, help="default: %(default)s")
    args = parser.parse_args()
    if len(args.cores) < 2 or args.cores[-1] > len(os.sched_getaffinity(0)):
        parser.error(f"--cores: expected two or more counts that exist here, found {args.cores}")
    heads = " | ".join(f"{count} cores: wall (cpu) s" for count in args.cores)
    print(f"| case | bundle | {heads} | speed-up | serial part | by it, on 8 |")
    print("| --- | --- |" + " ---: |" * (len(args.cores) + 3))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for case in write_bar_cases(folder):
            for model in args.model:
                print(compare(case, model, args, folder), flush=True)


if __name__ == "__main__":
    main()
