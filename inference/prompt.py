"""Boxes: from what a case holds to what a model is asked.

The challenge's boxes are whole pixels, *both ends inclusive*: ``(x_min, y_min, x_max, y_max)`` and
``(x_min, y_min, z_min, x_max, y_max, z_max)``.  Everything after this module works on *edges*:
continuous coordinates in which pixel ``i`` covers ``[i, i + 1)`` (see :mod:`inference.resample`),
so the edges of an inclusive box are ``x_min, y_min, x_max + 1, y_max + 1``.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Edges = NDArray[np.float64]
"""(N, 4) x_min, y_min, x_max, y_max edges, image pixels."""


@dataclass(frozen=True)
class RegionRule:
    """How much of the picture around a box a decoder looks at."""

    side: int
    """Pixels along each side of the square picture of a region."""
    margin: float
    """Part of the box's width (height) added on the left and on the right (above and below)."""
    max_aspect: float
    """A thin box is widened until its region is at most this many times longer than wide."""
    min_pixels: float
    """Smallest width and height of a region, image pixels."""


@dataclass(frozen=True)
class SamRule:
    """How a SAM decoder is asked about a box, and how its logits become a mask."""

    box_scaling: Literal["float", "truncated", "resized"] = "float"
    """To the encoder's input by the longest side, as it comes out or cut to whole pixels
    (``challenge.md`` B3); ``resized``: by the rounded size of the resized picture (SAM's own)."""
    box_offset: float = 0.5
    """Added to every coordinate before the decoder sees it: a pixel's centre."""
    upsampling: Literal["direct", "through-input"] = "direct"
    """From the logits' grid to the picture at once, or to the encoder's input first."""
    interpolate: Literal["logits", "probabilities"] = "logits"
    """What is interpolated on the way to the picture's pixels."""
    next_box: Literal["mask", "resized-label"] = "mask"
    """In a volume, the box of the next slice: around the last mask in picture pixels, scaled; or
    around that mask drawn with the object's label, resized as 8-bit values (B8)."""
    box_limit: Literal["last-pixel", "edge"] = "last-pixel"
    """Where a grown box ends: at the last pixel of the encoder's input or one beyond it (B9)."""


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
