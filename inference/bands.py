"""Matrices that are zero but for a narrow band, as those that resample an axis are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bands:
    """Weights (size_out, size_in) whose rows are narrow bands that move right as rows go down."""

    weights: NDArray[Any]
    """(size_out, size_in), float32 or float64."""
    first: NDArray[np.intp]
    """(size_out,): the first input of each row that counts."""
    stop: NDArray[np.intp]
    """(size_out,): one past the last."""

    @classmethod
    def of(cls, weights: NDArray[Any]) -> "Bands":
        """Bands of dense weights; a row without any input has an empty band."""
        counts = weights != 0
        first = counts.argmax(axis=1)
        stop = weights.shape[1] - counts[:, ::-1].argmax(axis=1)
        empty = ~counts.any(axis=1)
        first[empty] = stop[empty] = weights.shape[1]
        return cls(weights, first, stop)

    def touched(self, first: int, last: int) -> tuple[int, int]:
        """Rows, first and one past the last, that take anything from inputs first..last."""
        rows = np.flatnonzero((self.first <= last) & (self.stop > first))
        return (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, 0)

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        """Inputs, first and one past the last, that rows start..stop take."""
        return int(self.first[start:stop].min()), int(self.stop[start:stop].max())

    def times(
        self, values: NDArray[Any], start: int, stop: int, into: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Rows start..stop of weights @ values (size_in, n); ``into``: where to, (stop - start,
        n)."""
        product = into
        if product is None:
            product = np.empty((stop - start, values.shape[1]), self.weights.dtype)
        for rows, part in self.blocks(values, start, stop):
            product[rows] = part
        return product

    def blocks(
        self, values: NDArray[Any], start: int, stop: int, origin: int = 0
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """The same some rows at a time, and which of start..stop they are, counted from 0: for each
        a product of what it takes, for a dense one would multiply mostly zeros, and small enough to
        be used while it is in a cache.  Values are those of the inputs from ``origin`` on, and hold
        all that these rows take."""
        for row in range(start, stop, ROWS_AT_ONCE):
            end = min(row + ROWS_AT_ONCE, stop)
            low, high = self.reach(row, end)
            taken = self.weights[row:end, low:high]
            yield slice(row - start, end - start), taken @ values[low - origin : high - origin]


ROWS_AT_ONCE = 48
"""Rows of a banded product that are worked out by one dense product."""
