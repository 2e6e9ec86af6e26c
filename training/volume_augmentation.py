"""What an object of a volume looks like from another side, in another scanner.

Arrays have the axes z, y, x; box edges the order x_min, y_min, z_min, x_max, y_max, z_max.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.volume_region import Edges3, cell_weights, sample_volume


@dataclass(frozen=True)
class Piece:
    """A part of a volume with one object."""

    picture: NDArray[np.generic]
    """(D, H, W) 0..255."""
    mask: NDArray[np.bool_]
    known: NDArray[np.float32] | None
    """Share of each voxel that the volume covers; None: all of it, and nothing beyond."""
    edges: Edges3
    """Of the object's box, voxels of the piece."""
    side: tuple[float, float]
    """Height and width of the whole volume, voxels of the piece."""


def tight_edges(mask: NDArray[np.bool_]) -> Edges3 | None:
    """Edges of the box around a mask (D, H, W); None where it is empty."""
    rows = np.any(mask, axis=2)  # (D, H)
    axes = (np.any(rows, axis=1), np.any(rows, axis=0), np.any(np.any(mask, axis=0), axis=0))
    found = [np.flatnonzero(seen) for seen in axes]
    if found[0].size == 0:
        return None
    z, y, x = ((float(f[0]), float(f[-1] + 1)) for f in found)
    return (x[0], y[0], z[0], x[1], y[1], z[1])


def flip(piece: Piece, rng: np.random.Generator) -> Piece:
    """Mirrored along each axis half of the time, x and y exchanged one time in three."""
    picture, mask, side = piece.picture, piece.mask, piece.side
    low, high = list(piece.edges[:3]), list(piece.edges[3:])
    for axis in range(3):
        if rng.random() < 0.5:
            place, size = 2 - axis, mask.shape[axis]
            low[place], high[place] = size - high[place], size - low[place]
            picture, mask = np.flip(picture, axis), np.flip(mask, axis)
    if rng.random() < 1 / 3:
        picture, mask = np.swapaxes(picture, 1, 2), np.swapaxes(mask, 1, 2)
        low, high, side = [low[1], low[0], low[2]], [high[1], high[0], high[2]], side[::-1]
    return Piece(picture, mask, None, (low[0], low[1], low[2], high[0], high[1], high[2]), side)


COARSEST = np.array([3, 2, 2])
"""How much coarser voxels (z, y, x) become at most."""


def coarsen(piece: Piece, rng: np.random.Generator) -> Piece | None:
    """Slices two or three times as thick, or pixels up to twice as wide; None where the object
    vanishes."""
    depth, height, width = piece.mask.shape
    x0, y0, z0, x1, y1, z1 = piece.edges
    grid = [depth, height, width]
    if rng.random() < 0.6:
        grid[0] = max(3, round(depth / rng.choice((2, 3)))) if z1 - z0 >= 8 else depth
    else:
        factor = rng.uniform(1.2, 2.0)
        if min(x1 - x0, y1 - y0) >= 12:
            grid[1:] = [max(3, round(height / factor)), max(3, round(width / factor))]
    return sampled_piece(piece, grid)


def sampled_piece(piece: Piece, grid: Sequence[int]) -> Piece | None:
    """All of a piece on another grid (depth, height, width)."""
    depth, height, width = piece.mask.shape
    weights = cell_weights((0, 0, 0, width, height, depth), piece.mask.shape, grid)
    mask = sample_volume(piece.mask, weights) > 0.5
    edges = tight_edges(mask)
    if edges is None:
        return None
    side = (piece.side[0] * grid[1] / height, piece.side[1] * grid[2] / width)
    return Piece(sample_volume(piece.picture, weights), mask, None, edges, side)


def turn(piece: Piece, grid: Sequence[int], rng: np.random.Generator) -> Piece | None:
    """Turned and stretched in the slice, sheared along z, on at most twice ``grid``; None where
    nothing of the object is left."""
    size = [min(n, 2 * g) for n, g in zip(piece.mask.shape, grid, strict=True)]
    if tuple(size) != piece.mask.shape:
        reduced = sampled_piece(piece, size)
        if reduced is None:
            return None
        piece = reduced
    angle = np.deg2rad(rng.normal(0, 12))
    stretch = np.exp(rng.normal(0, 0.08, 2))
    x0, y0, z0, x1, y1, z1 = piece.edges
    shear = rng.normal(0, 0.1, 2) * [y1 - y0, x1 - x0] / max(z1 - z0, 1)
    cosine, sine = np.cos(angle), np.sin(angle)
    back = np.eye(3)
    back[1:, 1:] = np.array([[cosine, -sine], [sine, cosine]]) * stretch
    back[1:, 0] = shear
    centre = np.array([z0 + z1, y0 + y1, x0 + x1]) / 2 - 0.5  # of voxel centres
    shift = centre - back @ centre

    def move(array: NDArray[np.generic], order: Literal[0, 1]) -> NDArray[np.float32]:
        values = np.asarray(array, dtype=np.float32)
        return ndimage.affine_transform(values, back, shift, order=order, mode="constant")

    mask = move(piece.mask, 1) > 0.5
    edges = tight_edges(mask)
    if edges is None:
        return None
    known = move(np.ones(mask.shape, np.float32), 0)
    return Piece(move(piece.picture, 1), mask, known, edges, piece.side)


def loosen(piece: Piece, loosened: bool, moved_ends: bool, rng: np.random.Generator) -> Piece:
    """The box as users draw it: tight, or its sides outward by up to 5 % of the image side; its
    ends along z off by up to one slice."""
    x0, y0, z0, x1, y1, z1 = piece.edges
    depth, height, width = piece.mask.shape
    if loosened:
        reach = 0.05 * min(1.0, rng.uniform(0.2, 1.6))
        moves = np.floor(rng.uniform(0, 1, 4) * reach * np.array([*piece.side[::-1]] * 2))
        x0, y0 = max(x0 - moves[0], 0), max(y0 - moves[1], 0)
        x1, y1 = min(x1 + moves[2], width), min(y1 + moves[3], height)
    if moved_ends:
        first, last = rng.integers(-1, 2, 2) if z1 - z0 >= 6 else (0, 0)
        z0, z1 = max(z0 + first, 0), min(z1 + last, depth)
    return replace(piece, edges=(float(x0), float(y0), float(z0), float(x1), float(y1), float(z1)))


def augment_cells(cells: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gamma, contrast, brightness, a slope, inversion, blur and noise, each now and then; greys
    (Z, Y, X) 0..255."""
    x = np.clip(cells, 0, 255) / np.float32(255)
    if rng.random() < 0.4:
        x = x ** np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        x = (x - 0.5) * np.float32(rng.uniform(0.7, 1.3)) + np.float32(0.5 + rng.normal(0, 0.08))
    if rng.random() < 0.15:
        for axis, size in enumerate(x.shape):
            ramp = np.linspace(-1, 1, size, dtype=np.float32) * np.float32(rng.normal(0, 0.1))
            x = x * (1 + ramp).reshape([-1 if a == axis else 1 for a in range(3)])
    if rng.random() < 0.03:
        x = 1 - x
    if rng.random() < 0.1:
        x = ndimage.uniform_filter(x, (1, 3, 3))
    if rng.random() < 0.15:
        scale = np.float32(rng.uniform(0.01, 0.06))
        x = x + rng.standard_normal(x.shape, np.float32) * scale
    return np.asarray(np.clip(x, 0, 1) * np.float32(255), dtype=np.float32)
