"""8-bit resizing as the libraries of the published programs do it, in numpy.

A model is as good as published only on the pixels that it was published with.  Each rule here gives
what the named library call gives, to the rounding of every pass:

``area``    ``cv2.resize(..., interpolation=cv2.INTER_AREA)`` on uint8
``linear``  ``cv2.resize(..., interpolation=cv2.INTER_LINEAR)`` on uint8, 11-bit coefficients
``pillow``  ``PIL.Image.resize(..., BILINEAR)``, antialiased, rounded after either pass, columns
            first (Pillow 13 takes rows first where that is less work)
``spline``  ``skimage.transform.resize(order=3, anti_aliasing=True)``, cut to whole numbers
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.bands import ROWS_AT_ONCE, Bands
from inference.rules import LibraryResize

Picture = NDArray[np.uint8]

_COEFFICIENT_BITS = 11
"""OpenCV's INTER_RESIZE_COEF_BITS."""


def resize_like(picture: Picture, size: tuple[int, int], rule: LibraryResize) -> NDArray[np.uint8]:
    """``picture`` (H, W) or (H, W, C) as ``size`` = (height, width) pixels by a library's rule."""
    opencv = rule in ("area", "linear")
    if opencv and picture.shape[:2] == size:
        return picture
    planes = np.atleast_3d(picture)
    halved = opencv and planes.shape[:2] == (2 * size[0], 2 * size[1])
    resized = _halved(planes) if halved else _RULES[rule](planes, size)
    return resized[:, :, 0] if picture.ndim == 2 else resized


def _along_axes(
    planes: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (h, H) and (w, W) applied to (H, W, C), columns first."""
    narrow = np.einsum("wx,hxc->hwc", columns, planes, optimize=True)
    return np.asarray(np.einsum("yh,hwc->ywc", rows, narrow, optimize=True))


def _by_bands(
    planes: Picture,
    rows: Bands,
    columns: Bands,
    between: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda values: values,
) -> NDArray[np.float64]:
    """Weights of either axis applied to (H, W, C), columns first, ``between`` to what they give;
    some rows at a time, so that no wide copy of a large picture is made."""
    width, channels = planes.shape[1:]
    height, narrow = len(rows.weights), len(columns.weights)
    result = np.empty((height, narrow, channels))
    for start in range(0, height, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, height)
        low, high = rows.reach(start, stop)
        seen = planes[low:high].transpose(1, 0, 2).reshape(width, -1).astype(np.float64)
        lines = between(columns.times(seen, 0, narrow)).reshape(narrow, high - low, channels)
        seen = lines.transpose(1, 0, 2).reshape(high - low, -1)
        drawn = rows.weights[start:stop, low:high] @ seen
        result[start:stop] = drawn.reshape(stop - start, narrow, channels)
    return result


# --- OpenCV -------------------------------------------------------------------------------------


def _area(planes: Picture, size: tuple[int, int]) -> Picture:
    """Means over the area of each new pixel; enlarging is ``linear`` with coefficients of its
    own."""
    if planes.shape[0] < size[0] or planes.shape[1] < size[1]:
        return _fixed_point(planes, size, _enlarging_taps)
    rows, columns = (_area_weights(planes.shape[i], size[i]) for i in (0, 1))
    means = _by_bands(planes, rows, columns)
    return np.rint(np.round(means, 4)).astype(np.uint8)


def _halved(planes: Picture) -> Picture:
    """Both rules by 2 exactly: rounded means of two by two pixels, halves upwards."""
    rows = np.add(planes[0::2], planes[1::2], dtype=np.uint16)
    return np.asarray(rows[:, 0::2] + rows[:, 1::2] + 2 >> 2, dtype=np.uint8)


def _linear(planes: Picture, size: tuple[int, int]) -> Picture:
    """Two nearest pixels an axis, nothing averaged when shrinking, but by 2 exactly."""
    return _fixed_point(planes, size, _nearest_taps)


@lru_cache(maxsize=16)
def _area_weights(size_in: int, size_out: int) -> Bands:
    """(size_out, size_in) shares of each old pixel in the new ones (OpenCV's resize area table)."""
    scale = size_in / size_out
    weights = np.zeros((size_out, size_in))
    for i in range(size_out):
        low, high = i * scale, i * scale + scale
        width = min(scale, size_in - low)
        last = min(int(np.floor(high)), size_in - 1)
        first = min(int(np.ceil(low)), last)
        if first - low > 1e-3:
            weights[i, first - 1] = (first - low) / width
        weights[i, first:last] = 1 / width
        if high - last > 1e-3:
            weights[i, last] = min(high - last, 1.0, width) / width
    return Bands.of(weights)


Taps = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]
"""First pixel, its coefficient and the next one's, each (size_out,)."""


def _fixed_point(
    planes: Picture, size: tuple[int, int], taps: Callable[[int, int], Taps]
) -> Picture:
    """OpenCV's integer arithmetic of two taps an axis; below 2^27, so 32 bits hold it."""
    left, a0, a1 = taps(planes.shape[1], size[1])
    top, b0, b1 = taps(planes.shape[0], size[0])
    right = np.minimum(left + 1, planes.shape[1] - 1)
    below = np.minimum(top + 1, planes.shape[0] - 1)
    seen = planes[np.concatenate([top, below])]  # of a large picture few rows are touched
    rows = seen[:, left] * a0[:, None] + seen[:, right] * a1[:, None]
    upper, lower = rows[: len(top)] >> 4, rows[len(top) :] >> 4
    summed = (b0[:, None, None] * upper >> 16) + (b1[:, None, None] * lower >> 16)
    return np.asarray(summed + 2 >> 2, dtype=np.uint8)


def _coefficients(part: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    one = np.float32(1 << _COEFFICIENT_BITS)
    return np.rint((1 - part) * one).astype(np.int32), np.rint(part * one).astype(np.int32)


def _nearest_taps(size_in: int, size_out: int) -> Taps:
    position = ((np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    part = (position - first).astype(np.float32)
    part[(first < 0) | (first >= size_in - 1)] = 0
    return np.clip(first, 0, size_in - 1), *_coefficients(part)


def _enlarging_taps(size_in: int, size_out: int) -> Taps:
    scale = size_in / size_out
    first = np.floor(np.arange(size_out) * scale).astype(np.int64)
    part = (np.arange(1, size_out + 1) - (first + 1) / scale).astype(np.float32)
    part = np.where(part <= 0, np.float32(0), part - np.floor(part)).astype(np.float32)
    part[first >= size_in - 1] = 0
    return np.clip(first, 0, size_in - 1), *_coefficients(part)


# --- Pillow -------------------------------------------------------------------------------------


_PILLOW_ONE = float(1 << 22)
"""Pillow's coefficients are whole numbers that add up to about this (its PRECISION_BITS).  Their
products with pixels stay below 2^53, so that doubles hold the sums exactly."""


def _pillow(planes: Picture, size: tuple[int, int]) -> Picture:
    rows, columns = (_pillow_weights(planes.shape[i], size[i]) for i in (0, 1))
    return _to_pixels(_by_bands(planes, rows, columns, _to_pixels)).astype(np.uint8)


def _to_pixels(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of pixels times coefficients as whole pixels."""
    return np.clip(np.floor(sums / _PILLOW_ONE + 0.5), 0, 255)


@lru_cache(maxsize=16)
def _pillow_weights(size_in: int, size_out: int) -> Bands:
    """(size_out, size_in): Pillow's triangle filter in whole numbers."""
    scale = size_in / size_out
    support = max(scale, 1.0)
    centres = (np.arange(size_out)[:, None] + 0.5) * scale
    pixels = np.arange(size_in)
    weights = np.maximum(0.0, 1.0 - np.abs((pixels - centres + 0.5) * (1.0 / support)))
    low, high = (np.floor(centres + side + 0.5) for side in (-support, support))
    weights[(pixels < low) | (pixels >= high)] = 0.0
    weights /= weights.sum(1, keepdims=True)
    return Bands.of(np.floor(0.5 + weights * _PILLOW_ONE))


# --- scikit-image -------------------------------------------------------------------------------


def _spline(planes: Picture, size: tuple[int, int]) -> Picture:
    rows, columns = (_spline_weights(planes.shape[i], size[i]) for i in (0, 1))
    values = _along_axes(planes.astype(np.float64), rows, columns)
    return np.clip(np.round(values, 9), planes.min(), planes.max()).astype(np.uint8)


@lru_cache(maxsize=8)
def _spline_weights(size_in: int, size_out: int) -> NDArray[np.float64]:
    """(size_out, size_in): Gaussian antialiasing, then the interpolating cubic B-spline, mirrored
    at both ends about the centre of the end pixel."""
    factor = size_in / size_out
    position = (np.arange(size_out) + 0.5) * factor - 0.5
    first = np.floor(position).astype(np.int64)
    t = position - first
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((size_out, size_in))
    for offset, values in enumerate(basis, -1):
        np.add.at(weights, (np.arange(size_out), _mirror(first + offset, size_in)), values / 6)
    weights = _through_prefilter(weights)
    sigma = max(0.0, (factor - 1) / 2)
    return weights @ _gaussian(size_in, sigma) if sigma > 0 else weights


def _mirror(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    period = max(2 * size - 2, 1)
    inside = np.abs(index) % period
    return np.minimum(inside, period - inside) if size > 1 else np.zeros_like(index)


def _through_prefilter(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``weights`` times the inverse of the B-spline's sampling matrix, whose rows are (1, 4, 1)/6
    and (4, 2)/6 at the ends: solved for the transposed matrix by Thomas's algorithm."""
    n = weights.shape[1]
    if n == 1:
        return weights
    lower, upper = np.ones(n), np.ones(n)  # transposed: the doubled entries lie beside the ends
    lower[1] = 2
    upper[n - 2] = 2
    if n == 2:
        lower[1] = upper[0] = 2
    right = weights.T * 6
    factor = np.zeros(n)
    solved = np.zeros_like(right)
    factor[0], solved[0] = upper[0] / 4, right[0] / 4
    for i in range(1, n):
        pivot = 4 - lower[i] * factor[i - 1]
        factor[i] = upper[i] / pivot
        solved[i] = (right[i] - lower[i] * solved[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        solved[i] -= factor[i] * solved[i + 1]
    return solved.T


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    """(size, size): scipy.ndimage's Gaussian, cut at four sigma."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((size, size))
    for offset, value in zip(offsets, kernel, strict=True):
        np.add.at(matrix, (np.arange(size), _mirror(np.arange(size) + offset, size)), value)
    return matrix


_RULES: dict[str, Callable[[Picture, tuple[int, int]], Picture]] = {
    "area": _area,
    "linear": _linear,
    "pillow": _pillow,
    "spline": _spline,
}
