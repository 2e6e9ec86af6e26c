"""Labels laid out one above the other, so that many cost as few array operations as one.

A picture of cells has hundreds of small labels, and some hundred array operations for each would
take far longer than the arithmetic. So the boxes of labels, each with the truth's and the
prediction's mask of it, are put into one stack along the first axis, with so much empty space
between them that no label is within the tolerance of another. What is then found in the stack is
counted label by label, as points come in the order of the labels.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.label_maps import Box, LabelMap
from evaluation.metrics.surface import Codes, flat_neighbour_codes

_STACK_POINTS = 1 << 18
"""Grid points of a stack, unless one label has more: what fits into a processor's own memory."""

_WASTE = 2
"""A label that is smaller across than its stack by this factor begins another one."""


@dataclass(frozen=True)
class Plan:
    """Which labels a stack holds and where."""

    labels: tuple[int, ...]
    """Places in the truth's `labels`."""
    boxes: tuple[Box, ...]
    """Parts of the label map, each with all of a label in truth and prediction."""
    tops: tuple[int, ...]
    """First row of each label; and, as the last one, of the space below all."""
    shape: tuple[int, ...]
    """Of the whole grid of corner points."""

    def count_codes(self, places: NDArray[np.int64], codes: Codes) -> NDArray[np.int64]:
        """Count the codes at ascending places of the flattened grid; (labels, codes)."""
        count, kinds = len(self.labels), 1 << (1 << len(self.shape))
        keys: NDArray[np.integer[Any]] = codes.take(places)
        if count > 1:
            row = math.prod(self.shape[1:])
            ends = places.searchsorted(np.array(self.tops) * row)
            owners = np.repeat(np.arange(0, count * kinds, kinds), ends[1:] - ends[:-1])
            keys = owners + keys
        return np.bincount(keys, minlength=count * kinds).reshape(count, kinds)

    def corner_boxes(self) -> list[Box]:
        """The grid points around each label."""
        return [
            (
                slice(top, top + box[0].stop - box[0].start + 1),
                *(slice(0, axis.stop - axis.start + 1) for axis in box[1:]),
            )
            for top, box in zip(self.tops, self.boxes, strict=False)
        ]


def plan_stacks(boxes: Sequence[Box], margins: Sequence[int]) -> Iterator[Plan]:
    """Share labels among stacks; `margins` are the steps that must stay empty around each."""
    grids = [tuple(axis.stop - axis.start + 1 for axis in box) for box in boxes]
    across = [_across(grid[1:], margins) for grid in grids]
    chosen: list[int] = []
    rows, widest = margins[0], (0,) * (len(margins) - 1)
    for label in sorted(range(len(boxes)), key=lambda label: -across[label]):
        rows += grids[label][0] + margins[0]
        wider = tuple(map(max, widest, grids[label][1:]))
        row = _across(wider, margins)
        if chosen and (rows * row > _STACK_POINTS or row > _WASTE * across[label]):
            yield _plan(chosen, boxes, grids, widest, margins)
            chosen, wider = [], grids[label][1:]
            rows = margins[0] + grids[label][0] + margins[0]
        chosen.append(label)
        widest = wider
    if chosen:
        yield _plan(chosen, boxes, grids, widest, margins)


def _across(extents: Sequence[int], margins: Sequence[int]) -> int:
    """Grid points in one row (2D) or slice (3D) of a stack."""
    return math.prod(map(operator.add, extents, margins[1:]))


def _plan(
    chosen: Sequence[int],
    boxes: Sequence[Box],
    grids: Sequence[tuple[int, ...]],
    widest: Sequence[int],
    margins: Sequence[int],
) -> Plan:
    heights = (grids[label][0] + margins[0] for label in chosen)
    tops = tuple(itertools.accumulate(heights, initial=margins[0]))
    return Plan(
        labels=tuple(chosen),
        boxes=tuple(boxes[label] for label in chosen),
        tops=tops,
        shape=(tops[-1], *map(operator.add, widest, margins[1:])),
    )


def stack_codes(plan: Plan, numbers: Sequence[int], labels: LabelMap) -> Codes:
    """Neighbour codes of the stacked masks of one label map; flattened."""
    grid = np.zeros(plan.shape, np.bool_)
    present = set(labels.labels)
    for index, box, top in zip(plan.labels, plan.boxes, plan.tops, strict=False):
        if numbers[index] in present:
            part = labels.array[box]
            place = (slice(top, top + part.shape[0]), *(slice(n) for n in part.shape[1:]))
            np.equal(part, numbers[index], out=grid[place])
    return flat_neighbour_codes(grid.reshape(-1).view(np.uint8), plan.shape)
