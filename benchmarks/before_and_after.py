"""The whole program on single cases, against another checkout of this repository, in turns.

    git worktree add /somewhere ac2825e
    python benchmarks/before_and_after.py --before /somewhere [--cases DIR] [-n 9]

Every run is a process of its own in fresh folders, with compiled graphs kept from a first run that
is not counted. Printed: medians of wall time, CPU time and peak memory of both, the medians of the
ratios after/before of neighbouring runs, and whether the masks are the same to the byte.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = ("2DBox_US_phantom-head", "3DBox_CT_phantom-abdomen")


def run_once(
    checkout: Path, case: Path, cache: Path, options: tuple[str, ...] = ()
) -> tuple[tuple[float, float, float], bytes]:
    """Wall seconds, CPU seconds and peak MiB of one run, and the mask file."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, "inputs"), Path(folder, "outputs")
        inputs.mkdir()
        outputs.mkdir()
        shutil.copy(case, inputs)
        line = [sys.executable, "-m", "inference", "-i", str(inputs), "-o", str(outputs)]
        line += ["--model", str(ROOT / "inference" / "bundle"), *options]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "MEDSAM_CACHE": str(cache)}
        with Path(folder, "log").open("w") as log:
            start = time.perf_counter()
            process = subprocess.Popen(line, env=environment, cwd=folder, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            told = Path(folder, "log").read_text().strip()
            raise SystemExit(f"{checkout}: {case.name}: {told}")
        cpu_s, peak_mib = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        return (wall_s, cpu_s, peak_mib), (outputs / case.name).read_bytes()


def paired_cell(rows: list[list[tuple[float, ...]]], measure: int) -> str:
    """Medians of a measure of both sides of all pairs, and the median of the pairs' ratios."""
    before, after = (statistics.median(row[side][measure] for row in rows) for side in (0, 1))
    ratio = statistics.median(row[1][measure] / row[0][measure] for row in rows)
    return f"{before:.2f}, {after:.2f}, **{ratio:.2f}**"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--cases", type=Path, help="default: two demo cases")
    parser.add_argument("-n", type=int, default=9, help="pairs")
    args = parser.parse_args()
    demo = [ROOT / "examples" / "cases" / f"{name}.npz" for name in CASES]
    cases = sorted(args.cases.glob("*.npz")) if args.cases else demo
    print("| case | wall s before, after, ratio | CPU s | peak MiB | same masks |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {args.before.resolve(): Path(folder, "a"), ROOT: Path(folder, "b")}
        for case in cases:
            masks = {c: run_once(c, case, cache)[1] for c, cache in checkouts.items()}
            rows = [[run_once(c, case, k)[0] for c, k in checkouts.items()] for _ in range(args.n)]
            cells = [paired_cell(rows, i) for i in range(3)]
            same = "yes" if len(set(masks.values())) == 1 else "NO"
            print(f"| {case.stem} | {' | '.join(cells)} | {same} |", flush=True)


if __name__ == "__main__":
    main()
