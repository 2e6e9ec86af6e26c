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
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.metrics.surfels import element_sizes

Mask = NDArray[np.bool_]
"""(H, W) or (D, H, W)."""

Box = tuple[slice, ...]

Pixel = TypeVar("Pixel", bound=np.generic)

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
    truth, prediction = pair.truth[points[0]], pair.prediction[points[1]]
    from_truth, from_prediction = nearest_distances(*points, spacing_mm, tolerance_mm)
    return SurfaceOverlap(
        truth=total_size(truth, sizes),
        prediction=total_size(prediction, sizes),
        truth_within=total_size(truth[from_truth <= tolerance_mm], sizes),
        prediction_within=total_size(prediction[from_prediction <= tolerance_mm], sizes),
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
    codes: NDArray[np.uint8] = _padded(mask.astype(np.uint8), [1] * mask.ndim)
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
    if math.prod(2 * reach_mm / mm + 3 for mm in spacing_mm) <= _MAX_STEPS:
        offsets, lengths_mm = _offsets_within(tuple(spacing_mm), reach_mm)
        if len(offsets) * places.size <= _LOOKUPS_PER_POINT_OF_GRID * points.size:
            return _nearest_by_lookup(places, others, offsets, lengths_mm)
    distances_mm = ndimage.distance_transform_edt(~others, sampling=spacing_mm)
    return np.asarray(distances_mm).ravel()[places]


def _nearest_by_lookup(
    places: NDArray[np.intp],
    others: Mask,
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Try the offsets from the shortest on and drop the points that have found a neighbour."""
    reach = np.abs(offsets).max(axis=0)
    padded = _padded(others, reach.tolist())
    strides = np.array([math.prod(padded.shape[axis + 1 :]) for axis in range(others.ndim)])
    flat, steps = padded.ravel(), offsets @ strides
    distances_mm = np.full(places.size, math.inf)
    here = others.ravel().take(places)  # most points of good masks, without a look around
    distances_mm[here] = 0.0
    left = np.flatnonzero(~here)
    places = np.stack(np.unravel_index(places[left], others.shape), axis=1)
    places = (places + reach) @ strides
    for step, length_mm in zip(steps[1:].tolist(), lengths_mm[1:].tolist(), strict=True):
        if not left.size:
            break
        found = flat.take(places + step)
        distances_mm[left[found]] = length_mm
        missing = ~found
        left, places = left[missing], places[missing]
    return distances_mm


def _padded(array: NDArray[Pixel], margins: Sequence[int]) -> NDArray[Pixel]:
    """Zeros around an array; np.pad takes longer than all the rest on a small object."""
    extents = [extent + 2 * m for extent, m in zip(array.shape, margins, strict=True)]
    padded = np.zeros(extents, array.dtype)
    box = zip(margins, array.shape, strict=True)
    padded[tuple(slice(m, m + extent) for m, extent in box)] = array
    return padded


@cache
def _offsets_within(
    spacing_mm: tuple[float, ...], tolerance_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All steps on the grid of at most `tolerance_mm`, shortest first; (N, dims), and lengths.

    Lengths come from the same operations as in scipy's distance transform, so that a tie with the
    tolerance falls alike.
    """
    reach = [int(tolerance_mm / mm) + 1 for mm in spacing_mm]
    grid = np.indices([2 * r + 1 for r in reach]).reshape(len(reach), -1)
    steps = grid - np.array(reach)[:, None]
    squares = (steps * np.array(spacing_mm)[:, None]) ** 2
    lengths_mm = np.sqrt(np.add.reduce(squares, axis=0))
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= tolerance_mm]
    return steps.T[order], lengths_mm[order]


def total_size(codes: NDArray[np.uint8], sizes: NDArray[np.float64]) -> float:
    """Sum of the sizes of elements, which does not depend on their order."""
    counts = np.bincount(codes, minlength=sizes.size)
    return math.fsum((counts * sizes).tolist())
