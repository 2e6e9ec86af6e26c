"""How closely a box fits its object: drawn tight, as the challenge's are, or with room around it.

A decoder that is told that a box is tight knows that the object touches all four sides; told
nothing, it has to find the outline in the picture alone.  Which of the two a box is shows in the
answer to the second question: an object that reaches close to every side has a tight box.  A prior
on the shape of an object that fills its box is right for tight boxes only, too.
"""

import numpy as np
from numpy.typing import NDArray

from inference.resample import Rect


def largest_gap(logits: NDArray[np.float32], covers: Rect, box: Rect, threshold: float) -> float:
    """Largest distance between a side of ``box`` and what lies above ``threshold``, as a share of
    the box's width or height; infinite where nothing does.

    Args:
        logits: (R, R) on a grid over ``covers``, picture edges.
        box: x_min, y_min, x_max, y_max edges, picture pixels.

    An object that reaches over a side is 0 from it.  Outlines are put between two cells by linear
    interpolation of the largest logit of each row and column, so that the answer is finer than the
    grid.
    """
    above = logits - np.float32(threshold)
    x0, y0, x1, y1 = covers
    left, right = _reach(above.max(axis=0), x0, x1)
    top, bottom = _reach(above.max(axis=1), y0, y1)
    width, height = box[2] - box[0], box[3] - box[1]
    gaps = (
        (left - box[0]) / width,
        (box[2] - right) / width,
        (top - box[1]) / height,
        (box[3] - bottom) / height,
    )
    return max(0.0, *gaps)


def _reach(profile: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """First and last place at which a profile over edges ``low..high`` is above 0; the one at
    infinity and the other at minus infinity where it is nowhere."""
    inside = np.flatnonzero(profile > 0)
    if inside.size == 0:
        return float("inf"), float("-inf")
    first, last = int(inside[0]), int(inside[-1])
    step = (high - low) / len(profile)

    def crossing(outer: int, inner: int) -> float:
        """Where between the centres of two neighbours the profile crosses 0."""
        if not 0 <= outer < len(profile):
            return low + step * (inner + (0.0 if outer < inner else 1.0))
        share = float(profile[inner] / (profile[inner] - profile[outer]))
        return low + step * (inner + 0.5 + share * (outer - inner))

    return crossing(first - 1, first), crossing(last + 1, last)
