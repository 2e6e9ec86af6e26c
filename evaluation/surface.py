"""The surfaces of two masks and how much of each lies close to the other.

Arrays, spacing and tolerance only; no files and no labels. A surface is a set of elements, one at
each corner point between pixels whose neighbourhood is neither all inside nor all outside (see
`surfels`). Outside the array there is background, so a mask that touches the border has a surface
there.

Elements are counted by neighbour code and multiplied by their sizes at the very end: the sums do
not depend on the order of summation, nor on threads or platform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.surfels import element_sizes

Mask = NDArray[np.bool_]
"""(H, W) or (D, H, W)."""

Box = tuple[slice, ...]

_LOOKUPS_PER_POINT_OF_GRID = 16
"""Beyond so many the box is transformed instead: about what that costs, so the worst case is
bounded."""


_MAX_STEPS = 50_000
"""Steps on the grid that are worth listing; a tolerance of many pixels is never looked up."""


@dataclass(frozen=True)
class SurfaceOverlap:
    """Sizes of two surfaces and of their parts within the tolerance of each other.

    Contour lengths in mm for 2D masks, areas in mm^2 for 3D ones; pixels where the spacing is one.
    An empty mask has size 0 and nothing lies within any distance of it.
    """

    truth: float
    prediction: float
    truth_within: float
    prediction_within: float

    @property
    def surface_dice(self) -> float:
        """Share of both surfaces that lies within the tolerance; 1.0 when both masks are empty."""
        total = self.truth + self.prediction
        if total == 0:
            return 1.0
        return (self.truth_within + self.prediction_within) / total


@dataclass(frozen=True)
class SurfacePair:
    """Neighbour codes of two masks over the box that holds both: all that a comparison needs."""

    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]


def pair_surfaces(truth: Mask, prediction: Mask) -> SurfacePair:
    """Find the surfaces of two masks of one shape, of two or three dimensions."""
    if truth.shape != prediction.shape:
        raise ValueError(f"masks must have one shape, found {truth.shape} and {prediction.shape}")
    box = union_box(truth, prediction)
    return SurfacePair(neighbour_codes(truth[box]), neighbour_codes(prediction[box]))


def overlap_surfaces(
    truth: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> SurfaceOverlap:
    """Measure how much of each surface lies at most `tolerance_mm` from the other one.

    Both masks have one shape, of two or three dimensions, and `spacing_mm` is in the order of its
    axes. The distance of an element is the distance between corner points (Nikolov et al., arXiv
    1809.04430); a distance equal to the tolerance counts as within.
    """
    return overlap_of_pair(pair_surfaces(truth, prediction), spacing_mm, tolerance_mm)


def overlap_of_pair(
    pair: SurfacePair, spacing_mm: Sequence[float], tolerance_mm: float
) -> SurfaceOverlap:
    """Measure the overlap of two surfaces; see overlap_surfaces."""
    if len(spacing_mm) != pair.truth.ndim:
        raise ValueError(f"spacing must have {pair.truth.ndim} values, found {len(spacing_mm)}")
    points = surface_points(pair.truth), surface_points(pair.prediction)
    return _overlap(pair, points, spacing_mm, tolerance_mm, element_sizes(spacing_mm))


def overlap_of_slabs(pair: SurfacePair, tolerance_px: float) -> SurfaceOverlap:
    """Measure two plane masks as slabs one pixel thick, as the organisers' script does.

    Every pixel has surface on both faces of its slab. The faces are mirror images and the nearest
    point of the other slab lies on the same face, so that one face decides: its points are the
    corners with any pixel inside, and their areas those of the codes with an empty upper half.
    Sizes are those of both faces, in square pixels.
    """
    if pair.truth.ndim != 2:
        raise ValueError(f"slabs are made of plane masks, found {pair.truth.ndim} dimensions")
    sizes = 2 * element_sizes((1.0, 1.0, 1.0))[:16]
    return _overlap(pair, (pair.truth != 0, pair.prediction != 0), (1.0, 1.0), tolerance_px, sizes)


def _overlap(
    pair: SurfacePair,
    points: tuple[Mask, Mask],
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    sizes: NDArray[np.float64],
) -> SurfaceOverlap:
    near = elements_within(*points, spacing_mm, tolerance_mm)
    return SurfaceOverlap(
        truth=_total_size(pair.truth[points[0]], sizes),
        prediction=_total_size(pair.prediction[points[1]], sizes),
        truth_within=_total_size(pair.truth[near[0]], sizes),
        prediction_within=_total_size(pair.prediction[near[1]], sizes),
    )


def union_box(first: Mask, second: Mask) -> Box:
    """The smallest box that holds both masks; empty slices when both are empty."""
    box = []
    for axis in range(first.ndim):
        others = tuple(other for other in range(first.ndim) if other != axis)
        used = np.flatnonzero(first.any(axis=others) | second.any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    return tuple(box)


def neighbour_codes(mask: Mask) -> NDArray[np.uint8]:
    """Code of every corner point, one more than pixels along each axis.

    Bit number i + 2j (+ 4k) is the pixel at offset (i, j(, k)) around the corner point.
    """
    codes = np.pad(mask.astype(np.uint8), 1)
    for axis in range(mask.ndim):
        lower = codes[(slice(None),) * axis + (slice(None, -1),)]
        upper = codes[(slice(None),) * axis + (slice(1, None),)]
        codes = lower | (upper << np.uint8(1 << axis))
    return codes


def surface_points(codes: NDArray[np.uint8]) -> Mask:
    """Where the neighbourhood is neither all outside nor all inside."""
    everything = (1 << (1 << codes.ndim)) - 1
    points: Mask = (codes != 0) & (codes != everything)
    return points


def elements_within(
    first: Mask, second: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[Mask, Mask]:
    """Points of each set that lie at most `tolerance_mm` from some point of the other set.

    Two masks of the shape given. Nothing is near an empty set.
    """
    return (
        _near(first, second, spacing_mm, tolerance_mm),
        _near(second, first, spacing_mm, tolerance_mm),
    )


def _near(points: Mask, others: Mask, spacing_mm: Sequence[float], tolerance_mm: float) -> Mask:
    """Look around every point, or where that costs more, measure distances to everything."""
    if not points.any() or not others.any():
        return np.zeros_like(points)
    if math.prod(2 * tolerance_mm / mm + 3 for mm in spacing_mm) <= _MAX_STEPS:
        offsets = _offsets_within(tuple(spacing_mm), tolerance_mm)
        lookups = len(offsets) * int(np.count_nonzero(points))
        if lookups <= _LOOKUPS_PER_POINT_OF_GRID * points.size:
            return _near_by_lookup(points, others, offsets)
    return _near_by_transform(points, others, spacing_mm, tolerance_mm)


def _near_by_transform(
    points: Mask, others: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> Mask:
    distances_mm = ndimage.distance_transform_edt(~others, sampling=spacing_mm)
    return points & (np.asarray(distances_mm) <= tolerance_mm)


def _near_by_lookup(points: Mask, others: Mask, offsets: NDArray[np.int64]) -> Mask:
    """Try the offsets from the shortest on and drop the points that have found a neighbour."""
    reach = np.abs(offsets).max(axis=0)
    padded = np.pad(others, [(int(r), int(r)) for r in reach])
    strides = np.array([math.prod(padded.shape[axis + 1 :]) for axis in range(others.ndim)])
    flat, steps = padded.ravel(), offsets @ strides
    left = np.flatnonzero(points)
    places = (np.stack(np.unravel_index(left, points.shape), axis=1) + reach) @ strides
    near = np.zeros(points.size, bool)
    for step in steps.tolist():
        found = flat[places + step]
        near[left[found]] = True
        left, places = left[~found], places[~found]
    return near.reshape(points.shape)


@cache
def _offsets_within(spacing_mm: tuple[float, ...], tolerance_mm: float) -> NDArray[np.int64]:
    """All steps on the grid of at most `tolerance_mm`, shortest first; (N, dims).

    Lengths come from the same operations as in scipy's distance transform, so that a tie with the
    tolerance falls alike.
    """
    reach = [int(tolerance_mm / mm) + 1 for mm in spacing_mm]
    grid = np.indices([2 * r + 1 for r in reach]).reshape(len(reach), -1)
    steps = grid - np.array(reach)[:, None]
    squares = (steps * np.array(spacing_mm)[:, None]) ** 2
    lengths_mm = np.sqrt(np.add.reduce(squares, axis=0))
    order = np.argsort(lengths_mm, kind="stable")
    chosen: NDArray[np.int64] = steps.T[order[lengths_mm[order] <= tolerance_mm]]
    return chosen


def _total_size(codes: NDArray[np.uint8], sizes: NDArray[np.float64]) -> float:
    counts = np.bincount(codes, minlength=sizes.size)
    return math.fsum((counts * sizes).tolist())
