"""Matrices that are zero but for a narrow band, as those that resample an axis are."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Piece(NamedTuple):
    row: int
    end: int
    low: int
    """The first input that these rows take."""
    high: int
    weights: NDArray[Any]
    """(end - row, high - low)."""


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

    def times(self, values: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Rows start..stop of weights @ values (size_in, n)."""
        product = np.empty((stop - start, values.shape[1]), self.weights.dtype)
        for rows, part in self.blocks(values, start, stop):
            product[rows] = part
        return product

    def blocks(
        self, values: NDArray[Any], start: int, stop: int, origin: int = 0
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """The same some rows at a time, and which of start..stop they are, counted from 0: for each
        a product of what it takes, for a dense one would multiply mostly zeros, and small enough to
        be used while it is in a cache; each is there until the next is asked for.  Values are those
        of the inputs from ``origin`` on, and hold all that these rows take."""
        kind = np.result_type(self.weights, values)
        product = np.empty((min(stop - start, ROWS_AT_ONCE), values.shape[1]), kind)
        for piece in self._pieces_of(start, stop):
            taken = values[piece.low - origin : piece.high - origin]
            rows = slice(piece.row - start, piece.end - start)
            yield rows, np.matmul(piece.weights, taken, out=product[: rows.stop - rows.start])

    def times_rows(self, values: NDArray[Any], start: int, stop: int, into: NDArray[Any]) -> None:
        """Columns start..stop of values (n, size_in) @ weights.T, ``into`` (n, stop - start)."""
        for piece in self._pieces_of(start, stop):
            part = into[:, piece.row - start : piece.end - start]
            np.matmul(values[:, piece.low : piece.high], piece.weights.T, out=part)

    def _pieces_of(self, start: int, stop: int) -> Iterator[_Piece]:
        for piece in self._pieces[start // ROWS_AT_ONCE : -(-stop // ROWS_AT_ONCE)]:
            is_whole = start <= piece.row and piece.end <= stop
            yield piece if is_whole else self._piece(max(start, piece.row), min(stop, piece.end))

    @cached_property
    def _pieces(self) -> list[_Piece]:
        size = len(self.weights)
        starts = range(0, size, ROWS_AT_ONCE)
        return [self._piece(row, min(row + ROWS_AT_ONCE, size)) for row in starts]

    def _piece(self, row: int, end: int) -> _Piece:
        low, high = self.reach(row, end)
        return _Piece(row, end, low, high, np.ascontiguousarray(self.weights[row:end, low:high]))


ROWS_AT_ONCE = 32
"""Rows of a banded product that are worked out by one dense product."""
