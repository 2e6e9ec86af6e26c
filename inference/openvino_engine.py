"""OpenVINO: graphs compiled by its Python package, or opened compiled (:mod:`inference.blob`).

A file of the cache that is missing, unreadable, from another processor or version, or broken just
means that the graph is compiled.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.blob import blob_path, cache_key, compiler_settings, header, open_blob
from inference.engine import AS_OPEN, Array, EngineSettings, wanted_inputs
from inference.errors import EngineError
from inference.head_start import take
from inference.library_graph import LibraryGraph, Requests
from inference.messages import tell_info, tell_warning
from inference.openvino_library import library_version
from inference.signal_stack import signal_stack_kept

_ONLY_TO_COMPILE = {"SNIPPETS_MODE": "DISABLE"}
"""Else OpenVINO generates a kernel of its own for every chain of small steps, each time that the
compiled graph is opened: a quarter of what that takes, and no run is faster for it, but where
:func:`_rewritten` made such chains."""


class OpenVinoGraph:
    """A graph compiled in this process, by the Python package.

    The package's bindings make something of their own at the first run of a process, for which they
    let go of Python's lock: a second thread that comes to it then waits with that lock in its hand,
    and both wait for ever (openvino 2026.4.1).  So the first run of all is done alone.
    """

    _first = threading.Lock()
    _has_run = False

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._requests = Requests(compiled.create_infer_request)
        self._names = [port.get_any_name() for port in compiled.inputs]

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run once; the outputs are copied out of the engine's buffers."""
        if OpenVinoGraph._has_run:
            return self._run(inputs)
        with OpenVinoGraph._first:
            found = self._run(inputs)
            OpenVinoGraph._has_run = True
            return found

    def _run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        import numpy as np  # here, so that nothing waits for it before a graph is loaded

        arrays = map(np.ascontiguousarray, wanted_inputs(self._names, inputs))
        asked = dict(zip(self._names, arrays, strict=True))
        request = self._requests.take()
        try:
            found = request.infer(asked, share_inputs=True, share_outputs=True)
            return tuple(np.array(found[i], dtype=np.float32) for i in range(len(found)))
        finally:
            self._requests.give(request)


def compile_openvino(
    path: Path, digest: str, settings: EngineSettings, batch: int
) -> OpenVinoGraph | LibraryGraph:
    """Compile ``path`` (ONNX or OpenVINO IR), or load it compiled from the cache."""
    config = compiler_settings(settings.precision, settings.threads, settings.streams)
    key, blob = "", None
    if settings.cache_dir is not None:
        version = _version()
        if version is not None:
            key = cache_key(digest, settings.precision, batch, version)
            blob = Path(blob_path(str(settings.cache_dir), path.name, key))
            loaded = _kept(blob, key, config)
            if loaded is not None:
                return loaded
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"openvino: expected to be installed, found: {error}") from error
    try:
        with signal_stack_kept():
            compiled = _compile(openvino.Core(), path, batch, config)
    except RuntimeError as error:
        raise EngineError(f"{path}: openvino refuses the graph: {error}") from error
    kept = blob is not None and _store_blob(compiled, blob, key)
    if settings.must_keep and not kept:
        raise EngineError(
            f"{settings.cache_dir}: expected to keep the compiled {path.name} there, found it not "
            "kept (--verbose says why)"
        )
    return OpenVinoGraph(compiled)


def read_graph(core: Any, path: Path, batch: int) -> Any:
    """A graph as an ``openvino.Model``, its open first axes fixed to ``batch``."""
    model = core.read_model(path)
    if batch == AS_OPEN:
        return model
    model.reshape(
        {
            port: [batch, *list(port.partial_shape)[1:]]
            for port in model.inputs
            if port.partial_shape.is_dynamic
        }
    )
    return model


def _compile(core: Any, path: Path, batch: int, config: Mapping[str, str]) -> Any:
    model = read_graph(core, path, batch)
    only_to_compile = dict(_ONLY_TO_COMPILE)
    if config["INFERENCE_PRECISION_HINT"] == "f32" and _rewritten(model, path):
        only_to_compile["SNIPPETS_MODE"] = "ENABLE"
    return core.compile_model(model, "CPU", {**config, **only_to_compile})


def _rewritten(model: Any, path: Path) -> bool:
    """Put faster steps into a model that is computed in float32; whether some are chains of small
    steps that need a kernel of their own."""
    from inference import tanh, winograd  # here: they import numpy

    convolutions = winograd.rewrite(model)
    chains = tanh.rewrite(model) if tanh.is_slow() else 0
    if convolutions or chains:
        tell_info(__name__, f"{path.name}: rewritten: {convolutions} convolutions, {chains} tanh")
    return chains > 0


def _version() -> str | None:
    """Version of OpenVINO's library; None, and the reason in the log, where it cannot be used."""
    try:
        return library_version()
    except (OSError, AttributeError, EngineError) as error:
        tell_info(__name__, f"compiled graphs not used: {error}")
        return None


def _kept(blob: Path, key: str, config: Mapping[str, str]) -> LibraryGraph | None:
    """The compiled graph in ``blob``; None, and the reason told, where it cannot be used."""
    try:
        return take(str(blob), config) or open_blob(str(blob), key, config)
    except (OSError, ValueError) as error:  # ValueError: empty
        tell_info(__name__, f"{blob.name}: not used, compiling: {error}")
    except EngineError as error:
        tell_warning(__name__, f"{blob}: {error}, compiling instead")
    return None


def _store_blob(compiled: Any, blob: Path, key: str) -> bool:
    """Keep a compiled graph, readable by every user; whether that could be done."""
    stream = io.BytesIO()
    partial = blob.with_name(f".{blob.name}.{os.getpid()}")
    try:
        compiled.export_model(stream)
        blob.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(header(key, stream.getvalue()) + stream.getvalue())
        partial.chmod(0o644)
        partial.replace(blob)
    except (OSError, RuntimeError) as error:
        tell_info(__name__, f"{blob.parent}: compiled graph not kept: {error}")
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        return False
    tell_info(__name__, f"{blob}: compiled graph kept")
    return True
