"""The first case's graphs on their way before the rest of the program is imported.

Importing numpy and the rest of this package takes as long as opening the compiled graphs, which
OpenVINO's library does without Python.  So threads begin with what the command line and the
surroundings say alone: the first name in the inputs folder, bundle.json as it stands, the cache.
Whoever needs a compiled graph asks :func:`take` for it by the name of its file, after all checks;
what was guessed wrong or could not be opened is simply not there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from inference.blob import blob_path, cache_key, compiler_settings, open_blob, parallel_runs
from inference.library_graph import LibraryGraph
from inference.openvino_library import library_version, open_device
from inference.precision import resolve_precision

TYPE_CHECKING = False  # as typing's
if TYPE_CHECKING:
    from typing import Any

SWITCH_S = 0.0005
"""While graphs are opened, a thread that comes back from the library waits this long, not 5 ms, for
one that imports modules."""

_VALUED = {
    "-i": "input",
    "--input": "input",
    "-o": "output",
    "--output": "output",
    "--model": "model",
    "--cache": "cache",
    "--precision": "precision",
    "--threads": "threads",
    "--profile": "profile",
}
_FLAGS = ("-v", "--verbose")
"""Options that are understood here; with others nothing is guessed."""


class HeadStart:
    """Threads that open compiled graphs, one each: the decoder's takes longer than the imports, and
    opened after the encoder's it would be waited for by one core."""

    def __init__(
        self, inputs: str, bundle: str, cache: str, precision: str = "auto", threads: int = 0
    ) -> None:
        self._inputs, self._bundle, self._cache = inputs, bundle, cache
        self._precision, self._threads = precision, threads
        self._planned = threading.Event()
        self._ready: dict[str, threading.Event] = {}
        self._graphs: dict[str, LibraryGraph] = {}
        self._settings: dict[str, Mapping[str, str]] = {}
        self._usual_switch_s = sys.getswitchinterval()
        self.spans: list[tuple[float, float, int]] = []
        """When graphs were opened, on :func:`time.perf_counter`'s clock, and by which thread."""
        sys.setswitchinterval(SWITCH_S)
        threading.Thread(target=self._work, name="head start", daemon=True).start()

    def take(self, path: str, settings: Mapping[str, str]) -> LibraryGraph | None:
        """The compiled graph of a file, waited for; None where it is not on its way."""
        self._planned.wait()
        ready = self._ready.get(path)
        if ready is None or settings != self._settings[path]:
            return None
        ready.wait()
        return self._graphs.pop(path, None)

    def _work(self) -> None:
        keys: dict[str, str] = {}
        try:
            likely = "f32" if self._precision == "auto" else self._precision
            open_device(compiler_settings(likely, self._threads))  # opened again it costs nothing
            import json

            with open(os.path.join(self._bundle, "bundle.json"), encoding="utf-8") as file:
                content = json.load(file)
            keys = self._plan(content, resolve_precision(self._precision, "openvino", content))
        except Exception:  # told by whoever does it with all checks
            pass
        self._ready = {path: threading.Event() for path in keys}
        self._planned.set()
        threads = [
            threading.Thread(target=self._open, args=pair, name="open graph", daemon=True)
            for pair in keys.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(self._usual_switch_s)

    def _open(self, path: str, key: str) -> None:
        began = time.perf_counter()
        with contextlib.suppress(Exception):  # as above
            self._graphs[path] = open_blob(path, key, self._settings[path])
        self.spans.append((began, time.perf_counter(), threading.get_ident()))
        self._ready[path].set()

    def _plan(self, content: Mapping[str, Any], precision: str) -> dict[str, str]:
        """Files of compiled graphs and their keys, in the order of their use."""
        from inference.modality import dims_of, modality_of

        names = (n for n in os.listdir(self._inputs) if n.endswith(".npz") and n[0] != ".")
        first = min(names)
        models, routing, dims = content["models"], content["routing"], dims_of(first)
        name = routing.get(modality_of(first), routing["default"])
        pair = (models[name], models[routing.get("3D", name)])
        picture, volume = (
            {spec["encoder"]: 1, spec["decoder"]: spec.get("boxes_at_once", 1)} for spec in pair
        )
        if pair[0].get("many_boxes"):
            del picture[pair[0]["decoder"]]  # the number of boxes says which decoder
        if region := pair[1].get("volume_region"):
            volume = {region["graph"]: 1}
        wanted = volume if dims == "3D" else picture
        if dims is None:  # what both need
            wanted = {file: batch for file, batch in picture.items() if volume.get(file) == batch}
        version, keys = library_version(), {}
        for graph, batch in wanted.items():
            is_slices = dims == "3D" and graph == pair[1]["encoder"]
            streams = parallel_runs(self._threads) if is_slices else 1
            key = cache_key(content["files"][graph], precision, batch, version)
            path = blob_path(self._cache, graph, key)
            self._settings[path] = compiler_settings(precision, self._threads, streams)
            keys[path] = key
        return keys


_running: HeadStart | None = None


def begin(argv: Sequence[str]) -> None:
    """Begin, where the command line and the environment leave no doubt about the model."""
    global _running
    given = _options_of(list(argv))
    if given is None:
        return
    cache = given.get("cache") or os.environ.get("MEDSAM_CACHE")
    threads = given.get("threads", "0")
    if not cache or not threads.isdecimal():
        return
    inputs = given.get("input") or ("/inputs" if os.path.isdir("/inputs") else "inputs")
    bundle = given.get("model") or os.environ.get("MEDSAM_BUNDLE")
    bundle = bundle or os.path.join(os.path.dirname(__file__), "bundle")
    _running = HeadStart(
        inputs,
        bundle,
        os.path.normpath(cache),  # as pathlib spells it
        given.get("precision", "auto"),
        int(threads),
    )


def take(path: str, settings: Mapping[str, str]) -> LibraryGraph | None:
    """See :meth:`HeadStart.take`."""
    return None if _running is None else _running.take(path, settings)


def spans() -> list[tuple[float, float, int]]:
    """See :attr:`HeadStart.spans`."""
    return [] if _running is None else _running.spans


def _options_of(words: list[str]) -> dict[str, str] | None:
    """What a command line says; None where something on it is not understood here."""
    given = {}
    while words:
        word = words.pop(0)
        if word in _FLAGS:
            continue
        if word not in _VALUED or not words:
            return None
        given[_VALUED[word]] = words.pop(0)
    return given
