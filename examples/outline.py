"""Masks from outlines given as coordinates.

Every outline is a list of (x, y) in pixels of the picture, the centre of the first pixel at (0, 0).
A pixel belongs to the mask when its centre lies inside; nothing is anti-aliased.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = Sequence[tuple[float, float]]


def smooth_outline(points: Points, steps: int = 8) -> NDArray[np.float64]:
    """A closed Catmull-Rom curve through the points, `steps` samples between neighbours."""
    corners = np.asarray(points, dtype=np.float64)
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    beyond = np.roll(corners, -2, axis=0)
    curve = []
    for t in np.arange(steps) / steps:
        curve.append(
            corners
            + 0.5 * t * (after - before)
            + 0.5 * t**2 * (2 * before - 5 * corners + 4 * after - beyond)
            + 0.5 * t**3 * (3 * corners - before - 3 * after + beyond)
        )
    return np.stack(curve, axis=1).reshape(-1, 2)


def fill(outline: NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Pixels (H, W) inside a closed polygon by the even-odd rule."""
    height, width = shape
    x = np.arange(width, dtype=np.float64)
    inside = np.zeros(shape, dtype=np.bool_)
    starts, ends = outline, np.roll(outline, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(starts, ends, strict=True):
        if y0 == y1:
            continue
        low, high = min(y0, y1), max(y0, y1)
        for row in range(max(0, int(np.ceil(low))), min(height, int(np.floor(high)) + 1)):
            if low <= row < high:
                inside[row] ^= x < x0 + (row - y0) * (x1 - x0) / (y1 - y0)
    return inside


def drawn(points: Points, shape: tuple[int, int]) -> Mask:
    """The filled smooth curve through hand-set points."""
    return fill(smooth_outline(points), shape)


def ellipse(
    centre: tuple[float, float],
    radii: tuple[float, float],
    shape: tuple[int, int],
    degrees: float = 0.0,
) -> Mask:
    """Filled ellipse; `degrees` turns its first axis from +x towards +y (down)."""
    y, x = np.indices(shape, dtype=np.float64)
    angle = np.deg2rad(degrees)
    dx, dy = x - centre[0], y - centre[1]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = dy * np.cos(angle) - dx * np.sin(angle)
    return np.asarray((along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1.0)


def paint(masks: Sequence[Mask]) -> NDArray[np.uint8]:
    """Label map in which mask i has the value i + 1; the masks must not overlap."""
    labels = np.zeros(masks[0].shape, dtype=np.uint8)
    for label, mask in enumerate(masks, start=1):
        shared = int(np.count_nonzero(labels[mask]))
        if shared:
            raise ValueError(f"object {label}: must not overlap an earlier one, found {shared} px")
        labels[mask] = label
    return labels
