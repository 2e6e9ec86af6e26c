"""Boxes: from what a case holds to what a model is asked.

The challenge's boxes are whole pixels, *both ends inclusive*: ``(x_min, y_min, x_max, y_max)`` and
``(x_min, y_min, z_min, x_max, y_max, z_max)``.  Everything after this module works on *edges*:
continuous coordinates in which pixel ``i`` covers ``[i, i + 1)`` (see :mod:`inference.resample`),
so the edges of an inclusive box are ``x_min, y_min, x_max + 1, y_max + 1``.
"""

import numpy as np
from numpy.typing import NDArray

from inference.rules import RegionRule

Edges = NDArray[np.float64]
"""(N, 4) x_min, y_min, x_max, y_max edges, image pixels."""


def box_edges(boxes: NDArray[np.generic]) -> Edges:
    """Edges (N, 4) of inclusive boxes (N, 4)."""
    edges = np.asarray(boxes, dtype=np.float64).copy()
    edges[:, 2:] += 1.0
    return edges


def box_regions(edges: Edges, rule: RegionRule) -> Edges:
    """Regions (N, 4) around boxes given by their edges; they may reach over the picture's
    border."""
    centre = (edges[:, :2] + edges[:, 2:]) / 2
    extent = edges[:, 2:] - edges[:, :2]
    extent = np.maximum(extent, extent[:, ::-1] / rule.max_aspect) * (1 + 2 * rule.margin)
    extent = np.maximum(extent, rule.min_pixels)
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)


def mask_edges(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """Tight edges of a mask (H, W); None where it is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)


def middle_slice(z_min: int, z_max: int) -> int:
    """Where propagation starts: the middle of the closed range, the lower one of two."""
    return (z_min + z_max) // 2


def slice_depth(z: int, z_min: int, z_max: int) -> float:
    """Distance of a slice's centre from the middle of the closed range, 0 in the middle and 1 at
    the range's edge."""
    return abs((z + 0.5) - (z_min + z_max + 1) / 2) / ((z_max - z_min + 1) / 2)
