"""A team's own graphs, wrapped into a bundle, against its released program on the same graphs.

    PYTHONPATH=. python benchmarks/published_agreement.py SYSTEM ... --program BINARY --work WORK
    PYTHONPATH=. python benchmarks/wrapped_agreement.py SYSTEM --work WORK

The first command leaves in WORK what this one compares: the cases, the graphs that the team's code
made of random weights (OpenVINO IR), and the masks of its C++ program.  Prints every case and one
line: cases, the part of the pixels with the same label, mean and worst case.  Exit code 1 where a
case is below the bar or was not answered.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from answered_cases import PIXEL_BAR, answered_cases

import inference
from inference.case import read_case
from inference.export.ready_made import GraphFiles
from inference.export.systems import SYSTEMS
from inference.export.wrapping import wrap_bundle
from inference.modality import modality_of


def main() -> int:
    """Wrap and compare; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=[s for s in SYSTEMS if s.startswith(("daft", "medfic"))])
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    bundle = args.work / "wrapped"
    shutil.rmtree(bundle, ignore_errors=True)
    experts = args.work / "openvinomodels"
    pair = GraphFiles(args.work / "encoder.xml", args.work / "decoder.xml")
    wrap_bundle(args.system, experts if experts.is_dir() else pair, bundle)
    same = compare(bundle, args.work)
    cases = len(list((args.work / "cases").glob("*.npz")))
    if same:
        print(f"| {args.system} | {len(same)} | {np.mean(same):.5f} | {min(same):.5f} |")
    return 0 if len(same) == cases and min(same, default=0) >= PIXEL_BAR else 1


def compare(bundle: Path, work: Path) -> list[float]:
    """Part of the pixels with the same label, of every case that the program answered."""
    segmenter = inference.load(bundle, fidelity="published")
    same = []
    for path, expected in answered_cases(work):
        found = segmenter.segment_case(read_case(path), modality_of(path.name))
        same.append(float((found == expected).mean()))
        print(f"  {path.stem}: {same[-1]:.6f}", flush=True)
    return same


if __name__ == "__main__":
    sys.exit(main())
