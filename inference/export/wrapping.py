"""Ready-made graphs of a published system as a bundle; needs OpenVINO only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from inference.bundle import Bundle, ModelSpec
from inference.bundle_file import read_bundle
from inference.engine import EngineSettings, compile_graph
from inference.errors import InferenceError
from inference.export.errors import ExportError
from inference.export.folders import model_entry, new_folder, write_json
from inference.export.ready_made import (
    EMBEDDING,
    GraphFiles,
    decoder_graph,
    encoder_graph,
    save_graph,
)
from inference.export.systems import SYSTEMS, System

GRAPHS = (".xml", ".onnx")
"""How files of a folder of experts may end, the preferred first."""


def wrap_bundle(
    name: str, source: GraphFiles | Path, folder: Path, fidelity: str = "corrected"
) -> None:
    """Write the bundle ``folder`` from ready-made graphs of the system ``name``.

    Args:
        source: the files of its one model, or the folder of all experts' files where the system
            has an expert for each modality, named as its export scripts name them.
    Raises:
        ExportError: a file is missing, or takes or gives something else than that system's.
    """
    system = SYSTEMS[name]
    if "embedding_names" in system.rules:
        raise ExportError(f"{name}: expected a system whose graphs were published, found none")
    with new_folder(folder) as partial:
        models: dict[str, Any] = {}
        for expert, files in _experts(name, system, source):
            start = "" if expert == "general" and system.routing is None else f"{expert}_"
            encoder, decoder = f"{start}encoder.xml", f"{start}decoder.xml"
            side = int(system.rules["input_size"])
            save_graph(encoder_graph(files.encoder, side), partial / encoder)
            save_graph(decoder_graph(files, side, system.unit_boxes), partial / decoder)
            entry = model_entry(system, encoder, decoder)
            models[expert] = _without_offset(entry) if files.prompt_encoder else entry
        routing = dict(system.routing or {"default": "general"})
        write_json(partial, system.system, models, routing, fidelity)
        bundle = read_bundle(partial)
        for spec in bundle.models.values():
            _try(bundle, spec)


def _experts(
    name: str, system: System, source: GraphFiles | Path
) -> Iterator[tuple[str, GraphFiles]]:
    """(expert, its files) of every model of a bundle."""
    if system.routing is None:
        if isinstance(source, Path):
            raise ExportError(f"{name}: expected an encoder and a decoder, found a folder {source}")
        yield "general", source
        return
    if not isinstance(source, Path) or not source.is_dir():
        found = source if isinstance(source, Path) else source.encoder
        raise ExportError(f"{name}: expected a folder of experts' graphs, found {found}")
    for expert in sorted(set(system.routing.values())):
        yield (
            expert,
            GraphFiles(
                _graph_file(source, f"{expert}_image_encoder"),
                _graph_file(source, f"{expert}_mask_decoder"),
                _graph_file(source, system.prompt_graph),
                source / "positional_encoding.npy",
            ),
        )


def _graph_file(folder: Path, stem: str) -> Path:
    """The graph of that name, IR or ONNX."""
    paths = [folder / f"{stem}{suffix}" for suffix in GRAPHS]
    return next((path for path in paths if path.is_file()), paths[0])


def _without_offset(entry: dict[str, Any]) -> dict[str, Any]:
    """The rules where the prompt encoder adds the half pixel itself."""
    return entry | {"sam": dict(entry["sam"]) | {"box_offset": 0.0}}


def _try(bundle: Bundle, spec: ModelSpec) -> None:
    """Answer one box of noise."""
    side = spec.input_size
    image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    settings = EngineSettings()
    try:
        (embedding,) = compile_graph(bundle, spec.encoder, settings).run({"image": image})
        box = np.array([[0.2, 0.3, 0.7, 0.6]], np.float32) * side
        decoder = compile_graph(bundle, spec.decoder, settings)
        (logits,) = decoder.run({"embedding": embedding, "boxes": box})
    except InferenceError as error:
        raise ExportError(f"{bundle.name}: expected graphs that run, found: {error}") from error
    if embedding.shape != EMBEDDING or not np.isfinite(logits).all():
        raise ExportError(f"{bundle.name}: expected finite logits, found NaN or infinite")
