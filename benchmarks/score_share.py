"""Scoring a whole data set end to end from npz files: seconds, and the share of reading them.

    python benchmarks/score_share.py --truth DIR [--workers 2]

Masks are perturbed truths. First the command `score --segs` with nothing kept, as a whole; then
every case again in this process with a clock around the reading of its two files.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from official_agreement import perturbed

from evaluation.scoring import case_scores
from evaluation.scoring.case_scores import CaseTask, score_task
from evaluation.scoring.labelmaps import read_mask, read_truth
from evaluation.scoring.scores import score_folder


def main() -> None:
    """Print seconds and the share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        segs, truth = Path(folder, "segs"), Path(folder, "truth")
        segs.mkdir()
        truth.mkdir()
        for path in sorted(args.truth.rglob("*.npz")):
            with np.load(path) as archive:
                labels = archive["gts"]
            (truth / path.name).symlink_to(path.resolve())
            np.savez_compressed(segs / path.name, segs=perturbed(labels, rng))
        began = time.perf_counter()
        results = score_folder(segs, truth, Path(folder, "scores.csv"), workers=args.workers)
        print(f"{len(results)} cases, {args.workers} workers: {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        score_folder(segs, truth, Path(folder, "scores.csv"), workers=args.workers)
        print(f"again, all kept: {time.perf_counter() - began:.1f} s")
        reading = 0.0

        def timed(read):  # type: ignore[no-untyped-def]
            def call(*args):  # type: ignore[no-untyped-def]
                nonlocal reading
                began = time.perf_counter()
                try:
                    return read(*args)
                finally:
                    reading += time.perf_counter() - began

            return call

        case_scores.read_truth, case_scores.read_mask = timed(read_truth), timed(read_mask)
        began = time.perf_counter()
        for path in sorted(truth.iterdir()):
            masks = {"team": segs / path.name}
            score_task(
                CaseTask(path.stem, "", None, path, None, {"team": None}, masks, False, False)
            )
        total = time.perf_counter() - began
        print(
            f"one process: {total:.1f} s, of which reading {reading:.1f} s ({reading / total:.0%})"
        )


if __name__ == "__main__":
    main()
