"""Distances from the points of one set to the nearest of another, on a grid.

For those who need distances; NSD alone only asks what is near (see `reach`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.reach import few_steps, steps_within
from evaluation.metrics.surface import Mask, strides_of

_LOOKUPS_PER_POINT_OF_GRID = 16
"""Beyond so many the box is transformed instead: about what that costs, so the worst case is
bounded."""


def nearest_distances(
    first: Mask, second: Mask, spacing_mm: Sequence[float], reach_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance from each point of either set to the nearest of the other, points in array order.

    Distances above `reach_mm` may be given as infinity, and everything is that far from an empty
    set.
    """
    return (
        _nearest(first, second, spacing_mm, reach_mm),
        _nearest(second, first, spacing_mm, reach_mm),
    )


def _nearest(
    points: Mask, others: Mask, spacing_mm: Sequence[float], reach_mm: float
) -> NDArray[np.float64]:
    """Look around every point, or where that costs more, measure distances to everything."""
    places = np.flatnonzero(points)
    if not places.size or not others.any():
        return np.full(places.size, math.inf)
    if few_steps(spacing_mm, reach_mm):
        steps, lengths_mm = steps_within(tuple(spacing_mm), reach_mm)
        if len(steps) * places.size <= _LOOKUPS_PER_POINT_OF_GRID * points.size:
            return _nearest_by_lookup(places, others, steps, lengths_mm)
    from scipy import ndimage

    distances_mm = ndimage.distance_transform_edt(~others, sampling=spacing_mm)
    return np.asarray(distances_mm).ravel()[places]


def _nearest_by_lookup(
    places: NDArray[np.int64],
    others: Mask,
    steps: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Try the steps from the shortest on and drop the points that have found a neighbour."""
    reach = np.abs(steps).max(axis=0)
    padded = np.pad(others, [(margin, margin) for margin in reach.tolist()])
    strides = np.array(strides_of(padded.shape))
    flat, moves = padded.ravel(), steps @ strides
    distances_mm = np.full(places.size, math.inf)
    left = np.arange(places.size)
    places = (np.stack(np.unravel_index(places, others.shape), axis=1) + reach) @ strides
    for move, length_mm in zip(moves.tolist(), lengths_mm.tolist(), strict=True):
        if not left.size:
            break
        found = flat.take(places + move)
        distances_mm[left[found]] = length_mm
        missing = ~found
        left, places = left[missing], places[missing]
    return distances_mm
