"""Scoring a whole data set end to end from npz files: seconds, and the share of reading them.

    python benchmarks/score_share.py --truth DIR [--workers 2]

Masks are perturbed truths. First the command `score --segs` in a process of its own: with nothing
kept, with the truths kept, with everything kept. Then the cases in this process with clocks of
processor time around what reads and writes files, so that other work on the machine counts little.
"Scoring proper" is all the rest: labels, counts, surfaces, rows.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from official_agreement import perturbed

from evaluation.scoring import case_scores, scores
from evaluation.scoring.score_cache import CACHE_FOLDER
from evaluation.scoring.scores import score_folder

READING = ("read_truth", "read_mask")
KEEPING = ("digest_or_none", "load_rows", "keep_rows", "load_truth", "keep_truth")
IO = {case_scores: READING + KEEPING, scores: ("write_table",)}
"""Functions that read and write files, by the module that calls them."""


class Clock:
    """Processor seconds spent in functions, by name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function with a clock around it."""

        def call(*args: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args)
            finally:
                self.seconds[name] += time.process_time() - began

        return call


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
        for what in ("from nothing", "truths kept", "all kept"):
            if what == "truths kept":
                for kept in (out.parent / CACHE_FOLDER).rglob("*.json"):
                    kept.unlink()
            wall_s, cpu_s = command_seconds(segs, truth, out, args.workers)
            print(f"{what}: {wall_s:.1f} s with {args.workers} workers, processor {cpu_s:.1f} s")
        shutil.rmtree(out.parent)
        clock = Clock()
        for module, names in IO.items():
            for name in names:
                setattr(module, name, clock.timed(name, getattr(module, name)))
        began = time.process_time()
        cases = len(score_folder(segs, truth, out))
        total_s = time.process_time() - began
        zlib_s = inflate_seconds([*truth.iterdir(), *segs.iterdir()])
        reading_s = sum(clock.seconds[name] for name in READING)
        other_s = sum(clock.seconds.values()) - reading_s
        parts = {
            "reading truth and mask": reading_s,
            "  of that decompression alone": zlib_s,
            "digests, kept results, tables": other_s,
            "scoring proper": total_s - reading_s - other_s,
        }
        print(f"{cases} cases in one process: processor {total_s:.1f} s")
        for name, seconds in parts.items():
            print(f"  {name}: {seconds:.2f} s ({seconds / total_s:.0%})")


if __name__ == "__main__":
    main()
