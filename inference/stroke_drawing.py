"""Thick lines, discs and connected parts on a small grid of pixels.

Lines and discs cover exactly the pixels that Pillow's ``ImageDraw`` sets (13.0, ``Draw.c``):
systems that were trained with strokes drawn by it are asked with the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.bool_]
Corner = tuple[int, int]

_HALF = np.float32(0.5)

_DISC_CUTS = {2: (1,), 3: (2, 1)}
"""By radius: pixels missing on either side of the outermost rows of a disc, then of the next."""


@dataclass(frozen=True)
class _Edge:
    """A side of a polygon that is not horizontal; single precision, as Pillow has it."""

    x: np.float32
    y: int
    slope: np.float32
    top: int
    bottom: int

    def at(self, row: int) -> np.float32:
        """Where it crosses a row."""
        return np.float32(row - self.y) * self.slope + self.x

    def ends_at(self, row: int) -> bool:
        """Whether one of its two ends lies in a row."""
        return row in (self.top, self.bottom)

    def reaches(self, row: int) -> bool:
        """Whether it crosses a row or ends there."""
        return self.top <= row <= self.bottom


def draw_line(canvas: Canvas, start: Corner, end: Corner, width: int) -> None:
    """Set the pixels of a line ``width`` pixels wide between two pixels (x, y), in place."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    if dx == 0 and dy == 0:
        _fill_row(canvas, y0, x0, x0)
        return
    half, length = (width - 1) / 2, float(np.hypot(dx, dy))
    more, less = _away(half) / length, _toward(half) / length
    x_less, x_more = _toward(less * dy), _toward(more * dy)
    y_less, y_more = _toward(less * dx), _toward(more * dx)
    fill_polygon(
        canvas,
        [
            (x0 - x_less, y0 + y_more),
            (x1 - x_less, y1 + y_more),
            (x1 + x_more, y1 - y_less),
            (x0 + x_more, y0 - y_less),
        ],
    )


def draw_disc(canvas: Canvas, x: float, y: float, radius: int) -> None:
    """Set the pixels of a disc around a point, in place: radius 1 to 3, nothing for 0.  It is
    narrower by one where it reaches over the first row or column, as both of its ends are cut
    towards 0."""
    if radius == 0:
        return
    left, right = int(x - radius), int(x + radius)
    top, bottom = int(y - radius), int(y + radius)
    cuts = _DISC_CUTS.get(radius, (1,) if right - left == bottom - top == 2 else ())
    for row in range(top, bottom + 1):
        depth = min(row - top, bottom - row)
        cut = cuts[depth] if depth < len(cuts) else 0
        _fill_row(canvas, row, left + cut, right - cut)


def fill_polygon(canvas: Canvas, corners: Sequence[Corner]) -> None:
    """Set the pixels of a polygon of corners (x, y), in place: row by row between crossings."""
    edges, rows = [], [y for _, y in corners]
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 == y1:
            _fill_row(canvas, y0, min(x0, x1), max(x0, x1))
        else:
            slope = np.float32(x1 - x0) / np.float32(y1 - y0)
            edges.append(_Edge(np.float32(x0), y0, slope, min(y0, y1), max(y0, y1)))
    last = min(max(rows), len(canvas))
    for row in range(max(min(rows), 0), min(last, len(canvas) - 1) + 1):
        crossings = sorted(_crossings(edges, row, last))
        for left, right in zip(crossings[::2], crossings[1::2], strict=False):
            _fill_row(canvas, row, _away(left), _toward(right))


def _crossings(edges: list[_Edge], row: int, last: int) -> list[np.float32]:
    """Where the edges cross a row; the lower end of one counts twice except in the last row."""
    found: list[np.float32] = []
    for i, edge in enumerate(edges):
        if not edge.reaches(row):
            continue
        x = edge.at(row)
        if row == edge.bottom and row < last:
            found += [x, x]
        elif edge.ends_at(row) and edge.slope != 0:
            found.append(_joined(x, edge, edges[:i], row))
        else:
            found.append(x)
    return found


def _joined(x: np.float32, edge: _Edge, others: list[_Edge], row: int) -> np.float32:
    """A sharp corner is drawn out or in, so that it touches the pixels of the row beside it."""
    beside = row - 1 if row == edge.bottom else row + 1
    for other in others:
        if not other.ends_at(row) or other.slope == 0 or _nearest(x) != _nearest(other.at(row)):
            continue
        if other.reaches(beside):
            near, far = sorted((edge.at(beside), other.at(beside)))
            if x > far + 1:
                return np.float32(_nearest(far) + 1)
            if x < near - 1:
                return np.float32(_nearest(near) - 1)
            return x
    return x


def _fill_row(canvas: Canvas, row: int, first: int, last: int) -> None:
    """Set the pixels from ``first`` to ``last`` that lie on the canvas."""
    if 0 <= row < len(canvas) and last >= 0:
        canvas[row, max(first, 0) : last + 1] = True


def _away(value: float | np.float32) -> int:
    """To the nearest whole number, halves away from 0."""
    return floor(value + _HALF) if value >= 0 else -floor(abs(float(value)) + 0.5)


def _toward(value: float | np.float32) -> int:
    """To the nearest whole number, halves towards 0."""
    return ceil(value - _HALF) if value >= 0 else -ceil(abs(float(value)) - 0.5)


_nearest = _away


def largest_part(mask: Canvas) -> Canvas:
    """The largest of the parts whose pixels touch at a side or a corner; of equal ones the first
    from the top; nothing of nothing."""
    runs = _runs(mask)
    parent = list(range(len(runs)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    above: list[int] = []
    here: list[int] = []
    for i, (row, first, stop) in enumerate(runs):
        if here and runs[here[-1]][0] != row:
            above, here = (here if runs[here[-1]][0] == row - 1 else []), []
        here.append(i)
        for j in above:
            if first <= runs[j][2] and runs[j][1] <= stop:
                a, b = sorted((root(i), root(j)))
                parent[b] = a
    sizes = [0] * len(runs)
    for i, (_, first, stop) in enumerate(runs):
        sizes[root(i)] += stop - first
    part = np.zeros_like(mask)
    chosen = sizes.index(max(sizes)) if sizes else -1
    for i, (row, first, stop) in enumerate(runs):
        if root(i) == chosen:
            part[row, first:stop] = True
    return part


def _runs(mask: Canvas) -> list[tuple[int, int, int]]:
    """(row, first, one past the last) of every run of pixels, from the top."""
    framed = np.pad(mask, ((0, 0), (1, 1)))
    rows, columns = np.nonzero(framed[:, 1:] != framed[:, :-1])
    pairs = zip(rows[::2].tolist(), columns[::2].tolist(), columns[1::2].tolist(), strict=True)
    return list(pairs)
