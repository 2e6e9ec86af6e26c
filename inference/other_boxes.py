"""What a region decoder is shown of a picture's other boxes.

Objects of one picture explain each other: the cup in the disc, the teeth of a jaw, cells that
touch.  A box that was drawn loosely says little alone, and a good deal beside its neighbours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.resample import Rect


@dataclass(frozen=True)
class OtherBoxes:
    """All boxes of a picture, and which of them is asked about."""

    edges: NDArray[np.float64]
    """(N, 4) x_min, y_min, x_max, y_max edges, picture pixels."""
    index: int

    def shown(self, rect: Rect, side: int) -> NDArray[np.float32]:
        """(2, side, side) over ``rect``: the boxes whose objects lie over this one, which are the
        smaller ones (of equal boxes the later, as in
        :func:`inference.overlap.painting_order`), and the others.

        A box is 1 in its middle, falls to 1/2 at its edges and is 0 outside; of several the largest
        value counts.  Nothing but zeros where the box is alone.
        """
        shown = np.zeros((2, side, side), np.float32)
        x0, y0, x1, y1 = rect
        e = self.edges
        seen = (e[:, 0] < x1) & (e[:, 2] > x0) & (e[:, 1] < y1) & (e[:, 3] > y0)
        seen[self.index] = False
        if not seen.any():
            return shown
        sizes = (e[:, 2] - e[:, 0]) * (e[:, 3] - e[:, 1])
        own = sizes[self.index]
        above = (sizes < own) | ((sizes == own) & (np.arange(len(e)) > self.index))
        cells = (np.arange(side) + 0.5) / side
        x, y = x0 + (x1 - x0) * cells, y0 + (y1 - y0) * cells
        for channel, chosen in enumerate((seen & above, seen & ~above)):
            boxes = e[chosen]
            u = np.abs(2 * x - boxes[:, 0, None] - boxes[:, 2, None])
            v = np.abs(2 * y - boxes[:, 1, None] - boxes[:, 3, None])
            u /= boxes[:, 2, None] - boxes[:, 0, None]
            v /= boxes[:, 3, None] - boxes[:, 1, None]
            for across, down in zip(_profile(u), _profile(v), strict=True):
                np.maximum(shown[channel], np.minimum(down[:, None], across), out=shown[channel])
        return shown


def _profile(place: NDArray[np.float64]) -> NDArray[np.float32]:
    """1 in the middle (0), 1/2 at an edge (1), 0 beyond."""
    return np.where(place <= 1, 1 - place / 2, 0).astype(np.float32)
