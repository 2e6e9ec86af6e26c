"""Our whole process against another program on the same graphs, in turns; unattended.

    python benchmarks/peers_speed.py --peer BINARY --graphs DIR --bundle DIR [--cases DIR] [NAME]

BINARY is MedficientSAM's C++ program, built from its checkout (hieplpvip/medficientsam, cpp/); DIR
of --graphs holds encoder.xml and decoder.xml, as ``published_programs.py medficientsam-l0 CHECKOUT
DIR`` writes them with random weights, and its checkpoint.pth is what ``python -m inference.export
medficientsam-l0`` makes --bundle from.  Without --cases, three are made (speed_cases.py).  Each
case runs alone, both programs with their compiled graphs kept from a first run that is not counted;
every pair in the other order.  Printed: medians of the wall and the CPU seconds, peaks of memory,
medians of the ratios of pairs, and the bar on the wall ratio; exit status 1 where one is missed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from speed_cases import write_bar_cases

ROOT = Path(__file__).resolve().parent.parent

BARS: Mapping[str, Mapping[str, float]] = {
    "Mammography": {"f32": 0.85, "bf16": 0.65},
    "Microscopy": {"f32": 0.50, "bf16": 0.38},
    "CT": {"f32": 0.80, "bf16": 0.48},
}
"""Largest wall ratio by the modality that a case's name says, and our precision."""


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure(line: Sequence[str | Path], environment: Mapping[str, str]) -> Cost:
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


def environment() -> dict[str, str]:
    """Ours and the peer's: OpenVINO's libraries are those of the installed package."""
    found = find_spec("openvino")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    libraries = [str(Path(folder, "libs")) for folder in folders]
    given = os.environ.get("LD_LIBRARY_PATH")
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "LD_LIBRARY_PATH": ":".join([*libraries, *([given] if given else [])]),
    }


def run_pairs(
    case: Path, precision: str, args: argparse.Namespace, folder: Path
) -> list[tuple[Cost, Cost]]:
    """(ours, the peer's) of every counted run."""
    inputs, ours, theirs = (folder / name for name in ("inputs", "ours", "theirs"))
    shutil.rmtree(inputs, ignore_errors=True)
    for made in (inputs, ours, theirs, folder / "their-cache"):
        made.mkdir(exist_ok=True)
    shutil.copy(case, inputs)
    own = [sys.executable, "-m", "inference", "-i", inputs, "-o", ours, "--model", args.bundle]
    own += ["--precision", precision, "--cache", args.cache or folder / "our-cache"]
    graphs = (args.graphs / "encoder.xml", args.graphs / "decoder.xml")
    peer = [args.peer, *graphs, folder / "their-cache", inputs, theirs]
    around = environment()
    pairs = []
    for i in range(args.runs + 1):
        costs = [measure(line, around) for line in ((own, peer) if i % 2 else (peer, own))]
        pairs.append((costs[0], costs[1]) if i % 2 else (costs[1], costs[0]))
        for masks in (ours, theirs):
            (masks / case.name).unlink()  # which says that it was there
    return pairs[1:]


def row(case: Path, precision: str, pairs: list[tuple[Cost, Cost]]) -> tuple[str, bool]:
    """One row of the table, and whether the case keeps its bar."""
    wall = statistics.median(a.wall_s / b.wall_s for a, b in pairs)
    cpu = statistics.median(a.cpu_s / b.cpu_s for a, b in pairs)
    cells = [case.stem, precision]
    for side in (0, 1):
        costs = [pair[side] for pair in pairs]
        cells.append(f"{statistics.median(c.wall_s for c in costs):.2f}")
        cells.append(f"{statistics.median(c.cpu_s for c in costs):.2f}")
        cells.append(f"{max(c.peak_mib for c in costs):.0f}")
    bar = next((bars[precision] for name, bars in BARS.items() if f"_{name}_" in case.stem), None)
    cells += [f"{cpu:.2f}", f"{wall:.2f}", "" if bar is None else f"{bar:.2f}"]
    return "| " + " | ".join(cells) + " |", bar is None or wall <= bar


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--peer", "--graphs", "--bundle"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--cases", type=Path, help="default: made here")
    parser.add_argument("--cache", type=Path, help="our compiled graphs, kept between calls")
    parser.add_argument(
        "--precision", choices=("f32", "bf16"), nargs="+", default=["f32", "bf16"],
        help="ours; the peer's is f32 (default: both, one after the other)",
    )  # fmt: skip
    parser.add_argument("-n", "--runs", type=int, default=9, help="default: %(default)s")
    parser.add_argument("names", nargs="*", help="cases; default: all of them")
    return parser


def main() -> int:
    """Print the table; returns the exit status."""
    args = make_parser().parse_args()
    print(
        "| case | precision | ours: wall s | cpu s | peak MiB | peer: wall s | cpu s | peak MiB"
        " | cpu ratio | wall ratio | bar |\n| --- | --- |" + " ---: |" * 9,
        flush=True,
    )
    kept = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = sorted(args.cases.glob("*.npz")) if args.cases else write_bar_cases(folder)
        cases = [path for path in found if not args.names or path.stem in args.names]
        for precision in args.precision:
            for case in cases:
                line, keeps = row(case, precision, run_pairs(case, precision, args, folder))
                print(line, flush=True)
                kept &= keeps
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
