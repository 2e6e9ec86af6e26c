"""Running graphs: one small protocol, two engines.

Without numpy, so that graphs are being loaded before it is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from inference.bundle import Bundle
from inference.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EngineName = Literal["openvino", "onnxruntime"]
Precision = Literal["f32", "bf16"]
Array: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class EngineSettings:
    """How graphs are run."""

    engine: EngineName = "openvino"
    precision: Precision = "f32"
    threads: int = 0
    """0: as many as the container or the process may use."""
    cache_dir: Path | None = None
    """Where compiled graphs are kept; None: nowhere."""


class Graph(Protocol):
    """A compiled graph."""

    def run(self, inputs: Mapping[str, Array]) -> Array:
        """The graph's only output, in memory of its own: never a view of a buffer that the next run
        overwrites (``challenge.md`` B6)."""


def compile_graph(bundle: Bundle, file: str, settings: EngineSettings, batch: int = 1) -> Graph:
    """Compile one graph of a bundle; inputs with an open first axis are fixed to ``batch``.

    Raises:
        EngineError: the engine is not installed, or refuses the graph or the precision.
    """
    if settings.engine == "openvino":
        from inference.openvino_engine import compile_openvino

        return compile_openvino(bundle.graph(file), bundle.sha256[file], settings, batch)
    if settings.precision != "f32":
        raise EngineError(f"onnxruntime: expected precision f32, found {settings.precision}")
    from inference.onnxruntime_engine import compile_onnxruntime

    return compile_onnxruntime(bundle.graph(file), settings)
