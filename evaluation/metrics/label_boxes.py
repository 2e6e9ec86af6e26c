"""Where the labels of a label map are: one box each, found without a pass for every label."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from evaluation.metrics.instances import Labels
from evaluation.metrics.surface import Box

_MAX_DENSE_LABEL = 65535
"""Up to this label one pass finds all boxes; a sparser numbering is made dense first."""


def label_boxes(labels: Labels) -> dict[int, Box]:
    """The bounding box of every positive label present, in ascending order of the labels."""
    if labels.size == 0:
        return {}
    if labels.max() <= _MAX_DENSE_LABEL:
        if labels.ndim == 3:
            return _boxes_by_slice(labels)
        found = ndimage.find_objects(labels)
        return {index + 1: box for index, box in enumerate(found) if box is not None}
    values, dense = np.unique(labels, return_inverse=True)
    found = ndimage.find_objects(dense.reshape(labels.shape) + 1)
    return {
        int(value): box
        for value, box in zip(values, found, strict=True)
        if box is not None and value > 0
    }


def _boxes_by_slice(labels: Labels) -> dict[int, Box]:
    """Search only the part of each slice that is not empty, which is most often a small one."""
    boxes: dict[int, Box] = {}
    for depth, plane in enumerate(labels):
        rows = np.flatnonzero(plane.any(axis=1))
        if not rows.size:
            continue
        top = int(rows[0])
        part = plane[top : int(rows[-1]) + 1]
        columns = np.flatnonzero(part.any(axis=0))
        left = int(columns[0])
        for index, box in enumerate(ndimage.find_objects(part[:, left : int(columns[-1]) + 1])):
            if box is not None:
                here = (
                    slice(depth, depth + 1),
                    slice(box[0].start + top, box[0].stop + top),
                    slice(box[1].start + left, box[1].stop + left),
                )
                boxes[index + 1] = hull_of(boxes.get(index + 1, here), here)
    return dict(sorted(boxes.items()))


def hull_of(first: Box, second: Box) -> Box:
    """The smallest box that holds two boxes."""
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
