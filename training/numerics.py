"""How near a bundle's graphs are to torch on real cases, in both engines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import inference
from inference.engine import EngineName
from inference.other_boxes import OtherBoxes
from inference.prompt import box_edges
from inference.rules import RegionRule
from inference.volume import neighbour_slices
from training.errors import TrainingError
from training.model import PromptedSegmenter
from training.prompts import DrawnPrompt, volume_boxes
from training.recipe import region_of
from training.samples import Sample, assemble
from training.store import StoredCase
from training.validate import tight_boxes

BOXES_PER_CASE = 4
"""Objects of a case that are asked about."""


def plain_sample(case: StoredCase, input_size: int, rule: RegionRule) -> Sample:
    """A case as ``inference`` meets it first: a picture, or the middle slice of the first object's
    box, unchanged; tight boxes, no prior."""
    truth: NDArray[Any] = case.gts
    context = (0.0, 0.0)
    if case.is_volume:
        _, (_, _, low, _, _, high) = min(volume_boxes(case).items())
        z = (low + high) // 2
        picture, truth, context = neighbour_slices(case.imgs, z), case.gts[z], (1.0, 0.0)
    else:
        picture = np.asarray(case.imgs)
    truth = np.unique(np.asarray(truth), return_inverse=True)[1].reshape(truth.shape)
    boxes = tight_boxes(truth)[:BOXES_PER_CASE].astype(float)
    edges = box_edges(boxes)
    prompts = [
        DrawnPrompt(
            (x0, y0, x1, y1),
            context,
            truth == i + 1,
            None,
            None if case.is_volume else OtherBoxes(edges, i),
        )
        for i, (x0, y0, x1, y1) in enumerate(edges.tolist())
    ]
    return assemble(picture.astype(np.float32), prompts, input_size, rule)


def questions(sample: Sample, i: int) -> dict[str, NDArray[np.float32]]:
    """The decoder's inputs for object ``i``, the embedding aside."""
    names = ("crops", "regions", "boxes", "context")
    return {name: getattr(sample, name)[i : i + 1] for name in names}


def compare(
    model: PromptedSegmenter, folder: Path, cases: Sequence[StoredCase], tolerance: float
) -> dict[str, Any]:
    """Largest relative difference of the logits to torch's, and pixels whose side of 0 changes.

    OpenVINO's own float32 kernels differ more than ONNX Runtime's; ten times ``tolerance`` is
    allowed on real pictures, where values pass through both graphs.

    Raises:
        TrainingError: an engine is further from torch than that.
    """
    config, result = model.config, dict[str, Any](cases=len(cases), objects=0)
    rule = region_of(config)
    differences: dict[str, list[float]] = {}
    changed: dict[str, list[float]] = {}
    onnx = (folder / "decoder.onnx").exists()
    engines: list[EngineName] = ["openvino", "onnxruntime"] if onnx else ["openvino"]
    loaded = {name: inference.load(folder, name, "f32").model() for name in engines}
    for case in cases:
        sample = plain_sample(case, config.input_size, rule)
        result["objects"] += len(sample.boxes)
        image = sample.image[None]
        with torch.no_grad():
            embedding = model.encoder(torch.from_numpy(image))
        embedded = {name: one.encoder.run({"image": image})[0] for name, one in loaded.items()}
        for i in range(len(sample.boxes)):
            asked = questions(sample, i)
            with torch.no_grad():
                answer = model.decoder(
                    embedding, **{k: torch.from_numpy(v) for k, v in asked.items()}
                )
            expected = (answer[0] if isinstance(answer, tuple) else answer).numpy()
            for name, one in loaded.items():
                found = one.decoder.run({"embedding": embedded[name], **asked})[0]
                relative = float(np.abs(found - expected).max() / np.abs(expected).max())
                differences.setdefault(name, []).append(relative)
                changed.setdefault(name, []).append(float(((found > 0) != (expected > 0)).mean()))
    for name in engines:
        largest = float(np.max(differences.get(name, [0.0])))  # NaN where one is
        result[name] = {
            "largest_relative_difference": float(f"{largest:.1e}"),
            "pixels_changed": float(f"{np.mean(changed.get(name, [0.0])):.1e}"),
        }
        if not largest <= 10 * tolerance:
            raise TrainingError(
                f"{folder}: {name}: expected torch's logits on real cases to {10 * tolerance}, "
                f"found {largest:.1e}"
            )
    return result
