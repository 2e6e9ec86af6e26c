"""Scoring a whole data set end to end from npz files: seconds, and the share of reading them.

    python benchmarks/score_share.py --truth DIR [--workers 2]

Masks are perturbed truths. First the command `score --segs` in a process of its own with nothing
kept, then the same again with everything kept, and with other masks but the truths kept. Then the
cases in this process with a clock of processor time around the reading of the two files of each,
and around zlib alone, so that other work on the machine does not count. "Scoring proper" is all
that is not reading: labels, counts, surfaces, rows, tables.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from official_agreement import perturbed

from evaluation.scoring import case_scores
from evaluation.scoring.labelmaps import read_mask, read_truth
from evaluation.scoring.scores import score_folder


def write_masks(truths: Path, folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """A folder of masks for every truth below `truths`, and a flat one with links to the truths."""
    rng = np.random.default_rng(seed)
    segs, truth = folder / "segs", folder / "truth"
    segs.mkdir()
    truth.mkdir()
    for path in sorted(truths.rglob("*.npz")):
        with np.load(path) as archive:
            labels = archive["gts"]
        (truth / path.name).symlink_to(path.resolve())
        np.savez_compressed(segs / path.name, segs=perturbed(labels, rng))
    return segs, truth


def command_seconds(segs: Path, truth: Path, out: Path, workers: int) -> tuple[float, float]:
    """Wall and processor seconds of `score --segs`, start of the interpreter and all."""
    words = ["score", "--segs", str(segs), "--truth", str(truth), "--out", str(out)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "evaluation", *words, "--workers", str(workers)],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def inflate_seconds(paths: list[Path]) -> float:
    """Processor seconds of decompressing all members of some npz files, and nothing else."""
    began = time.process_time()
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name in ("gts.npy", "segs.npy"):
                    archive.read(name)
    return time.process_time() - began


def main() -> None:
    """Print seconds and shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        segs, truth = write_masks(args.truth, folder)
        out = folder / "first" / "scores.csv"
        for what in ("from nothing", "again, all kept"):
            wall_s, cpu_s = command_seconds(segs, truth, out, args.workers)
            print(f"{what}: {wall_s:.1f} s with {args.workers} workers, processor {cpu_s:.1f} s")
        reading_s = 0.0

        def timed(read: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                nonlocal reading_s
                began = time.process_time()
                try:
                    return read(*args)
                finally:
                    reading_s += time.process_time() - began

            return call

        case_scores.read_truth, case_scores.read_mask = timed(read_truth), timed(read_mask)
        began = time.process_time()
        cases = len(score_folder(segs, truth, folder / "second" / "scores.csv"))
        total_s = time.process_time() - began
        zlib_s = inflate_seconds([*truth.iterdir(), *segs.iterdir()])
        print(
            f"{cases} cases in one process: processor {total_s:.1f} s, of which reading "
            f"{reading_s:.1f} s ({reading_s / total_s:.0%}), decompression alone {zlib_s:.1f} s "
            f"({zlib_s / total_s:.0%}), scoring proper {1 - reading_s / total_s:.0%}"
        )


if __name__ == "__main__":
    main()
