"""Pictures from one pixel grid to another, in numpy.

Coordinates are continuous with pixel *edges* at whole numbers: pixel ``i`` covers ``[i, i + 1)``
and has its centre at ``i + 0.5``, so a rectangle ``(x_min, y_min, x_max, y_max)`` of edges ``(0, 0,
W, H)`` is the whole picture.
"""

import numpy as np
from numpy.typing import NDArray

Rect = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max: edges, in pixels of the picture that it lies in."""

_REDUCE_ABOVE = 4.0
"""Shrinking goes through block means first where at least this factor is left to the filter: as
good to the eye, many times less work."""


def axis_weights(low: float, high: float, size_in: int, size_out: int) -> NDArray[np.float32]:
    """Weights (size_out, size_in) that resample edges ``low..high`` of an axis to ``size_out``
    pixels.

    A triangle filter as wide as one output pixel, at least as one input pixel: bilinear when
    enlarging, antialiased when shrinking (what Pillow calls BILINEAR).  An output pixel whose
    centre lies outside the input gets zeros.
    """
    step = (high - low) / size_out
    centres = low + step * (np.arange(size_out) + 0.5)
    support = max(step, 1.0)
    distance = np.abs(np.arange(size_in)[None, :] + 0.5 - centres[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distance)
    weights[(centres < 0) | (centres > size_in)] = 0.0
    total = weights.sum(1, keepdims=True)
    return (weights / np.where(total > 0, total, 1.0)).astype(np.float32)


def resample(
    picture: NDArray[np.generic], rect: Rect, size: tuple[int, int]
) -> NDArray[np.float32]:
    """The part of ``picture`` (H, W) or (H, W, C) inside ``rect`` as ``size`` = (height, width)
    pixels, float32.

    What lies outside the picture is 0.
    """
    x0, y0, x1, y1 = rect
    height, width = size
    reach_y = 2.0 + max((y1 - y0) / height, 1.0)
    reach_x = 2.0 + max((x1 - x0) / width, 1.0)
    top, bottom = _span(y0 - reach_y, y1 + reach_y, picture.shape[0])
    left, right = _span(x0 - reach_x, x1 + reach_x, picture.shape[1])
    by = int(max(1, (y1 - y0) / height // _REDUCE_ABOVE))
    bx = int(max(1, (x1 - x0) / width // _REDUCE_ABOVE))
    seen = picture[top:bottom, left:right]
    part = block_means(seen, by, bx) if by > 1 or bx > 1 else seen.astype(np.float32)
    weights_y = axis_weights((y0 - top) / by, (y1 - top) / by, part.shape[0], height)
    weights_x = axis_weights((x0 - left) / bx, (x1 - left) / bx, part.shape[1], width)
    if part.ndim == 2:
        return np.asarray(weights_y @ part @ weights_x.T)
    rows = (weights_y @ part.reshape(part.shape[0], -1)).reshape(height, *part.shape[1:])
    # Channels before columns: one product of matrices, several times faster than one a row.
    lines = np.ascontiguousarray(rows.transpose(0, 2, 1)).reshape(-1, part.shape[1])
    return np.asarray((lines @ weights_x.T).reshape(height, -1, width).transpose(0, 2, 1))


def block_means(picture: NDArray[np.generic], by: int, bx: int) -> NDArray[np.float32]:
    """Means of ``by`` x ``bx`` blocks of (H, W) or (H, W, C).

    The last row and column of blocks may be of fewer pixels; sums of 8-bit pixels are exact.
    """
    small = picture.dtype == np.uint8 and by <= 257 and bx <= 1 << 16
    rows_summed = _block_sums(picture, by, 0, np.uint16 if small else np.float32)
    narrow = np.uint16 if by * bx <= 257 else np.uint32
    sums = _block_sums(rows_summed, bx, 1, narrow if small else np.float32)
    last_rows = picture.shape[0] - by * (sums.shape[0] - 1)
    last_columns = picture.shape[1] - bx * (sums.shape[1] - 1)
    means: NDArray[np.float32] = sums.astype(np.float32)
    means[:-1, :-1] /= np.float32(by * bx)
    means[-1, :-1] /= np.float32(last_rows * bx)
    means[:-1, -1] /= np.float32(by * last_columns)
    means[-1, -1] /= np.float32(last_rows * last_columns)
    return means


def _block_sums(
    array: NDArray[np.generic], size: int, axis: int, dtype: type[np.generic]
) -> NDArray[np.generic]:
    """Sums of ``size`` neighbours along an axis, the last one of what is left.

    Strided additions: ``add.reduceat`` is several times slower along the first axis.  Along columns
    every channel for itself: numpy's inner loop would be three numbers long.
    """
    if axis == 1 and array.ndim == 3:
        count = -(-array.shape[1] // size)
        every = np.empty((array.shape[0], count, array.shape[2]), dtype)
        for channel in range(array.shape[2]):
            every[:, :, channel] = _block_sums(array[:, :, channel], size, 1, dtype)
        return every
    moved = np.moveaxis(array, axis, 0)
    total = moved[::size].astype(dtype)
    for offset in range(1, size):
        part = moved[offset::size]
        np.add(total[: len(part)], part, out=total[: len(part)], casting="unsafe")
    return np.moveaxis(total, 0, axis)


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels that edges ``low..high`` touch, at least one, inside ``0..size``."""
    start = min(max(int(np.floor(low)), 0), size - 1)
    return start, max(min(int(np.ceil(high)), size), start + 1)
