"""The surfaces of masks: where they are, and how large.

Arrays and spacing only; no files and no labels. A surface is a set of elements, one at each corner
point between pixels whose neighbourhood is neither all inside nor all outside (see `surfels`).
Outside the array there is background, so a mask that touches the border has a surface there.

Elements are counted by neighbour code and multiplied by their sizes at the very end, so that sums
do not depend on the order in which elements are found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.label_maps import Box

Mask = NDArray[np.bool_]
"""(H, W) or (D, H, W)."""

Codes = NDArray[np.uint8]
"""Neighbour codes: 16 different ones in two dimensions, 256 in three."""


@dataclass(frozen=True)
class SurfacePair:
    """Neighbour codes of two masks over the box that holds both: all that a comparison needs."""

    truth: Codes
    prediction: Codes


def pair_surfaces(truth: Mask, prediction: Mask) -> SurfacePair:
    """Find the surfaces of two masks of one shape, of two or three dimensions."""
    check_shapes(truth, prediction)
    box = union_box(truth, prediction)
    return SurfacePair(neighbour_codes(truth[box]), neighbour_codes(prediction[box]))


def check_shapes(truth: NDArray[np.generic], prediction: NDArray[np.generic]) -> None:
    """Raise ValueError for two arrays of different shapes."""
    if truth.shape != prediction.shape:
        raise ValueError(f"masks must have one shape, found {truth.shape} and {prediction.shape}")


def union_box(first: Mask, second: Mask) -> Box:
    """The smallest box that holds both masks; empty slices when both are empty."""
    box = []
    for axis in range(first.ndim):
        others = tuple(other for other in range(first.ndim) if other != axis)
        used = np.flatnonzero(first.any(axis=others) | second.any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    return tuple(box)


def neighbour_codes(mask: Mask) -> Codes:
    """Code of every corner point, one more than pixels along each axis.

    Bit number i + 2j (+ 4k) is the pixel at offset (i, j(, k)) around the corner point.
    """
    grid = np.zeros([extent + 1 for extent in mask.shape], np.uint8)
    grid[tuple(slice(extent) for extent in mask.shape)] = mask
    return flat_neighbour_codes(grid.reshape(-1), grid.shape).reshape(grid.shape)


def flat_neighbour_codes(pixels: Codes, shape: Sequence[int]) -> Codes:
    """Codes of a flattened array of zeros and ones whose last row, column, ... are all zeros.

    The neighbour before the first pixel of a row is then the empty last one of the row above. Codes
    replace the pixels.
    """
    codes = pixels
    for axis, stride in enumerate(strides_of(shape)):
        nearer = codes * np.uint8(1 << (1 << axis))  # a product, as NumPy's shift takes ten times
        np.bitwise_or(nearer[stride:], codes[:-stride], out=nearer[stride:])
        codes = nearer
    return codes


def strides_of(shape: Sequence[int]) -> list[int]:
    """Steps in the flattened array to the next element along each axis."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def surface_points(codes: Codes, dims: int) -> Mask:
    """Where the neighbourhood is neither all outside nor all inside."""
    everything = (1 << (1 << dims)) - 1
    points: Mask = (codes - np.uint8(1)) < np.uint8(everything - 1)
    return points


def total_sizes(counts: NDArray[np.int64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths or areas of elements counted by code, (..., codes) to (...).

    Added code by code, so that the last digit is the same on every machine.
    """
    return np.asarray(np.cumsum(counts * sizes, axis=-1)[..., -1])
