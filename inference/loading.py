"""Graphs on their way: loaded by a thread of their own while the process imports numpy and reads
its first case."""

import threading
from collections.abc import Sequence
from dataclasses import replace

from inference.bundle import Bundle, GraphKey
from inference.engine import EngineSettings, Graph, compile_graph
from inference.profile import span


class GraphLoader:
    """Starts to load the graphs of a model; whoever needs one waits for it, or for the reason why
    there is none."""

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        self._bundle, self._settings = bundle, settings
        self._ready: dict[GraphKey, threading.Event] = {}
        self._loaded: dict[GraphKey, Graph | Exception] = {}

    def start(self, modality: str, dims: str | None = None) -> None:
        """Begin with the graphs that a case of ``modality`` needs first.

        Where ``dims`` does not say ``2D`` or ``3D``, those that pictures and volumes both need;
        were it wrong, the right ones are loaded when they are needed.
        """
        streams = self._settings.parallel_runs if dims == "3D" else 1
        picture, volume = (
            self._bundle.models[self._bundle.model_for(modality, in_volume)].graphs(
                in_volume, streams
            )
            for in_volume in (False, True)
        )
        wanted = volume if dims == "3D" else picture
        if dims is None:
            wanted = tuple(key for key in picture if key in volume)
        if not self._ready:
            self.begin(wanted)

    def begin(self, graphs: Sequence[GraphKey]) -> None:
        """Begin with these graphs, those left out that were begun before."""
        new = [key for key in graphs if key not in self._ready]
        if new:
            self._ready |= {key: threading.Event() for key in new}
            threading.Thread(target=self._load, args=(new,), name="load graphs").start()

    def __contains__(self, key: object) -> bool:
        """Whether somebody started to load this graph."""
        return key in self._ready

    def take(self, key: GraphKey) -> Graph | None:
        """The graph, waited for; None if nobody started to load it.

        Raises:
            EngineError: as :func:`inference.engine.compile_graph`.
        """
        ready = self._ready.get(key)
        if ready is None:
            return None
        with span("wait for graph"):
            ready.wait()
        found = self._loaded[key]
        if isinstance(found, Exception):
            raise found
        return found

    def _load(self, graphs: Sequence[GraphKey]) -> None:
        for key in graphs:
            settings = replace(self._settings, streams=key.streams)
            try:
                with span("load graph"):
                    graph = compile_graph(self._bundle, key.file, settings, key.batch)
                self._loaded[key] = graph
            except Exception as error:  # raised where the graph is asked for
                self._loaded[key] = error
            self._ready[key].set()
