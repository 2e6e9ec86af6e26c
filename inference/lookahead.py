"""Slices of a volume encoded by threads of their own while earlier ones are decoded.

Which slice comes when is known before the walk begins, so the threads are only ever asked for
slices that will be needed; what they give is what the walk would have got by asking itself.
"""

from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType

from inference.decoder import Embedding


class Lookahead:
    """Embeddings of slices in a known order, the next ones begun before they are asked for.

    ``with Lookahead(encode, slices, ahead) as source: ... source.take(z)``; ``ahead`` slices that
    are not kept are encoded or on their way at a time, however many kept ones lie between.  0:
    nothing is begun before, and there is no thread.
    """

    def __init__(
        self,
        encode: Callable[[int], Embedding],
        slices: Sequence[int],
        ahead: int,
        threads: int = 1,
    ) -> None:
        """``slices``: every slice that is asked for, in order, repeats included; ``threads``: how
        many are encoded at a time."""
        self._encode, self._slices, self._ahead = encode, slices, ahead
        self._asked = 0
        self._begun: dict[int, Future[Embedding]] = {}
        self._pool = ThreadPoolExecutor(threads, "encode") if ahead else None

    def __enter__(self) -> "Lookahead":
        self._begin(())
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
        self._begin(kept)

    def _begin(self, kept: Container[int]) -> None:
        if self._pool is None:
            return
        wanted: set[int] = set()
        for z in islice(self._slices, self._asked, None):
            if len(wanted) == self._ahead:
                break
            if z in kept or z in wanted:
                continue
            wanted.add(z)
            if z not in self._begun:
                self._begun[z] = self._pool.submit(self._encode, z)

    def take(self, z: int) -> Embedding:
        """The embedding of slice ``z``, waited for where it was begun."""
        begun = self._begun.pop(z, None)
        return self._encode(z) if begun is None else begun.result()
