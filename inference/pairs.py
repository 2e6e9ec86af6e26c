"""Many boxes of one picture: two at a time, each on half of the threads.

A decoder of SAM's kind keeps two cores busy for as long as one core twice, less what its threads
wait for each other at every step, and while its mask is drawn the second core has nothing to do.
Two boxes on a core each leave neither waiting.  The price is another copy of the decoder, opened
while the picture is encoded: masks are the same, for no sum is split between threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.bundle import ModelSpec
from inference.decoder import Prompt
from inference.engine import EngineSettings, Graph
from inference.postprocess import Mask
from inference.processor import available_threads

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

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

    def __init__(
        self,
        spec: ModelSpec,
        settings: EngineSettings,
        open_graph: Callable[[EngineSettings], Graph],
    ) -> None:
        """``open_graph`` gives the model's decoder by settings."""
        self._spec, self._settings, self._open = spec, settings, open_graph
        self._pool: ThreadPoolExecutor | None = None
        self._graph: Future[Graph] | None = None

    def expect(self, boxes: int) -> bool:
        """Whether so many boxes of a picture are answered so; then begin to open the decoder."""
        runs = -(-boxes // self._spec.boxes_at_once)
        pays = pairs_pay(self._spec, self._settings, runs)
        if pays and self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # most pictures do without

            self._pool = ThreadPoolExecutor(AT_ONCE, "decode")
            self._graph = self._pool.submit(self._open, replace(self._settings, at_once=AT_ONCE))
        return pays

    def answer(
        self,
        ask: Callable[[Graph, Sequence[Prompt]], list[Mask]],
        batches: Sequence[Sequence[Prompt]],
    ) -> list[Mask]:
        """The masks of all batches, in their order; to be expected first.

        Raises:
            EngineError: as :func:`inference.engine.compile_graph`.
        """
        assert self._pool is not None and self._graph is not None
        graph = self._graph.result()
        answers = self._pool.map(lambda batch: ask(graph, batch), batches)
        return [mask for masks in answers for mask in masks]
