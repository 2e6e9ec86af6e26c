"""OpenVINO, with compiled graphs kept in files of our own.

OpenVINO's own model cache hashes the model at every start and fails where the folder cannot be
written.  Here a compiled graph lies in a file named by everything that it depends on: a start opens
it by name, and a file that is missing, unreadable, from another processor or version, or broken
just means that the graph is compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.engine import Array, EngineSettings, available_threads, wanted_inputs
from inference.errors import EngineError
from inference.openvino_library import LibraryGraph, import_graph, library_version

log = logging.getLogger(__name__)

_MAGIC = b"medsam-laptop compiled graph 3\n"
_HEADER = struct.Struct(f"<{len(_MAGIC)}s16sQI4037x")
"""Before a compiled graph in its file: magic, key, length and CRC-32.  OpenVINO itself notices
neither changed weights nor another graph under this one's name.  A page of its own, so that the
graph's weights keep their alignment where the file is mapped."""


class OpenVinoGraph:
    """A graph compiled in this process, by the Python package."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._names = [port.get_any_name() for port in compiled.inputs]

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run once; the outputs are copied out of the engine's buffers."""
        import numpy as np  # here, so that nothing waits for it before a graph is loaded

        arrays = map(np.ascontiguousarray, wanted_inputs(self._names, inputs))
        asked = dict(zip(self._names, arrays, strict=True))
        found = self._request.infer(asked, share_inputs=True, share_outputs=True)
        return tuple(np.array(found[i], dtype=np.float32) for i in range(len(found)))


def compile_openvino(
    path: Path, digest: str, settings: EngineSettings, batch: int
) -> OpenVinoGraph | LibraryGraph:
    """Compile ``path`` (ONNX or OpenVINO IR), or load it compiled from the cache."""
    config = {
        "INFERENCE_PRECISION_HINT": settings.precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(settings.threads or available_threads()),
    }
    key, blob = "", None
    if settings.cache_dir is not None:
        version = _version()
        if version is not None:
            key = cache_key(digest, settings.precision, batch, version)
            blob = settings.cache_dir / f"{path.stem}-{key}.blob"
            loaded = _load_blob(blob, key, config)
            if loaded is not None:
                return loaded
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"openvino: expected to be installed, found: {error}") from error
    try:
        core = openvino.Core()
        model = core.read_model(path)
        model.reshape(
            {
                port: [batch, *list(port.partial_shape)[1:]]
                for port in model.inputs
                if port.partial_shape.is_dynamic
            }
        )
        compiled = core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise EngineError(f"{path}: openvino refuses the graph: {error}") from error
    if blob is not None:
        _store_blob(compiled, blob, key)
    return OpenVinoGraph(compiled)


def _version() -> str | None:
    """Version of OpenVINO's library; None, and the reason in the log, where it cannot be used."""
    try:
        return library_version()
    except (OSError, AttributeError, EngineError) as error:
        log.info("compiled graphs not used: %s", error)
        return None


def cache_key(digest: str, precision: str, batch: int, version: str) -> str:
    """Short name of everything a compiled graph depends on: graph, precision, batch, OpenVINO,
    processor."""
    words = "\n".join((digest, precision, str(batch), version, processor()))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def processor() -> str:
    """Model name and instruction sets of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        import platform

        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(wanted))


def _load_blob(blob: Path, key: str, config: Mapping[str, str]) -> LibraryGraph | None:
    """The compiled graph in ``blob``; None, and the reason in the log, where it cannot be used."""
    try:
        with blob.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:  # ValueError: empty
        log.info("%s: not used, compiling: %s", blob.name, error)
        return None
    with memoryview(content) as view:
        is_whole = view[: _HEADER.size] == _header(key, view[_HEADER.size :])
    if not is_whole:
        log.warning("%s: broken, compiling instead", blob)
        return None
    try:
        return import_graph(content, _HEADER.size, config)
    except EngineError as error:
        log.warning("%s: refused, compiling instead: %s", blob, error)
        return None


def _header(key: str, content: bytes | memoryview) -> bytes:
    """What stands before ``content`` in a file of the cache."""
    return _HEADER.pack(_MAGIC, key.encode(), len(content), zlib.crc32(content))


def _store_blob(compiled: Any, blob: Path, key: str) -> None:
    """Keep a compiled graph, readable by every user; a folder that cannot be written is no
    error."""
    stream = io.BytesIO()
    partial = blob.with_name(f".{blob.name}.{os.getpid()}")
    try:
        compiled.export_model(stream)
        blob.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(_header(key, stream.getvalue()) + stream.getvalue())
        partial.chmod(0o644)
        partial.replace(blob)
    except (OSError, RuntimeError) as error:
        log.info("%s: compiled graph not kept: %s", blob.parent, error)
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        return
    log.info("%s: compiled graph kept", blob)
