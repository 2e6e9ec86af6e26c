"""torch modules into ONNX graphs, their numbers compared before they are believed."""

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.bundle import Bundle
from inference.engine import AS_OPEN, EngineName, EngineSettings, compile_graph
from inference.export.errors import ExportError
from inference.export.networks.sam_parts import TracedGraph

log = logging.getLogger(__name__)

OPSET = 17
"""ONNX operators; read by every engine of the last years."""

TOLERANCE = 1e-4
"""Largest difference between torch and a graph, relative to the largest value."""


def write_graph(graph: TracedGraph, path: Path) -> None:
    """Export a module to ``path`` for exactly the shapes of its inputs but for its open axes.

    By torch's older exporter: its encoders run faster in ONNX Runtime (model_definitions.md).
    """
    graph.module.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of every constant shape
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamic_axes=graph.open_axes,
            dynamo=False,
        )


def check_graph(bundle: Bundle, file: str, graph: TracedGraph) -> dict[EngineName, float]:
    """Largest difference between torch and every engine, relative to an output's largest value.

    Raises:
        ExportError: an engine gives other numbers than torch.
    """
    with torch.no_grad():
        answer = graph.module.eval()(*graph.inputs.values())
    expected = [value.numpy() for value in (answer if isinstance(answer, tuple) else (answer,))]
    arrays = {name: value.numpy() for name, value in graph.inputs.items()}
    differences: dict[EngineName, float] = {}
    engines: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    for engine in engines:
        batch = AS_OPEN if graph.open_axes else 1
        found = compile_graph(bundle, file, EngineSettings(engine), batch).run(arrays)
        pairs = zip(found, expected, strict=True)
        difference = max(relative_difference(mine, theirs) for mine, theirs in pairs)
        log.info("%s: %s differs from torch by %.1e", file, engine, difference)
        differences[engine] = difference
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{bundle.graph(file)}: expected torch's numbers within {TOLERANCE:.0e},"
                f" found {difference:.1e} with {engine}"
            )
    return differences


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference over the largest value; NaN where either holds one."""
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
