"""Measures of two masks besides DSC and NSD: sizes, IoU, distances of surfaces, NSD curves.

Distances are those between surface elements (see `surface`), weighted by their lengths or areas as
in Nikolov et al., arXiv 1809.04430. The policy for empty masks is that of `metrics`: both empty is
agreement, IoU 1.0 and distances 0.0; one empty is IoU 0.0 and distances of infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.nearest import nearest_distances
from evaluation.metrics.surface import Mask, SurfacePair, pair_surfaces, surface_points, total_sizes
from evaluation.metrics.surfels import element_sizes

HAUSDORFF_PERCENT = 95.0
"""The usual percentile, which a few stray pixels do not move."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Elements of two surfaces: codes, sizes by code, and the distance to the other surface."""

    truth_codes: NDArray[np.uint8]
    prediction_codes: NDArray[np.uint8]
    truth_mm: NDArray[np.float64]
    """From each element of the truth to the prediction; infinite when that is empty."""
    prediction_mm: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def average_mm(self) -> float:
        """Average symmetric surface distance: the mean over both surfaces, weighted by size."""
        if not self.truth_mm.size and not self.prediction_mm.size:
            return 0.0
        if not self.truth_mm.size or not self.prediction_mm.size:
            return math.inf
        weights = self.sizes[np.concatenate([self.truth_codes, self.prediction_codes])]
        distances_mm = np.concatenate([self.truth_mm, self.prediction_mm])
        return math.fsum((weights * distances_mm).tolist()) / math.fsum(weights.tolist())

    def hausdorff_mm(self, percent: float = HAUSDORFF_PERCENT) -> float:
        """The larger of the two distances that `percent` of each surface do not exceed."""
        if not self.truth_mm.size and not self.prediction_mm.size:
            return 0.0
        return max(
            self._percentile(self.truth_codes, self.truth_mm, percent),
            self._percentile(self.prediction_codes, self.prediction_mm, percent),
        )

    def surface_dice(self, tolerances_mm: Sequence[float]) -> list[float]:
        """NSD at each of some tolerances, none above the reach of the distances."""
        codes = np.concatenate([self.truth_codes, self.prediction_codes])
        distances_mm = np.concatenate([self.truth_mm, self.prediction_mm])
        if not codes.size:
            return [1.0] * len(tolerances_mm)
        total = self._size(codes)
        return [
            self._size(codes[distances_mm <= tolerance_mm]) / total
            for tolerance_mm in tolerances_mm
        ]

    def _size(self, codes: NDArray[np.uint8]) -> float:
        return float(total_sizes(np.bincount(codes, minlength=self.sizes.size), self.sizes))

    def _percentile(
        self, codes: NDArray[np.uint8], distances_mm: NDArray[np.float64], percent: float
    ) -> float:
        if not distances_mm.size:
            return math.inf
        order = np.argsort(distances_mm, kind="stable")
        shares = np.cumsum(self.sizes[codes[order]])
        index = int(np.searchsorted(shares / shares[-1], percent / 100))
        return float(distances_mm[order[min(index, order.size - 1)]])


def surface_distances(
    truth: Mask, prediction: Mask, spacing_mm: Sequence[float], reach_mm: float = math.inf
) -> SurfaceDistances:
    """Measure two masks of one shape, `spacing_mm` in the order of their axes.

    With a small `reach_mm`, which a curve of tolerances allows, larger distances are infinite and
    the search costs no more than one NSD.
    """
    return distances_of_pair(pair_surfaces(truth, prediction), spacing_mm, reach_mm)


def distances_of_pair(
    pair: SurfacePair, spacing_mm: Sequence[float], reach_mm: float = math.inf
) -> SurfaceDistances:
    """Measure two surfaces; see surface_distances."""
    dims = pair.truth.ndim
    points = surface_points(pair.truth, dims), surface_points(pair.prediction, dims)
    from_truth, from_prediction = nearest_distances(*points, spacing_mm, reach_mm)
    return SurfaceDistances(
        truth_codes=pair.truth[points[0]],
        prediction_codes=pair.prediction[points[1]],
        truth_mm=from_truth,
        prediction_mm=from_prediction,
        sizes=element_sizes(spacing_mm),
    )


def surface_dice_curve(
    truth: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerances_mm: Sequence[float]
) -> list[float]:
    """NSD at many tolerances by one search with the largest of them."""
    reach_mm = max(tolerances_mm, default=0.0)
    found = surface_distances(truth, prediction, spacing_mm, reach_mm)
    return found.surface_dice(tolerances_mm)


def iou(truth: Mask, prediction: Mask) -> float:
    """Intersection over union; 1.0 when both are empty, 0.0 when one is."""
    union = int(np.count_nonzero(truth | prediction))
    return int(np.count_nonzero(truth & prediction)) / union if union else 1.0
