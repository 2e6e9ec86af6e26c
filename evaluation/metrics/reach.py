"""What lies within a tolerance of a set of grid points.

The set is grown by every step on the grid of at most the tolerance, whole lines of steps at a time.
Nothing is measured: a point is within the tolerance or it is not. Only a tolerance of very many
steps is left to a distance transform, whose cost does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.surface import Mask, strides_of

_MAX_LINES = 1000
"""Lines of steps that are worth growing by; more take longer than a distance transform."""

_MAX_STEPS = 50_000
"""Steps on the grid that are worth listing."""

Spacing = tuple[float, ...]


@cache
def steps_within(
    spacing_mm: Spacing, tolerance_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All steps on the grid of at most `tolerance_mm`, shortest first; (N, dims), and lengths.

    Lengths come from the same operations as in scipy's distance transform, so that a tie with the
    tolerance falls alike.
    """
    margins = margins_of(spacing_mm, tolerance_mm)
    grid = np.indices([2 * margin + 1 for margin in margins]).reshape(len(margins), -1)
    steps = grid - np.array(margins)[:, None]
    squares = (steps * np.array(spacing_mm)[:, None]) ** 2
    lengths_mm = np.sqrt(np.add.reduce(squares, axis=0))
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= tolerance_mm]
    return steps.T[order], lengths_mm[order]


def margins_of(spacing_mm: Sequence[float], tolerance_mm: float) -> list[int]:
    """One step more along each axis than the tolerance allows."""
    return [int(tolerance_mm / mm) + 1 for mm in spacing_mm]


def few_steps(spacing_mm: Sequence[float], tolerance_mm: float) -> bool:
    """Whether the steps within the tolerance are worth listing."""
    return math.prod(2 * tolerance_mm / mm + 3 for mm in spacing_mm) <= _MAX_STEPS


@cache
def can_grow(spacing_mm: Spacing, tolerance_mm: float) -> bool:
    """Whether growing costs less than a distance transform."""
    if not few_steps(spacing_mm, tolerance_mm):
        return False
    _, lines = _lines(spacing_mm, tolerance_mm)
    return sum(len(places) for _, places in lines) <= _MAX_LINES


def grow(points: Mask, shape: Sequence[int], spacing_mm: Spacing, tolerance_mm: float) -> Mask:
    """All grid points at most `tolerance_mm` from one of the points; flattened arrays.

    The last rows, columns, ... of the grid must be empty over its `margins_of` the tolerance, and
    so must its first rows along the first axis: a step over one end of a row leads into the next.
    """
    axis, lines = _lines(spacing_mm, tolerance_mm)
    strides = strides_of(shape)
    line = points.view(np.uint8)  # NumPy joins bytes faster than booleans
    grown, reached = np.zeros_like(line), 0
    for length, places in lines:
        while reached < length:
            further = min(length - reached, 2 * reached + 1)
            line = _both_ways(line, further * strides[axis])
            reached += further
        for step in (places @ strides).tolist():
            _add_moved(grown, line, step)
    return grown.view(np.bool_)


@cache
def _lines(
    spacing_mm: Spacing, tolerance_mm: float
) -> tuple[int, list[tuple[int, NDArray[np.int64]]]]:
    """The steps within a tolerance as lines along the axis of the finest spacing.

    Lines of -n..n steps have their middles at the given places; by n, ascending.
    """
    steps, _ = steps_within(spacing_mm, tolerance_mm)
    axis = int(np.argmin(spacing_mm))
    middles = steps.copy()
    middles[:, axis] = 0
    middles, lines = np.unique(middles, axis=0, return_inverse=True)
    halves = np.bincount(lines.reshape(-1)) // 2
    return axis, [(int(half), middles[halves == half]) for half in np.unique(halves)]


def _both_ways(points: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    moved = points.copy()
    _add_moved(moved, points, step)
    _add_moved(moved, points, -step)
    return moved


def _add_moved(target: NDArray[np.uint8], points: NDArray[np.uint8], step: int) -> None:
    """Add the points, moved by a step of the flattened grid."""
    if step < 0:
        target, points = target[:step], points[-step:]
    elif step > 0:
        target, points = target[step:], points[:-step]
    np.bitwise_or(target, points, out=target)
