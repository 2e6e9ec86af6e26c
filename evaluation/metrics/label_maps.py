"""A label map read as runs: its labels, their sizes and boxes, and what two maps share.

A run is a stretch of equal values in the flattened array. A map of objects has few of them, so
that everything that is counted here costs one comparison of neighbours for each voxel and the rest
goes by runs, however many labels there are and whatever their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
"""A label map, (H, W) or (D, H, W); 0 is background."""

Box = tuple[slice, ...]

_BLOCK = 1 << 18
"""Voxels that are compared at a time: what fits into a processor's own memory."""


@dataclass(frozen=True)
class LabelMap:
    """A label map and its positive labels in ascending order."""

    array: Labels
    """In C order."""
    starts: NDArray[np.int64]
    """Where each run begins in the flattened array; (runs,)."""
    values: Labels
    """The label of each run, of the array's type; (runs,)."""
    labels: tuple[int, ...]
    """Positive labels present."""
    voxels: NDArray[np.int64]
    """Size of each label."""
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    """First position of each label along each axis, and the one after the last; (labels, dims)."""

    def places_of(self, labels: Sequence[int]) -> NDArray[np.int64]:
        """Where labels are in `labels`; -1 for those that are not there."""
        places = {label: place for place, label in enumerate(self.labels)}
        return np.array([places.get(label, -1) for label in labels], np.int64)

    def sizes_of(self, labels: Sequence[int]) -> NDArray[np.int64]:
        """Voxels of labels, 0 for those that are not there."""
        return np.append(self.voxels, 0)[self.places_of(labels)]  # place -1 is the last one


def map_labels(array: Labels) -> LabelMap:
    """Find the runs of a label map and what follows from them."""
    array = np.ascontiguousarray(array)
    flat = array.reshape(-1)
    starts = np.concatenate([*_run_starts(flat)]) if flat.size else np.zeros(0, np.int64)
    return map_runs(array, starts, flat[starts])


def map_runs(array: Labels, starts: NDArray[np.int64], values: Labels) -> LabelMap:
    """Work out labels, sizes and boxes of an array whose runs are known."""
    object_runs = np.flatnonzero(values > 0)
    first = starts[object_runs]
    after = np.append(starts, array.size)[object_runs + 1]
    numbers, owners = np.unique(values[object_runs], return_inverse=True)
    voxels = np.bincount(owners, weights=after - first, minlength=numbers.size)
    low, high = _boxes(first, after - 1, owners, numbers.size, array.shape)
    return LabelMap(
        array, starts, values, tuple(numbers.tolist()), voxels.astype(np.int64), low, high
    )


def empty_map(shape: tuple[int, ...]) -> LabelMap:
    """A map without labels, which takes no memory whatever its shape."""
    nothing: Labels = np.zeros(min(1, math.prod(shape)), np.uint8)
    array = np.broadcast_to(np.uint8(0), shape)
    return map_runs(array, np.zeros(nothing.size, np.int64), nothing)


def overlaps(first: LabelMap, second: LabelMap) -> NDArray[np.int64]:
    """Every two labels that share voxels: places in `labels` of either map, voxels; (pairs, 3)."""
    if not first.labels or not second.labels:
        return np.zeros((0, 3), np.int64)
    starts = _merged(first.starts, second.starts)
    lengths = np.append(starts[1:], first.array.size) - starts
    one, other = (labels.array.reshape(-1).take(starts) for labels in (first, second))
    shared = np.flatnonzero((one > 0) & (other > 0))
    ones = np.searchsorted(np.array(first.labels, one.dtype), one[shared])
    others = np.searchsorted(np.array(second.labels, other.dtype), other[shared])
    pairs, places = np.unique(ones * len(second.labels) + others, return_inverse=True)
    voxels = np.bincount(places, weights=lengths[shared], minlength=pairs.size)
    return np.stack([*np.divmod(pairs, len(second.labels)), voxels.astype(np.int64)], axis=1)


def _merged(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values of two ascending arrays, each once; np.union1d hashes them and takes ten times."""
    both = np.concatenate([first, second])
    both.sort(kind="stable")  # merges what is already in order
    once: NDArray[np.int64] = both[np.append(True, both[1:] != both[:-1])]
    return once


def hulls(first: LabelMap, second: LabelMap, places: NDArray[np.int64]) -> list[Box]:
    """Boxes that hold each label of the first map and the one at `places` of the second, if any."""
    low, high = first.low.copy(), first.high.copy()
    there = np.flatnonzero(places >= 0)
    low[there] = np.minimum(low[there], second.low[places[there]])
    high[there] = np.maximum(high[there], second.high[places[there]])
    return [
        tuple(slice(a, b) for a, b in zip(*corners, strict=True))
        for corners in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _run_starts(flat: Labels) -> Iterator[NDArray[np.int64]]:
    yield np.zeros(1, np.int64)
    for begin in range(0, flat.size - 1, _BLOCK):
        block = flat[begin : begin + _BLOCK + 1]
        yield np.flatnonzero(block[1:] != block[:-1]) + (begin + 1)


def _boxes(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    owners: NDArray[np.int64],
    count: int,
    shape: tuple[int, ...],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Boxes of labels from their runs; a run that goes on in the next row covers the whole axis."""
    low = np.full((count, len(shape)), np.iinfo(np.int64).max)
    high = np.zeros((count, len(shape)), np.int64)
    for axis in reversed(range(len(shape))):
        rows, last_rows = first // shape[axis], last // shape[axis]  # far faster than np.divmod
        wraps = rows != last_rows
        begin, end = first - rows * shape[axis], last - last_rows * shape[axis] + 1
        np.minimum.at(low[:, axis], owners, np.where(wraps, 0, begin))
        np.maximum.at(high[:, axis], owners, np.where(wraps, shape[axis], end))
        first, last = rows, last_rows
    return low, high
