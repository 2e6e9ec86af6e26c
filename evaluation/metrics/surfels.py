"""Surface elements of every 2x2(x2) neighbourhood of a mask, worked out and not typed in.

The grid points of a surface lie at the corners between pixels or voxels. Around such a point stand
2**dims pixels; which of them belong to the object is the point's *neighbour code*, and the code
alone fixes the little piece of contour or surface there: line segments in two dimensions, triangles
in three, with their ends in the middle of the edges that join an inside pixel to an outside one
(marching squares and marching cubes, Lorensen and Cline 1987).

Three rules settle every choice, and with them the lengths and areas are those of DeepMind's
surface-distance (Nikolov et al., arXiv 1809.04430) for every code and spacing:

1. a code with more than half of its pixels set has the surface of its complement;
2. on a face with two inside pixels on a diagonal, the two are cut off separately;
3. a polygon that is not flat is cut into triangles that lie in as few planes as possible.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, ...]
"""A position in the neighbourhood in half pixels, so that edge middles are whole numbers."""

Segment = tuple[Point, Point]
Triangle = tuple[Point, Point, Point]
Plane = tuple[int, int, int, int]


def element_sizes(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Length (2D, in mm) or area (3D, in mm^2) of the surface piece of each neighbour code.

    `spacing_mm` is in the order of the array's axes and its length is the number of dimensions.
    Bit number i + 2j (+ 4k) of a code stands for the pixel at offset (i, j(, k)). 16 or 256 values;
    zero for the codes all outside and all inside.
    """
    if len(spacing_mm) == 2:
        return _segment_lengths(tuple(spacing_mm))
    if len(spacing_mm) == 3:
        return _triangle_areas(tuple(spacing_mm))
    raise ValueError(f"spacing must have 2 or 3 values, found {len(spacing_mm)}")


@cache
def _segment_lengths(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    lengths = np.zeros(16)
    for code in range(16):
        for start, end in _face_segments(_square(), _inside(code, 2)):
            lengths[code] += math.hypot(
                *((e - s) / 2 * mm for s, e, mm in zip(start, end, spacing_mm, strict=True))
            )
    lengths.setflags(write=False)
    return lengths


@cache
def _triangle_areas(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    depth, height, width = spacing_mm
    scale = np.array([height * width, depth * width, depth * height]) / 8  # (half pixel)^2 / 2
    codes, normals = _all_normals()
    x, y, z = (normals * scale).T ** 2
    triangles = np.sqrt(x + y + z)
    order = np.lexsort((triangles, codes))  # summed alike for a code and its complement
    areas: NDArray[np.float64] = np.zeros(256)
    np.add.at(areas, codes[order], triangles[order])
    areas.setflags(write=False)
    return areas


@cache
def _all_normals() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The code of every triangle, and its cross product; built once in a process."""
    normals = [_normals(code if code.bit_count() <= 4 else 255 - code) for code in range(256)]
    codes = np.repeat(np.arange(256), [len(triangles) for triangles in normals])
    return codes, np.array([normal for triangles in normals for normal in triangles], float)


@cache
def _normals(code: int) -> tuple[tuple[int, int, int], ...]:
    """Cross products of the triangles of a code, in square half voxels."""
    inside = _inside(code, 3)
    segments = [piece for face in _cube_faces() for piece in _face_segments(face, inside)]
    return tuple(
        _normal(triangle)
        for polygon in _polygons(segments)
        for triangle in _flattest_triangles(polygon)
    )


def _inside(code: int, dims: int) -> set[Point]:
    corners = itertools.product((0, 2), repeat=dims)
    return {c for c in corners if code >> sum(x // 2 << axis for axis, x in enumerate(c)) & 1}


def _square() -> list[Point]:
    return [(0, 0), (0, 2), (2, 2), (2, 0)]


def _cube_faces() -> Iterator[list[Point]]:
    for axis, level in itertools.product(range(3), (0, 2)):
        yield [(*corner[:axis], level, *corner[axis:]) for corner in _square()]


def _face_segments(face: list[Point], inside: set[Point]) -> list[Segment]:
    """Segments that part inside from outside corners on one face, given in cyclic order."""
    cut = [
        (start, end)
        for start, end in zip(face, face[1:] + face[:1], strict=True)
        if (start in inside) != (end in inside)
    ]
    if len(cut) < 4:
        return [(_middle(*cut[0]), _middle(*cut[1]))] if cut else []
    return [
        (_middle(*first), _middle(*second))
        for first, second in itertools.combinations(cut, 2)
        if set(first) & set(second) & inside
    ]


def _middle(start: Point, end: Point) -> Point:
    return tuple((a + b) // 2 for a, b in zip(start, end, strict=True))


def _polygons(segments: list[Segment]) -> list[list[Point]]:
    """The closed polygons that the segments form; every point ends exactly two segments."""
    left = list(segments)
    polygons = []
    while left:
        start, current = left.pop()
        polygon = [start]
        while current != start:
            polygon.append(current)
            following = next(piece for piece in left if current in piece)
            left.remove(following)
            current = following[1] if following[0] == current else following[0]
        polygons.append(polygon)
    return polygons


def _flattest_triangles(polygon: list[Point]) -> list[Triangle]:
    return min(_triangulations(polygon), key=lambda parts: len({_plane(part) for part in parts}))


def _triangulations(polygon: list[Point]) -> Iterator[list[Triangle]]:
    """Every way to cut a polygon into triangles along its diagonals."""
    if len(polygon) < 3:
        yield []
        return
    first, last = polygon[0], polygon[-1]
    for k in range(1, len(polygon) - 1):
        for before in _triangulations(polygon[: k + 1]):
            for after in _triangulations(polygon[k:]):
                yield [*before, (first, polygon[k], last), *after]


@cache
def _normal(triangle: Triangle) -> tuple[int, int, int]:
    """Cross product of two sides: twice the area, in square half voxels."""
    a, b, c = triangle
    (ux, uy, uz), (vx, vy, vz) = ([q - p for p, q in zip(a, end, strict=True)] for end in (b, c))
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@cache
def _plane(triangle: Triangle) -> Plane:
    """Reduced normal and offset of the plane of a triangle, the same for all triangles in it."""
    normal = _normal(triangle)
    divisor = math.gcd(*normal) * (1 if normal > (0, 0, 0) else -1)
    x, y, z = (component // divisor for component in normal)
    return x, y, z, x * triangle[0][0] + y * triangle[0][1] + z * triangle[0][2]
