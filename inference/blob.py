"""Compiled graphs in files of our own.

OpenVINO's own model cache hashes the model at every start and fails where the folder cannot be
written.  Here a compiled graph lies in a file named by everything that it depends on, so that a
start opens it by name.  Imported before anything else of the program, so without pathlib, typing
and hashlib.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Mapping

from inference.errors import EngineError
from inference.library_graph import LibraryGraph, import_graph
from inference.processor import available_threads, processor

_MAGIC = b"medsam-laptop compiled graph 6\n"
_HEADER = struct.Struct(f"<{len(_MAGIC)}s16sQI4037x")
"""Before a compiled graph in its file: magic, key, length and CRC-32.  OpenVINO itself notices
neither changed weights nor another graph under this one's name.  A page of its own, so that the
graph's weights keep their alignment where the file is mapped."""

_ACCELERATED_BYTES = 32 << 20
"""Graphs from this size on are worth the import of isal."""


def parallel_runs(threads: int) -> int:
    """How many runs of a graph go on at a time where many are to be made, of slices or of boxes,
    each by its share of the threads, which do not have to wait for each other after every layer
    then; ``threads`` as below."""
    return min(2, threads or available_threads())


def compiler_settings(precision: str, threads: int, streams: int = 1) -> dict[str, str]:
    """Properties of OpenVINO's processor device; ``threads`` 0: as many as may be used; ``streams``
    runs of a graph may go on at a time.

    Threads are not pinned: each graph would be to the same cores, so that a graph that is opened or
    run beside another, or a second container, waits while other cores stand still.
    """
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": str(streams),
        "ENABLE_CPU_PINNING": "NO",
        "INFERENCE_NUM_THREADS": str(threads or available_threads()),
    }


def cache_key(digest: str, precision: str, batch: int, version: str) -> str:
    """Short name of everything a compiled graph depends on: graph, precision, batch, OpenVINO,
    processor; from two CRCs, for accidents are all that it guards against."""
    words = "\n".join((digest, precision, str(batch), version, processor())).encode()
    return f"{zlib.crc32(words):08x}{zlib.crc32(words[::-1]):08x}"


def blob_path(folder: str, graph_file: str, key: str) -> str:
    """Where a folder keeps a compiled graph."""
    stem = os.path.splitext(os.path.basename(graph_file))[0]
    return os.path.join(folder, f"{stem}-{key}.blob")


def open_blob(path: str, key: str, settings: Mapping[str, str]) -> LibraryGraph:
    """The compiled graph in a file, which is mapped, not read.

    Raises:
        OSError, ValueError: no such file, not readable, empty.
        EngineError: it is broken, or OpenVINO refuses it.
    """
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    with memoryview(content) as view:
        is_whole = view[: _HEADER.size] == header(key, view[_HEADER.size :])
    if not is_whole:
        raise EngineError("broken")
    return import_graph(content, _HEADER.size, settings)


def header(key: str, content: bytes | memoryview) -> bytes:
    """What stands before ``content`` in a file."""
    return _HEADER.pack(_MAGIC, key.encode(), len(content), _crc32(content))


def _crc32(content: bytes | memoryview) -> int:
    """CRC-32; of large graphs by isal, where it is installed, in a third of the time."""
    if len(content) < _ACCELERATED_BYTES:
        return zlib.crc32(content)
    try:
        from isal.isal_zlib import crc32
    except ImportError:
        return zlib.crc32(content)
    return int(crc32(content))
