"""A published checkpoint as a bundle, written whole or not at all."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference.bundle_file import read_bundle
from inference.export.architectures import ARCHITECTURES, Architecture
from inference.export.checkpoints import Tensors, read_checkpoint
from inference.export.errors import ExportError
from inference.export.folders import model_entry, new_folder, write_json
from inference.export.graphs import check_graph, write_graph
from inference.export.matching import Shapes, load_strictly, shapes_of
from inference.export.networks.many_boxes import Prepared
from inference.export.networks.sam_model import BOXES_AT_ONCE, LEAST_BOXES, SamModel

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")
"""How files of a folder of experts may end."""


def export_bundle(
    name: str,
    checkpoint: Path,
    folder: Path,
    fidelity: str = "corrected",
    scribbles: bool = False,
) -> None:
    """Write ``folder`` from a checkpoint of the architecture ``name``; from a folder of checkpoints
    where the system has an expert for each modality.

    Args:
        scribbles: write a third graph, which takes strokes in the place of boxes.
    Raises:
        ExportError: the checkpoint does not fit, or a graph does not give torch's numbers.
    """
    architecture = ARCHITECTURES[name]
    with new_folder(folder) as partial:
        models: dict[str, Any] = {}
        for expert, path, kind in _experts(name, architecture, checkpoint):
            models[expert] = _export_model(architecture, kind, path, partial, expert, scribbles)
        routing = dict(architecture.routing or {"default": "general"})
        write_json(partial, architecture.system, models, routing, fidelity)
        bundle = read_bundle(partial)
        for expert, path, kind in _experts(name, architecture, checkpoint):
            for part, graph in load_model(kind, path).graphs(scribbles).items():
                check_graph(bundle, _file(expert, part), graph)


def load_model(name: str, path: Path) -> SamModel:
    """The network of an architecture with the weights of a checkpoint."""
    architecture = ARCHITECTURES[name]
    model = architecture.network()
    tensors = _renamed(read_checkpoint(path), architecture.accepts)
    load_strictly(model, tensors, path, name, _OtherShapes())
    return model.eval()


class _OtherShapes(Mapping[str, Shapes]):
    """Shapes of every architecture, built only when a message needs them."""

    def __getitem__(self, name: str) -> Shapes:
        return shapes_of(ARCHITECTURES[name].network())

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHITECTURES)

    def __len__(self) -> int:
        return len(ARCHITECTURES)


def _renamed(tensors: Tensors, accepts: Mapping[str, str]) -> Tensors:
    for prefix, ours in accepts.items():
        tensors = {
            ours + name.removeprefix(prefix) if name.startswith(prefix) else name: value
            for name, value in tensors.items()
        }
    return tensors


def _experts(
    name: str, architecture: Architecture, checkpoint: Path
) -> Iterator[tuple[str, Path, str]]:
    """(expert, file, architecture) of every model of a bundle."""
    if architecture.routing is None:
        yield "general", checkpoint, name
        return
    if not checkpoint.is_dir():
        raise ExportError(f"{checkpoint}: expected a folder of experts for {name}, found none")
    for expert in sorted(set(architecture.routing.values())):
        files = [checkpoint / f"{expert}{suffix}" for suffix in CHECKPOINTS]
        present = [path for path in files if path.is_file()]
        if not present:
            raise ExportError(f"{checkpoint}: expected {expert}.pth for {name}, found no such file")
        is_other = architecture.fallback is not None and architecture.fallback[0] == expert
        kind = architecture.fallback[1] if is_other and architecture.fallback else name
        yield expert, present[0], kind


def _export_model(
    architecture: Architecture, kind: str, path: Path, folder: Path, expert: str, scribbles: bool
) -> dict[str, Any]:
    """Write the graphs of one model; the model in bundle.json."""
    graphs = load_model(kind, path).graphs(scribbles)
    if scribbles and "scribbles" not in graphs:
        raise ExportError(f"--scribbles: expected a model that strokes alone can ask, found {kind}")
    for part, graph in graphs.items():
        write_graph(graph, folder / _file(expert, part))
    encoder, decoder = _file(expert, "encoder"), _file(expert, "decoder")
    strokes = _file(expert, "scribbles") if scribbles else ""
    many_boxes = None
    if "many" in graphs:
        many_boxes = {
            "prepare": _file(expert, "prepare"),
            "decoder": _file(expert, "many"),
            "names": list(Prepared._fields),
            "boxes_at_once": BOXES_AT_ONCE,
            "least": LEAST_BOXES,
        }
    return model_entry(architecture, encoder, decoder, strokes, many_boxes)


def _file(expert: str, part: str) -> str:
    """The file of a graph."""
    return f"{part}.onnx" if expert == "general" else f"{expert}_{part}.onnx"
