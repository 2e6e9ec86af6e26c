"""A checkpoint into a bundle: two ONNX graphs and bundle.json, their numbers compared with
torch's."""

import hashlib
import json
import logging
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from data_splits.split import read_split
from training.finetune import REGION
from training.model import ModelConfig, PromptedSegmenter

log = logging.getLogger(__name__)

THRESHOLD_2D, THRESHOLD_3D = -0.6, 0.0
"""Chosen on validation, with ``volume.box``: docs/model_card.md has the table."""

ELLIPSE_PRIOR = 3.0
ROUND_MODALITIES = ("Dermoscopy", "Fundus", "PET")
"""Where validation gains by a geometric prior; elsewhere it loses."""

OPSET = 17
"""ONNX operators: 16 brought GridSample, 17 is read by every engine of the last years."""

TOLERANCE = 1e-4
"""Largest relative difference between torch and the exported graphs."""


NAME, VERSION = "medsam-laptop-default", "0.1.0"
"""The bundle that ships."""


def training_record(split: Path, run_dir: Path) -> dict[str, Any]:
    """What a bundle says of its training: the run's configuration and every source with its terms.

    Cases of ``split`` with the word train, by (dims, modality, source).
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    terms: dict[tuple[str, str, str], dict[str, set[str]]] = {}
    for case in read_split(split):
        if case.split == "train":
            counts[case.stratum] += 1
            known = terms.setdefault(case.stratum, {"licence": set(), "redistributable": set()})
            known["licence"].add(case.licence)
            known["redistributable"].add(case.redistributable)
    sources = [
        {
            "dims": stratum[0],
            "modality": stratum[1],
            "source": stratum[2],
            "cases": counts[stratum],
            **{key: sorted(values) for key, values in terms[stratum].items()},
        }
        for stratum in sorted(counts)
    ]
    return {
        "split": split.name,
        "split_sha256": hashlib.sha256(split.read_bytes()).hexdigest(),
        "warm_start": "MobileNetV2 of DeepLab v3, PASCAL VOC (Google Coral, Apache-2.0)",
        "config": json.loads((run_dir / "config.json").read_text()),
        "sources": sources,
    }


def export_bundle(run_dir: Path, folder: Path, split: Path) -> None:
    """Write the averaged weights of a run as a bundle.

    Raises:
        RuntimeError: an exported graph does not give torch's numbers.
    """
    state = torch.load(run_dir / "last.pt", weights_only=True)
    model = PromptedSegmenter(ModelConfig(region_size=REGION.side))
    model.load_state_dict(state["average"])
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    image = torch.rand(1, 3, config.input_size, config.input_size) * 255
    with torch.no_grad():
        embedding = model.encoder(image)
    n = 3
    low = torch.rand(n, 2) * 100
    boxes = torch.cat([low, low + 20 + torch.rand(n, 2) * 100], 1)
    regions = torch.cat([boxes[:, :2] - 12, boxes[:, 2:] + 12], 1)
    crops = torch.rand(n, 4, config.region_size, config.region_size)
    crops[:, :3] *= 255
    inputs = {
        "embedding": embedding,
        "crops": crops,
        "regions": regions,
        "boxes": boxes,
        "context": torch.rand(n, 2),
    }
    export_graph(model.encoder, {"image": image}, folder / "encoder.onnx", "embedding", ())
    export_graph(model.decoder, inputs, folder / "decoder.onnx", "logits", tuple(inputs)[1:])
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("encoder.onnx", "decoder.onnx")
    }
    spec = {
        "encoder": "encoder.onnx",
        "decoder": "decoder.onnx",
        "input_size": config.input_size,
        "resize": "longest-side",
        "normalisation": {"kind": "none"},
        "box_frame": "edges",
        "boxes_at_once": 1,
        "region": asdict(REGION),
        "threshold": THRESHOLD_2D,
        "clip_to_box": True,
        "volume": {"channels": "neighbours", "box": "given", "threshold": THRESHOLD_3D},
    }
    content = {
        "schema": 1,
        "name": NAME,
        "version": VERSION,
        "models": {"general": spec, "round": {**spec, "ellipse_prior": ELLIPSE_PRIOR}},
        "routing": {"default": "general", **dict.fromkeys(ROUND_MODALITIES, "round")},
        "files": files,
        "training": {**training_record(split, run_dir), "steps_done": state["step"]},
    }
    (folder / "bundle.json").write_text(json.dumps(content, indent=2) + "\n")


def sources_table(folder: Path) -> str:
    """Markdown: what a bundle was trained on, one row a source."""
    sources = json.loads((folder / "bundle.json").read_text())["training"]["sources"]
    lines = [
        "| | modality | source | cases | redistributable | terms |",
        "| --- | --- | --- | ---: | --- | --- |",
    ]
    for source in sources:
        words = [source["dims"], source["modality"], source["source"], str(source["cases"])]
        words += ["; ".join(source["redistributable"]), "; ".join(source["licence"])]
        lines.append("| " + " | ".join(word.replace("|", "/") for word in words) + " |")
    return "\n".join(lines) + "\n"


def record_accuracy(folder: Path, accuracy: dict[str, Any]) -> None:
    """Add what ``validate`` measured to ``bundle.json``."""
    path = folder / "bundle.json"
    content = {**json.loads(path.read_text()), "accuracy": accuracy}
    path.write_text(json.dumps(content, indent=2) + "\n")


def export_graph(
    module: nn.Module,
    inputs: dict[str, torch.Tensor],
    path: Path,
    output: str,
    batched: tuple[str, ...],
) -> None:
    """Export one module and compare ONNX Runtime's answer with torch's."""
    axes = {name: {0: "boxes"} for name in (*batched, *((output,) if batched else ()))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
        )
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {k: v.numpy() for k, v in inputs.items()})[0]
    with torch.no_grad():
        expected = module(*inputs.values()).numpy()
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    log.info(
        "%s: %.1f MB, largest relative difference to torch %.1e",
        path.name,
        path.stat().st_size / 1e6,
        difference,
    )
    if difference > TOLERANCE:
        raise RuntimeError(f"{path}: expected torch's numbers to {TOLERANCE}, found {difference}")
