"""Many boxes of one picture: two at a time, each on half of the threads.

A decoder of SAM's kind keeps two cores busy for as long as one core twice, less what its threads
wait for each other at every step, and while its mask is drawn the second core has nothing to do.
Two boxes on a core each leave neither waiting.  The price is another copy of the decoder, opened
while the picture is encoded: masks are the same, for no sum is split between threads.
"""

from collections.abc import Callable, Sequence

from inference.bundle import ModelSpec
from inference.decoder import Prompt
from inference.engine import EngineSettings, Graph
from inference.postprocess import Mask
from inference.processor import available_threads

RUNS_FROM = 16
"""Fewer runs of the decoder do not earn what opening the copy costs, about that of ten runs."""

AT_ONCE = 2


def pairs_pay(spec: ModelSpec, settings: EngineSettings, runs: int) -> bool:
    """Whether so many runs of a model's decoder are worth a copy for two at a time.

    Not where boxes draw from one stream of random numbers, nor where a decoder is so small that
    opening it costs more than its boxes.
    """
    return (
        runs >= RUNS_FROM
        and spec.sam is not None
        and spec.drawn is None
        and settings.engine == "openvino"
        and (settings.threads or available_threads()) >= AT_ONCE
    )


class Pairs:
    """A decoder that answers two questions at a time, opened by a thread of its own."""

    def __init__(self, open_graph: Callable[[], Graph]) -> None:
        """``open_graph`` gives a graph for :data:`AT_ONCE` runs at a time."""
        from concurrent.futures import ThreadPoolExecutor  # most pictures do without

        self._pool = ThreadPoolExecutor(AT_ONCE, "decode")
        self._graph = self._pool.submit(open_graph)

    def answer(
        self,
        ask: Callable[[Graph, Sequence[Prompt]], list[Mask]],
        batches: Sequence[Sequence[Prompt]],
    ) -> list[Mask]:
        """The masks of all batches, in their order.

        Raises:
            EngineError: as :func:`inference.engine.compile_graph`.
        """
        graph = self._graph.result()
        answers = self._pool.map(lambda batch: ask(graph, batch), batches)
        return [mask for masks in answers for mask in masks]
