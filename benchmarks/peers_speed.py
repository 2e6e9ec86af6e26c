"""Our whole process against another program on the same graphs, in turns.

    python benchmarks/peers_speed.py --peer BINARY --graphs DIR --bundle DIR --cases DIR [NAME]

BINARY is MedficientSAM's C++ program, built from its checkout (hieplpvip/medficientsam, cpp/); DIR
of --graphs holds encoder.xml and decoder.xml, as ``published_programs.py medficientsam-l0 CHECKOUT
DIR`` writes them with random weights, and its checkpoint.pth is what ``python -m inference.export
medficientsam-l0`` makes --bundle from.  Each case runs alone, both programs with their compiled
graphs kept from a first run that is not counted.  Printed: medians of the wall and the CPU seconds,
the median of the ratios of paired runs, and both peaks of memory.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure(line: Sequence[str | Path], environment: dict[str, str]) -> Cost:
    """Run a command to its end."""
    began = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(line, env=environment, stdout=nowhere)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{line[0]}: expected exit status 0, found {process.returncode}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def compare(case: Path, args: argparse.Namespace, folder: Path) -> str:
    """One row of the table."""
    inputs, ours, theirs = (folder / name for name in ("inputs", "ours", "theirs"))
    shutil.rmtree(inputs, ignore_errors=True)
    for made in (inputs, ours, theirs, folder / "their-cache"):
        made.mkdir(exist_ok=True)
    shutil.copy(case, inputs)
    own = [sys.executable, "-m", "inference", "-i", inputs, "-o", ours, "--model", args.bundle]
    own += ["--precision", args.precision, "--cache", args.cache or folder / "our-cache"]
    graphs = (args.graphs / "encoder.xml", args.graphs / "decoder.xml")
    peer = [args.peer, *graphs, folder / "their-cache", inputs, theirs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    pairs = []
    for _ in range(args.runs + 1):
        pairs.append((measure(own, environment), measure(peer, environment)))
        for masks in (ours, theirs):
            (masks / case.name).unlink()  # which says that it was there
    counted = pairs[1:]
    wall = statistics.median(a.wall_s / b.wall_s for a, b in counted)
    cpu = statistics.median(a.cpu_s / b.cpu_s for a, b in counted)
    cells = [case.stem, args.precision]
    for side in (0, 1):
        costs = [pair[side] for pair in counted]
        cells.append(f"{statistics.median(c.wall_s for c in costs):.2f}")
        cells.append(f"{statistics.median(c.cpu_s for c in costs):.2f}")
        cells.append(f"{max(c.peak_mib for c in costs):.0f}")
    return "| " + " | ".join([*cells, f"{wall:.2f}", f"{cpu:.2f}"]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--peer", "--graphs", "--bundle", "--cases"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="our compiled graphs, kept between calls")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("-n", "--runs", type=int, default=9, help="default: %(default)s")
    parser.add_argument("names", nargs="*", help="cases; default: all of --cases")
    args = parser.parse_args()
    names = args.names or [path.stem for path in sorted(args.cases.glob("*.npz"))]
    print(
        "| case | precision | ours: wall s | cpu s | peak MiB | peer: wall s | cpu s | peak MiB"
        " | wall ratio | cpu ratio |\n| --- | --- |" + " ---: |" * 8
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(compare(args.cases / f"{name}.npz", args, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
