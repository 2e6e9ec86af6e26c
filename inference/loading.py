"""Graphs on their way: loaded by a thread of their own while the process imports numpy and reads
its first case."""

import threading

from inference.bundle import Bundle
from inference.engine import EngineSettings, Graph, compile_graph
from inference.profile import span

Key = tuple[str, int]
"""A graph's file and the boxes of one run."""


class GraphLoader:
    """Starts to load the graphs of a model; whoever needs one waits for it, or for the reason why
    there is none."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        self._bundle, self._settings = bundle, settings
        self._ready: dict[Key, threading.Event] = {}
        self._loaded: dict[Key, Graph | Exception] = {}

    def start(self, modality: str) -> None:
        """Begin with the encoder, then the decoder, of the model for ``modality``; not where
        pictures and volumes have different ones: a name does not say which it is."""
        name = self._bundle.model_for(modality, False)
        if self._ready or name != self._bundle.model_for(modality, True):
            return
        spec = self._bundle.models[name]
        self._ready[spec.encoder, 1] = threading.Event()
        self._ready[spec.decoder, spec.boxes_at_once] = threading.Event()
        threading.Thread(target=self._load, name="load graphs").start()

    def take(self, file: str, batch: int) -> Graph | None:
        """The graph, waited for; None if nobody started to load it.

        Raises:
            EngineError: as :func:`inference.engine.compile_graph`.
        """
        ready = self._ready.get((file, batch))
        if ready is None:
            return None
        with span("wait for graph"):
            ready.wait()
        found = self._loaded[file, batch]
        if isinstance(found, Exception):
            raise found
        return found

    def _load(self) -> None:
        for (file, batch), ready in self._ready.items():
            try:
                with span("load graph"):
                    graph = compile_graph(self._bundle, file, self._settings, batch)
                self._loaded[file, batch] = graph
            except Exception as error:  # raised where the graph is asked for
                self._loaded[file, batch] = error
            ready.set()
