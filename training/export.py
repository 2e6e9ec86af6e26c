"""A checkpoint into a bundle: graphs, bundle.json, and how near their numbers are to torch's."""

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.bundle_record import (
    CONFIG_FILE,
    LOG_FILE,
    graph_digests,
    replace_folder,
    sources_of,
    write_json,
)
from training.checkpoint import best_checkpoint, load_state
from training.configuration import as_values, read_config, write_config
from training.errors import CheckpointError, reason_of
from training.half_weights import fold_batch_norms, round_to_half, store_half
from training.model import PromptedSegmenter
from training.recipe import ExportConfig, FinetuneConfig, ModelConfig, region_of
from training.run_log import read_lines, run_seconds, shortened_log
from training.store import StoredCase

log = logging.getLogger(__name__)


def export_bundle(
    run_dir: Path,
    folder: Path,
    split: Path | None = None,
    config: ExportConfig | None = None,
    cases: Sequence[StoredCase] = (),
    checkpoint: Path | None = None,
) -> None:
    """Write the averaged weights of a run as a bundle, in place of what is at ``folder``.

    Args:
        split: its training cases become ``training.sources``.
        cases: where torch and the graphs are compared, beside random numbers.
        checkpoint: default: best.pt where the run validated, else last.pt.

    Raises:
        CheckpointError: there is no checkpoint, or it is not of the run's network.
        RuntimeError: an exported graph does not give torch's numbers.
    """
    config = config or ExportConfig()
    path = checkpoint or best_checkpoint(run_dir)
    state, run = load_state(path), run_config(run_dir)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model = write_bundle(state["average"], run.model, partial, config)
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise CheckpointError(
            f"{path}: expected this network's weights, found: {reason_of(error)}"
        ) from None
    content = json.loads((partial / "bundle.json").read_text())
    content["training"] = {
        **training_record(run_dir, run, split, config),
        "checkpoint": path.name,
        "steps_done": state.get("step"),
    }
    if cases:
        from training.numerics import compare

        few = cases[: config.compared_cases]
        content["numerics"] = compare(model, partial, few, config.tolerance)
    keep_log(run_dir, run, partial)
    write_json(content, partial / "bundle.json")
    replace_folder(partial, folder)


def run_config(run_dir: Path) -> FinetuneConfig:
    """The configuration of a run; runs before 0.2 kept it in config.json, flat."""
    if (run_dir / "config.toml").exists():
        return read_config(FinetuneConfig, run_dir / "config.toml")
    old = run_dir / "config.json"
    if not old.exists():
        raise CheckpointError(f"{run_dir}: expected a run's folder with config.toml, found none")
    values = json.loads(old.read_text())
    device = {k: values.pop(k) for k in ("threads", "workers") if k in values}
    flags = {**values, **{f"device.{k}": v for k, v in device.items()}}
    return read_config(FinetuneConfig, None, flags)


def keep_log(run_dir: Path, run: FinetuneConfig, folder: Path) -> None:
    """The run's log, thinned, and its configuration into the bundle."""
    lines = shortened_log(read_lines(run_dir / "log.jsonl"))
    (folder / LOG_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_config(run, folder / CONFIG_FILE)


def training_record(
    run_dir: Path, run: FinetuneConfig, split: Path | None, config: ExportConfig
) -> dict[str, Any]:
    """What a bundle says of its training: configuration, time, torch, every source's terms."""
    record: dict[str, Any] = {
        "warm_start": config.warm_start,
        "config": as_values(run),
        "log": LOG_FILE,
        "seconds": round(run_seconds(read_lines(run_dir / "log.jsonl"))),
        "torch": torch.__version__,
    }
    if split is not None:
        record["split"] = split.name
        record["split_sha256"] = hashlib.sha256(split.read_bytes()).hexdigest()
        record["sources"] = sources_of(split)
    return record


def write_bundle(
    weights: Mapping[str, Tensor], model: ModelConfig, folder: Path, config: ExportConfig
) -> PromptedSegmenter:
    """Graphs and bundle.json of averaged weights, nothing about the run; returns torch's model with
    the weights that are stored."""
    segmenter = PromptedSegmenter(model)
    segmenter.load_state_dict(dict(weights))
    segmenter.eval()
    fold_batch_norms(segmenter)
    if config.weights == "f16":
        round_to_half(segmenter)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".onnx" if config.format == "onnx" else ".xml"
    encoder, decoder = folder / f"encoder{suffix}", folder / f"decoder{suffix}"
    asked = random_inputs(segmenter)
    image, outputs = asked.pop("image"), ["logits", *(["iou"] if model.iou_head else [])]
    with torch.no_grad():
        asked = {"embedding": segmenter.encoder(image), **asked}
    batched = tuple(asked)[1:]
    export_graph(segmenter.encoder, {"image": image}, encoder, ["embedding"], (), config)
    export_graph(segmenter.decoder, asked, decoder, outputs, batched, config)
    write_json(bundle_content(folder, encoder.name, decoder.name, model, config),
               folder / "bundle.json")  # fmt: skip
    return segmenter


def random_inputs(segmenter: PromptedSegmenter, n: int = 3) -> dict[str, Tensor]:
    """An image and the questions about ``n`` boxes of it, always the same; no embedding."""
    dice = torch.Generator().manual_seed(0)
    config = segmenter.config
    side = config.input_size
    low = torch.rand(n, 2, generator=dice) * 0.4 * side
    boxes = torch.cat([low, low + (0.08 + 0.4 * torch.rand(n, 2, generator=dice)) * side], 1)
    region = config.region_size
    crops = torch.rand(n, 4, region, region, generator=dice)
    crops[:, :3] *= 255
    asked = {
        "image": torch.rand(1, 3, side, side, generator=dice) * 255,
        "crops": crops,
        "regions": torch.cat([boxes[:, :2] - 0.05 * side, boxes[:, 2:] + 0.05 * side], 1),
        "boxes": boxes,
        "context": torch.rand(n, 2, generator=dice),
    }
    if config.others:
        shown = torch.rand(n, 2, region, region, generator=dice)
        asked["crops"] = torch.cat([crops, shown], 1)
    return asked


def bundle_content(
    folder: Path, encoder: str, decoder: str, model: ModelConfig, config: ExportConfig
) -> dict[str, Any]:
    """bundle.json: a general model, and the same with the geometric prior where it pays."""
    spec = {
        "encoder": encoder,
        "decoder": decoder,
        "input_size": model.input_size,
        "resize": "longest-side",
        "normalisation": {"kind": "none"},
        "box_frame": "edges",
        "boxes_at_once": 1,
        "region": asdict(region_of(model)),
        "threshold": config.threshold_2d,
        "clip_to_box": True,
        "overlap": config.overlap,
        "volume": {
            "channels": "neighbours",
            "box": "given",
            "threshold": config.threshold_3d,
            "views": config.volume_views,
            "ellipsoid_prior": config.ellipsoid_prior,
        },
    }
    if config.tight != "none":
        spec["tight"] = {
            "told": config.tight,
            "gap": config.tight_gap,
            "threshold": config.tight_threshold,
            "together": config.tight_together,
        }
    models, routing = {"general": spec}, {"default": "general"}
    for modality, weight in config.ellipse_priors.items():
        name = f"ellipse-{weight:g}"
        models[name] = {**spec, "ellipse_prior": weight}
        routing[modality] = name
    return {
        "schema": 2,
        "name": config.name,
        "version": config.version,
        "weights": config.weights,
        "models": models,
        "routing": routing,
        "files": graph_digests(folder),
    }


def export_graph(
    module: nn.Module,
    inputs: dict[str, Tensor],
    path: Path,
    outputs: list[str],
    batched: tuple[str, ...],
    config: ExportConfig | None = None,
) -> None:
    """Export one module and compare the engine's answer with torch's; ``.xml``: OpenVINO IR.

    Raises:
        RuntimeError: the largest relative difference is above the configuration's tolerance.
    """
    config = config or ExportConfig()
    onnx_path = path.with_suffix(".onnx")
    axes = {name: {0: "boxes"} for name in (*batched, *(outputs if batched else ()))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(onnx_path),
            opset_version=config.opset,
            dynamo=False,  # its encoder runs faster in ONNX Runtime than the new exporter's
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
        )
    if config.weights == "f16":
        store_half(onnx_path)
    if path.suffix == ".xml":
        import openvino

        # Read, not converted, which would turn halves back; not its own compression, which rounds
        # biases and constants, too.
        openvino.save_model(openvino.Core().read_model(onnx_path), path, compress_to_fp16=False)
        onnx_path.unlink()
    with torch.no_grad():
        answer = module(*inputs.values())
    expected = (answer[0] if isinstance(answer, tuple) else answer).numpy()
    found = run_graph(path, {k: v.numpy() for k, v in inputs.items()})
    difference = relative_difference(found, expected)
    size = sum(p.stat().st_size for p in (path, path.with_suffix(".bin")) if p.exists())
    log.info("%s: %.1f MB, off torch by %.1e at most", path.name, size / 1e6, difference)
    if not difference <= config.tolerance:  # so that NaN is none
        raise RuntimeError(
            f"{path}: expected torch's numbers to {config.tolerance}, found {difference}"
        )


def run_graph(path: Path, inputs: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The first output of a graph: ONNX in ONNX Runtime, IR in OpenVINO."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, dict(inputs))[0])
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(dict(inputs))[0])


def relative_difference(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
