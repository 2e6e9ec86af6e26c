"""Outlines to masks, by scikit-image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon


def fill_polygons(
    polygons: Sequence[NDArray[np.float64]], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """(H, W) mask of the pixels whose centres lie inside an odd number of polygons.

    Each polygon is (N, 2), x and y, pixel centres at whole numbers; the last point is joined to the
    first. Centres on an outline are inside.
    """
    mask: NDArray[np.bool_] = np.zeros((shape[0], shape[1]), np.bool_)
    for points in polygons:
        rows, columns = polygon(points[:, 1], points[:, 0], (shape[0], shape[1]))
        mask[rows, columns] ^= True
    return mask
