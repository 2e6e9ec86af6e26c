"""What bf16 saves and what it changes: whole processes on the same cases in f32 and bf16, in turns.

    python benchmarks/precision_cost.py [--cases DIR] [-n 9] [NAME ...]

Graphs are kept compiled from a first run of each that is not counted.  Printed: medians of wall and
CPU seconds, the medians of the ratios bf16/f32 of neighbouring runs, and how much of both masks is
not the same label.  The last line says what ``--precision auto`` is here.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from before_and_after import CASES, paired_cell, run_once  # noqa: E402

from inference.bundle import DEFAULT_BUNDLE  # noqa: E402
from inference.bundle_file import read_bundle  # noqa: E402
from inference.precision import bf16_loss, is_fast_in_bf16, resolve_precision  # noqa: E402

PRECISIONS = ("f32", "bf16")


def other_label(masks: list[bytes]) -> float:
    """Share of the voxels labelled by either mask that the other labels differently."""
    first, second = (np.load(io.BytesIO(mask))["segs"] for mask in masks)
    either = (first > 0) | (second > 0)
    return float((first != second).sum() / max(1, either.sum()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=Path, default=ROOT / "examples" / "cases")
    parser.add_argument("-n", type=int, default=9, help="pairs")
    parser.add_argument("names", nargs="*", default=CASES, help="default: %(default)s")
    args = parser.parse_args()
    print("| case | wall s f32, bf16, ratio | CPU s | other label |")
    print("| --- | --- | --- | ---: |")
    with tempfile.TemporaryDirectory() as cache:
        for case in (args.cases / f"{name}.npz" for name in args.names):

            def run(precision: str, case: Path = case) -> tuple[tuple[float, float, float], bytes]:
                return run_once(ROOT, case, Path(cache), ("--precision", precision))

            changed = other_label([run(precision)[1] for precision in PRECISIONS])
            rows = [[run(precision)[0] for precision in PRECISIONS] for _ in range(args.n)]
            cells = [paired_cell(rows, i) for i in range(2)]  # wall, CPU
            print(f"| {case.stem} | {' | '.join(cells)} | {changed:.2%} |", flush=True)
    record = read_bundle(DEFAULT_BUNDLE).record
    chosen = resolve_precision("auto", "openvino", record)
    print(f"auto: {chosen}; fast in bf16: {is_fast_in_bf16()}; loss by record: {bf16_loss(record)}")


if __name__ == "__main__":
    main()
