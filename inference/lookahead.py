"""Slices of a volume encoded by a thread of their own while earlier ones are decoded.

Which slice comes when is known before the walk begins, so the thread is only ever asked for
slices that will be needed; what it gives is what the walk would have got by asking itself.
"""

from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from inference.decoder import Embedding


class Lookahead:
    """Embeddings of slices in a known order, the next ones begun before they are asked for.

    ``with Lookahead(encode, slices, ahead) as source: ... source.take(z)``; ``ahead`` 0: nothing is
    begun before, and there is no thread.
    """

    def __init__(
        self,
        encode: Callable[[int], Embedding],
        slices: Sequence[int],
        ahead: int,
    ) -> None:
        """``slices``: every slice that is asked for, in order, repeats included."""
        self._encode, self._slices, self._ahead = encode, slices, ahead
        self._asked = 0
        self._begun: dict[int, Future[Embedding]] = {}
        self._pool = ThreadPoolExecutor(1, "encode") if ahead else None

    def __enter__(self) -> "Lookahead":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def step(self, kept: Container[int]) -> None:
        """One slice of the order is taken or was kept; begin the next ones that are not kept."""
        self._asked += 1
        if self._pool is None:
            return
        for z in self._slices[self._asked : self._asked + self._ahead]:
            if z not in self._begun and z not in kept:
                self._begun[z] = self._pool.submit(self._encode, z)

    def take(self, z: int) -> Embedding:
        """The embedding of slice ``z``, waited for where it was begun."""
        begun = self._begun.pop(z, None)
        return self._encode(z) if begun is None else begun.result()
