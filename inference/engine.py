"""Running graphs: one small protocol, two engines.

Without numpy, so that graphs are being loaded before it is imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from inference.blob import parallel_runs
from inference.bundle import Bundle
from inference.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EngineName = Literal["openvino", "onnxruntime"]
Precision = Literal["f32", "bf16"]
PrecisionChoice = Literal["auto", "f32", "bf16"]
"""``auto``: :mod:`inference.precision`."""
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
    must_keep: bool = False
    """Whether a graph that the cache does not keep is an error."""
    streams: int = 1
    """Runs of one graph that may go on at a time; OpenVINO only."""

    def __post_init__(self) -> None:
        """Refuse what is no engine."""
        if self.engine not in get_args(EngineName):
            known = " or ".join(get_args(EngineName))
            raise EngineError(f"engine: expected {known}, found {self.engine!r}")

    @property
    def parallel_runs(self) -> int:
        """How many slices of a volume are encoded, many boxes of a picture decoded, at a time."""
        return parallel_runs(self.threads) if self.engine == "openvino" else 1


class Graph(Protocol):
    """A compiled graph."""

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """The graph's outputs in its order, in memory of their own: never views of buffers that the
        next run overwrites (``challenge.md`` B6).

        Args:
            inputs: by name; those that the graph does not take are left alone.
        Raises:
            EngineError: one that it takes is not there.
        """


AS_OPEN = 0
"""In the place of a batch: open axes stay open."""


def compile_graph(bundle: Bundle, file: str, settings: EngineSettings, batch: int = 1) -> Graph:
    """Compile one graph of a bundle; inputs with an open first axis are fixed to ``batch``, but
    where that is :data:`AS_OPEN`.

    Raises:
        EngineError: the engine is not installed, refuses the graph or the precision, or the cache
            that must keep the graph does not.
    """
    if settings.engine == "openvino":
        from inference.openvino_engine import compile_openvino

        return compile_openvino(bundle.graph(file), bundle.sha256[file], settings, batch)
    if settings.precision != "f32":
        raise EngineError(f"onnxruntime: expected precision f32, found {settings.precision}")
    from inference.onnxruntime_engine import compile_onnxruntime

    return compile_onnxruntime(bundle.graph(file), settings)


def wanted_inputs(names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
    """What a graph takes, in its order.

    Raises:
        EngineError: something is missing.
    """
    if missing := [name for name in names if name not in inputs]:
        raise EngineError(f"graph: expected inputs {missing}, found only {sorted(inputs)}")
    return [inputs[name] for name in names]
