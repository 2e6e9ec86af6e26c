"""Seconds and memory of DSC and NSD: ours, DeepMind's and the organisers' functions in turns.

    python benchmarks/metric_speed.py --script DIR [--runs 5] [--case volume plane fine]

DIR holds compute_metrics.py and SurfaceDice.py of bowang-lab/MedSAM@LiteMedSAM; the package
surface-distance-based-measures must be installed. Names that NumPy 2 dropped are put back at run
time. Every implementation scores the same arrays, in turns, so that a machine whose speed drifts
slows all. Cases: `volume`, 120x512x512 with 13 organs, 5 x 0.8 x 0.8 mm; `plane`, 1024x1024 with
100 nuclei; `fine`, the worst one: tolerance 7 mm at 0.5 mm, bad prediction. Peak memory above the
arrays is taken in a fresh process for each.
"""

import argparse
import ctypes
import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import score_case

Labels = NDArray[np.uint8]
Scorer = Callable[[Labels, Labels, Sequence[float], float], float]

CASES = ("volume", "plane", "fine")


def ellipsoids(shape: tuple[int, ...], rng: np.random.Generator, organs: int) -> list[NDArray[Any]]:
    """Centres and radii in shares of the shape, the first ones large."""
    sizes = np.geomspace(0.22, 0.035, organs)
    return [
        np.stack([rng.uniform(0.2, 0.8, len(shape)), size * rng.uniform(0.7, 1.3, len(shape))])
        for size in sizes
    ]


def draw(shape: tuple[int, ...], parts: list[NDArray[Any]], moved: NDArray[Any]) -> Labels:
    """A label map of ellipsoids, moved by some pixels; later ones cover earlier ones."""
    labels = np.zeros(shape, np.uint8)
    extent = np.array(shape)
    for number, (centre, radius) in enumerate(parts, start=1):
        middle, reach = centre * extent + moved, radius * extent
        low = np.clip(middle - reach - 1, 0, extent).astype(int)
        high = np.clip(middle + reach + 2, 0, extent).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        distance = sum(
            ((axis - m) / r) ** 2 for axis, m, r in zip(axes, middle, reach, strict=True)
        )
        labels[box][distance < 1] = number
    return labels


def make(case: str) -> tuple[Labels, Labels, tuple[float, ...], float]:
    """Truth, prediction, spacing and tolerance of a case."""
    rng = np.random.default_rng(7)
    if case == "plane":
        shape: tuple[int, ...] = (1024, 1024)
        centres = np.stack(np.meshgrid(np.arange(10), np.arange(10)), -1).reshape(-1, 2) / 10
        parts = [
            np.stack([centre + rng.uniform(0.02, 0.06, 2), rng.uniform(9, 24, 2) / 1024])
            for centre in centres
        ]
        moved = [rng.normal(0, 2, 2) / 1024 for _ in parts]
        shifted = [
            np.stack([p[0] + m, p[1] * rng.uniform(0.85, 1.1)])
            for p, m in zip(parts, moved, strict=True)
        ]
        nothing = np.zeros(2)
        return draw(shape, parts, nothing), draw(shape, shifted, nothing), (1.0, 1.0), 2.0
    shape = (120, 512, 512)
    parts = ellipsoids(shape, rng, 13)
    truth = draw(shape, parts, np.zeros(3))
    if case == "volume":
        return truth, draw(shape, parts, np.array([1.0, 3.0, 2.0])), (5.0, 0.8, 0.8), 2.0
    return truth, np.roll(truth, 12, (0, 1, 2)), (0.5, 0.5, 0.5), 7.0


def ours(truth: Labels, found: Labels, spacing_mm: Sequence[float], tolerance_mm: float) -> float:
    """Mean NSD by score_case, which gives DSC and all counts with it."""
    return score_case(truth, found, spacing_mm, tolerance_mm).nsd


def ours_with_official(
    truth: Labels, found: Labels, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """The same with the official NSD beside it, as `score` asks for."""
    official = (1.0, 1.0, 1.0) if truth.ndim == 2 else tuple(spacing_mm)[::-1]
    return score_case(truth, found, spacing_mm, tolerance_mm, official_spacing_mm=official).nsd


def deepmind(
    truth: Labels, found: Labels, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Mean NSD label by label, and DSC."""
    import surface_distance as theirs  # type: ignore[import-not-found]

    values = []
    for label in range(1, int(truth.max()) + 1):
        masks = truth == label, found == label
        theirs.compute_dice_coefficient(*masks)
        distances = theirs.compute_surface_distances(*masks, spacing_mm)
        values.append(theirs.compute_surface_dice_at_tolerance(distances, tolerance_mm))
    return float(np.mean(values))


def organisers(script: Path) -> Scorer:
    """Their two functions; the command line below them is cut off."""
    sys.path.insert(0, str(script))
    text = (script / "compute_metrics.py").read_text()
    code = "\n".join(
        line
        for line in text[: text.index("parser = ")].splitlines()
        if not line.startswith(("import nibabel", "import pandas"))
    )
    names: dict[str, Any] = {}
    exec(code, names)

    def score(
        truth: Labels, found: Labels, spacing_mm: Sequence[float], tolerance_mm: float
    ) -> float:
        names["compute_multi_class_dsc"](truth, found)
        if truth.ndim == 2:
            truth, found, spacing_mm = truth[..., None], found[..., None], (1.0, 1.0, 1.0)
        return float(names["compute_multi_class_nsd"](truth, found, spacing_mm, tolerance_mm))

    return score


def scorers(script: Path) -> dict[str, Scorer]:
    """All implementations by name."""
    np.Inf, np.NaN = np.inf, np.nan  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    return {
        "ours": ours,
        "ours, official too": ours_with_official,
        "DeepMind": deepmind,
        "organisers": organisers(script),
    }


def peak_above_arrays(script: Path, case: str, name: str) -> float:
    """MB that scoring adds to the peak of a process that holds the arrays and is warm."""
    chosen = scorers(script)[name]
    small = np.zeros((4,) * (2 if case == "plane" else 3), np.uint8)
    small[1:3, 1:3] = 1
    truth, found, spacing_mm, tolerance_mm = make(case)
    chosen(small, small, spacing_mm, 1.0)
    ctypes.CDLL(None).malloc_trim(0)  # what building the arrays left over would be used again
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = _peak_kib()
    chosen(truth, found, spacing_mm, tolerance_mm)
    return (_peak_kib() - before) / 1024


def _peak_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", type=Path, required=True, metavar="DIR")
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("-n", "--runs", type=int, default=5)
    args = parser.parse_args()
    everything = scorers(args.script)
    print("| case | implementation | median s | min s | ratio to ours | extra MB | NSD |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    context = multiprocessing.get_context("spawn")
    for case in args.case:
        arrays = make(case)
        seconds: dict[str, list[float]] = {name: [] for name in everything}
        values = {}
        for name, score in everything.items():
            values[name] = score(*arrays)  # warm
        for _ in range(args.runs):
            for name, score in everything.items():
                began = time.perf_counter()
                score(*arrays)
                seconds[name].append(time.perf_counter() - began)
        for name, taken in seconds.items():
            ratio = statistics.median(t / o for t, o in zip(taken, seconds["ours"], strict=True))
            with context.Pool(1) as pool:
                extra = pool.apply(peak_above_arrays, (args.script, case, name))
            print(
                f"| {case} | {name} | {statistics.median(taken):.3f} | {min(taken):.3f} | "
                f"{ratio:.1f} | {extra:.0f} | {values[name]:.6f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
