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

    def start(self, modality: str, dims: str | None = None) -> None:
        """Begin with the graphs that a case of ``modality`` needs first.

        Where pictures and volumes need different ones, only if ``dims`` says ``2D`` or ``3D``; were
        that wrong, the right ones are loaded when they are needed.
        """
        picture, volume = (
            self._bundle.models[self._bundle.model_for(modality, in_volume)].graphs(in_volume)
            for in_volume in (False, True)
        )
        if self._ready or (picture != volume and dims is None):
            return
        self._ready = {key: threading.Event() for key in (volume if dims == "3D" else picture)}
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
