"""ONNX Runtime, for machines and comparisons without OpenVINO."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine import Array, EngineSettings
from inference.errors import EngineError
from inference.processor import available_threads


class OnnxRuntimeGraph:
    """A graph loaded by ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [port.name for port in session.get_inputs()]

    def run(self, inputs: Mapping[str, Array]) -> Array:
        """Run once; ONNX Runtime hands out memory of its own every time."""
        wanted = {name: np.ascontiguousarray(inputs[name]) for name in self._names}
        return np.asarray(self._session.run(None, wanted)[0], dtype=np.float32)


def compile_onnxruntime(path: Path, settings: EngineSettings) -> OnnxRuntimeGraph:
    """Load ``path``, an ONNX file."""
    # ONNX Runtime reports its use to its maker unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"onnxruntime: expected to be installed, found: {error}") from error
    if path.suffix != ".onnx":
        raise EngineError(
            f"{path}: onnxruntime runs .onnx files, found {path.suffix}; use --engine openvino"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads or available_threads()
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exception types share no public base
        raise EngineError(f"{path}: onnxruntime refuses the graph: {error}") from error
    return OnnxRuntimeGraph(session)
