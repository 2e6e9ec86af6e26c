"""Graphs on their way: loaded by a thread of their own while the process imports numpy and reads
its first case."""

import threading
from collections.abc import Sequence

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

        Where ``dims`` does not say ``2D`` or ``3D``, those that pictures and volumes both need;
        were it wrong, the right ones are loaded when they are needed.
        """
        picture, volume = (
            self._bundle.models[self._bundle.model_for(modality, in_volume)].graphs(in_volume)
            for in_volume in (False, True)
        )
        wanted = volume if dims == "3D" else picture
        if dims is None:
            wanted = tuple(key for key in picture if key in volume)
        if not self._ready:
            self.begin(wanted)

    def begin(self, graphs: Sequence[Key]) -> None:
        """Begin with these graphs, those left out that were begun before."""
        new = [key for key in graphs if key not in self._ready]
        if new:
            self._ready |= {key: threading.Event() for key in new}
            threading.Thread(target=self._load, args=(new,), name="load graphs").start()

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

    def _load(self, graphs: Sequence[Key]) -> None:
        for file, batch in graphs:
            try:
                with span("load graph"):
                    graph = compile_graph(self._bundle, file, self._settings, batch)
                self._loaded[file, batch] = graph
            except Exception as error:  # raised where the graph is asked for
                self._loaded[file, batch] = error
            self._ready[file, batch].set()
