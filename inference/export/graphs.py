"""torch modules into ONNX graphs, their numbers compared before they are believed."""

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from inference.bundle import Bundle
from inference.engine import EngineName, EngineSettings, compile_graph
from inference.export.errors import ExportError

log = logging.getLogger(__name__)

OPSET = 17
"""ONNX operators; read by every engine of the last years."""

TOLERANCE = 1e-4
"""Largest difference between torch and a graph, relative to the largest value."""


def write_graph(
    module: nn.Module, inputs: dict[str, torch.Tensor], path: Path, output: str
) -> None:
    """Export ``module`` to ``path`` for exactly the shapes of ``inputs``.

    By torch's older exporter: its encoders run faster in ONNX Runtime (model_definitions.md).
    """
    module.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of every constant shape
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            opset_version=OPSET,
            dynamo=False,
        )


def check_graph(
    bundle: Bundle, file: str, module: nn.Module, inputs: dict[str, torch.Tensor]
) -> dict[EngineName, float]:
    """Largest difference between torch and every engine, relative to the largest value.

    Raises:
        ExportError: an engine gives other numbers than torch.
    """
    with torch.no_grad():
        expected = module(*inputs.values()).numpy()
    arrays = {name: value.numpy() for name, value in inputs.items()}
    differences: dict[EngineName, float] = {}
    engines: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    for engine in engines:
        found = compile_graph(bundle, file, EngineSettings(engine)).run(arrays)
        difference = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))
        log.info("%s: %s differs from torch by %.1e", file, engine, difference)
        differences[engine] = difference
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{bundle.graph(file)}: expected torch's numbers within {TOLERANCE:.0e},"
                f" found {difference:.1e} with {engine}"
            )
    return differences
