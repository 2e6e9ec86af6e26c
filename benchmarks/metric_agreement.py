"""DSC and NSD against DeepMind's surface-distance on random label pairs.

    python benchmarks/metric_agreement.py [--pairs 2400] [--seed 0]

Needs the package surface-distance-based-measures, whose names that NumPy 2 dropped are put back at
run time. Half of the pairs are 2D; spacings, tolerances that the grid meets exactly, borders,
single voxels, empty and full masks all occur. Prints the largest differences; exit code 1 beyond
the bars (1e-12 in NSD, 0 in DSC).
"""

import argparse
import math
import sys
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.metrics import dice, surface_dice
from evaluation.metrics.distances import surface_dice_curve, surface_distances

Mask = NDArray[np.bool_]

SPACINGS = (0.4, 0.5, 0.8, 1.0, 1.25, 2.5, 5.0)
TOLERANCES = (0.0, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 7.0)
NSD_BAR = 1e-12


def reference():  # type: ignore[no-untyped-def]
    """The package, with np.Inf and np.NaN where it looks for them."""
    np.Inf, np.NaN = np.inf, np.nan  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    import surface_distance  # type: ignore[import-not-found]

    return surface_distance


def random_pair(rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Two masks of one shape: blobs that are near each other, noise, single voxels or nothing."""
    dims = int(rng.integers(2, 4))
    shape = tuple(rng.integers(1, 28 if dims == 3 else 60, dims).tolist())
    kind = rng.choice(["blob", "blob", "blob", "noise", "voxel", "extreme"])
    if kind == "noise":
        return rng.random(shape) < rng.random(), rng.random(shape) < rng.random()
    if kind == "voxel":
        masks = np.zeros((2, *shape), bool)
        for mask in masks:
            mask[tuple(rng.integers(0, extent) for extent in shape)] = True
        return masks[0], masks[1]
    if kind == "extreme":
        first = np.full(shape, bool(rng.integers(0, 2)))
        return first, rng.random(shape) < rng.choice([0.0, 0.05, 1.0])
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    first = field > np.quantile(field, rng.uniform(0.3, 0.95))
    second = np.roll(first, rng.integers(-4, 5, dims), range(dims))
    return first, second & (rng.random(shape) < 0.98)


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    theirs = reference()
    rng = np.random.default_rng(args.seed)
    worst = dict.fromkeys(("dsc", "nsd", "nsd of a curve", "hd95", "average distance"), 0.0)
    ties = undefined = 0
    for _ in range(args.pairs):
        first, second = random_pair(rng)
        spacing_mm = tuple(rng.choice(SPACINGS, first.ndim).tolist())
        tolerance_mm = float(rng.choice(TOLERANCES))
        expected_dice = theirs.compute_dice_coefficient(first, second)
        if math.isnan(expected_dice):  # both empty, where ours is 1.0 by declaration
            undefined += 1
            agreed = dice(first, second), surface_dice(first, second, spacing_mm, tolerance_mm)
            if agreed != (1.0, 1.0):
                raise RuntimeError(f"two empty masks: {agreed}")
            continue
        profile = theirs.compute_surface_distances(first, second, spacing_mm)
        expected_nsd = theirs.compute_surface_dice_at_tolerance(profile, tolerance_mm)
        ties += bool((profile["distances_gt_to_pred"] == tolerance_mm).any())
        found = surface_distances(first, second, spacing_mm)
        curve = surface_dice_curve(first, second, spacing_mm, [tolerance_mm, 7.0])
        differences = {
            "dsc": dice(first, second) - expected_dice,
            "nsd": surface_dice(first, second, spacing_mm, tolerance_mm) - expected_nsd,
            "nsd of a curve": curve[0] - expected_nsd,
        }
        if first.any() and second.any():
            hausdorff = theirs.compute_robust_hausdorff(profile, 95)
            differences["hd95"] = found.hausdorff_mm() - hausdorff
            sizes = profile["surfel_areas_gt"].sum(), profile["surfel_areas_pred"].sum()
            means = theirs.compute_average_surface_distance(profile)
            average = np.average(means, weights=sizes)
            differences["average distance"] = found.average_mm - float(average)
        worst = {name: max(old, abs(differences.get(name, 0.0))) for name, old in worst.items()}
    print(
        f"{args.pairs} pairs, {undefined} both empty, {ties} with distances equal to the tolerance"
    )
    for name, value in worst.items():
        print(f"largest difference in {name}: {value:.3g}")
    return 0 if worst["dsc"] == 0 and worst["nsd"] <= NSD_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
