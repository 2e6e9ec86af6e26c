"""INT8 graphs by NNCF, layers that cost accuracy left in float32, and what each precision costs.

Post-training quantisation with accuracy control
(``nncf.quantize_with_accuracy_control``): calibrated on training cases, controlled on validation
cases.  The control's score is the DSC on the graph's own grid, with the other graphs in float32;
what the whole bundle loses is measured afterwards by ``validate``'s metric on whole cases.
"""

import functools
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import inference
from inference.bundle_file import read_bundle
from inference.precision import has_bf16
from inference.rules import VolumeRegionRule
from inference.volume_region import cell_weights, region_inputs, sample_volume, volume_region
from training.bundle_record import graph_digests, replace_folder, write_json
from training.errors import TrainingError
from training.half_weights import store_whole
from training.numerics import BOXES_PER_CASE, plain_sample, questions
from training.prompts import volume_boxes
from training.recipe import QuantiseConfig
from training.store import StoredCase, read_store
from training.validate import accuracy_summary, validate

log = logging.getLogger(__name__)

FLOAT_OPERATIONS = (
    *("Mul", "Sub", "Div", "Add", "Clip"),
    *("GridSample", "Concat", "Resize"),
)
"""Never quantised: coordinates of boxes and regions pass through them, and a coordinate in eight
bits is off by a pixel of the input.  With them quantised the decoder of 0.1.0 loses 0.18 DSC on its
grid (10 validation cases), and turning single layers back does not mend it; with convolutions alone
it loses nothing that those cases show."""

Inputs = dict[str, NDArray[np.float32]]


def quantise(bundle: Path, store_dir: Path, folder: Path, config: QuantiseConfig) -> None:
    """Write the bundle at ``folder`` with INT8 graphs (ONNX, so both engines run them).

    Raises:
        TrainingError: NNCF is not installed, the bundle has no regions, or is no ONNX; it answers
            whole boxes of volumes, and the cases drawn for calibration or control hold none.
    """
    general = read_bundle(bundle).models[read_bundle(bundle).routing["default"]]
    if general.region is None or Path(general.encoder).suffix != ".onnx":
        raise TrainingError(f"{bundle}: expected ONNX graphs that answer in regions")
    dice = np.random.default_rng(config.seed)
    calibration = some(read_store(store_dir, "train"), config.calibration_cases, dice)
    validation = some(read_store(store_dir, "val"), config.validation_cases, dice)
    region = general.region
    model = inference.load(bundle, "onnxruntime").model()

    def asked(cases: Sequence[StoredCase]) -> Iterable[tuple[Inputs, list[Inputs], Any]]:
        for case in cases:
            sample = plain_sample(case, general.input_size, region)
            image = {"image": sample.image[None]}
            embedding = model.encoder.run(image)[0]
            objects = range(len(sample.boxes))
            yield image, [{"embedding": embedding, **questions(sample, i)} for i in objects], sample

    rule = general.volume_region
    boxes_calibrating, boxes_validating = (
        [] if rule is None else [item for case in cases for item in box_questions(case, rule)]
        for cases in (calibration, validation)
    )
    if rule is not None and not (boxes_calibrating and boxes_validating):
        raise TrainingError("store: expected volumes among the cases, found none")
    calibrating, validating = list(asked(calibration)), list(asked(validation))
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundle, partial)

    def encoder_score(run: Callable[[Inputs], Any], items: Iterable[Any]) -> list[float]:
        scores = []
        for image, objects, sample in items:
            embedding = run(image)
            found = [model.decoder.run({**o, "embedding": embedding})[0] for o in objects]
            scores.append(grid_dice(found, sample.targets, general.threshold))
        return scores

    def decoder_score(run: Callable[[Inputs], Any], items: Iterable[Any]) -> list[float]:
        return [
            grid_dice([run(o) for o in objects], sample.targets, general.threshold)
            for _, objects, sample in items
        ]

    quantise_graph(
        partial / general.encoder, [i for i, _, _ in calibrating], validating, encoder_score, config
    )
    quantise_graph(
        partial / general.decoder, [o for _, objects, _ in calibrating for o in objects],
        validating, decoder_score, config,
    )  # fmt: skip
    if rule is not None:
        quantise_graph(
            partial / rule.graph, [i for i, _ in boxes_calibrating], boxes_validating,
            functools.partial(volume_score, rule.threshold), config,
        )  # fmt: skip
    content = json.loads((partial / "bundle.json").read_text())
    content["files"] = graph_digests(partial)
    content["precision"] = "int8"
    write_json(content, partial / "bundle.json")
    replace_folder(partial, folder)


def some(cases: list[StoredCase], count: int, dice: np.random.Generator) -> list[StoredCase]:
    """At most ``count`` cases, every (dims, modality) alike as far as there are so many."""
    order = dice.permutation(len(cases))
    seen: dict[tuple[str, str], int] = {}
    ranked = []
    for i in order:
        key = (cases[i].info.dims, cases[i].info.modality)
        seen[key] = seen.get(key, 0) + 1
        ranked.append((seen[key], int(i)))
    return [cases[i] for _, i in sorted(ranked)[:count]]


def box_questions(
    case: StoredCase, rule: VolumeRegionRule
) -> list[tuple[Inputs, NDArray[np.float32]]]:
    """What the graph of whole boxes is asked about the first objects of a volume, and the share of
    the object in each cell, (1, Z, Y, X); of a picture nothing."""
    if not case.is_volume:
        return []
    found = []
    for label, (x0, y0, z0, x1, y1, z1) in list(volume_boxes(case).items())[:BOXES_PER_CASE]:
        box = (float(x0), float(y0), float(z0), x1 + 1.0, y1 + 1.0, z1 + 1.0)
        region = volume_region(box, rule)
        weights = cell_weights(region, case.gts.shape, rule.grid)
        target = sample_volume(np.asarray(case.gts) == label, weights)
        asked = region_inputs(np.asarray(case.imgs), region, box, rule.grid)
        found.append((asked, target[None]))
    return found


def volume_score(
    threshold: float, run: Callable[[Inputs], Any], items: Iterable[Any]
) -> list[float]:
    """DSC of each of :func:`box_questions` on the cells."""
    return [grid_dice([run(asked)], target, threshold) for asked, target in items]


def grid_dice(logits: list[Any], targets: NDArray[np.float32], threshold: float) -> float:
    """Mean DSC on the graph's grid; two empty masks agree (1)."""
    scores = []
    for found, wanted in zip(logits, targets > 0.5, strict=True):
        mask = np.asarray(found)[0] > threshold
        total = int(mask.sum()) + int(wanted.sum())
        scores.append(1.0 if total == 0 else 2 * int((mask & wanted).sum()) / total)
    return float(np.mean(scores))


def quantise_graph(
    path: Path,
    calibration: list[Inputs],
    validation: list[Any],
    score: Callable[[Callable[[Inputs], Any], Iterable[Any]], list[float]],
    config: QuantiseConfig,
) -> None:
    """Quantise one ONNX file in place; layers are turned back until ``score`` holds."""
    before = path.stat().st_size
    try:
        import nncf
    except ImportError as error:
        raise TrainingError(f"nncf: expected to be installed, found: {error}") from error
    import onnx
    import onnxruntime

    def runner(model: Any) -> Callable[[Inputs], Any]:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = {port.name for port in session.get_inputs()}
        return lambda inputs: session.run(None, {k: inputs[k] for k in names})[0]

    def scored(model: Any, items: Iterable[Any]) -> tuple[float, list[float]]:
        values = score(runner(model), items)
        return float(np.mean(values)), values

    store_whole(path)  # NNCF looks for weights where they are used, not behind a Cast
    found = nncf.quantize_with_accuracy_control(
        onnx.load(path),
        calibration_dataset=nncf.Dataset(calibration),
        validation_dataset=nncf.Dataset(validation),
        validation_fn=scored,
        max_drop=config.max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(types=list(FLOAT_OPERATIONS), validate=False),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=config.max_reverted
        ),
    )
    onnx.save(found, path)
    log.info("%s: %.1f MB to %.1f MB", path.name, before / 1e6, path.stat().st_size / 1e6)


def precision_costs(
    bundle: Path, cases: Sequence[StoredCase], int8: Path | None = None
) -> dict[str, Any]:
    """DSC of each precision (mean over modalities, tight boxes) and what it loses to f32.

    bf16 is measured where OpenVINO takes it; on a processor without bf16 it computes in float32,
    and ``bf16_native`` says so.
    """
    runs: dict[str, Any] = {"f32": inference.load(bundle, precision="f32")}
    runs["bf16"] = inference.load(bundle, precision="bf16")
    if int8 is not None:
        runs["int8"] = inference.load(int8, precision="f32")
    scores: dict[str, dict[str, float]] = {}
    for name, segmenter in runs.items():
        summary = accuracy_summary(validate(segmenter, cases, with_nsd=False))
        scores[name] = {dims: table["mean"]["dsc"] for dims, table in summary.items()}
    costs = {
        name: {
            dims: {"dsc": dsc, "loss": round(scores["f32"][dims] - dsc, 4)}
            for dims, dsc in found.items()
        }
        for name, found in scores.items()
    }
    return {"cases": len(cases), "bf16_native": has_bf16(), **costs}
