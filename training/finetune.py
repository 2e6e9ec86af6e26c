"""Train encoder and decoder together on masks; stops and goes on at any step."""

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoint import averaged_weights
from training.devices import Place, place_of
from training.efficientnet import LiteBackbone
from training.errors import CheckpointError, ConfigError, reason_of
from training.losses import iou_loss, mask_loss
from training.model import PromptedSegmenter
from training.optimisation import Objective, Run, Weights
from training.recipe import ExportConfig, FinetuneConfig, LossConfig, region_of
from training.samples import SampleSet, batches
from training.store import StoredCase, read_store

log = logging.getLogger(__name__)


def sample_set(store_dir: Path, config: FinetuneConfig) -> SampleSet:
    """The samples of a run."""
    return SampleSet(
        read_store(store_dir, "train"),
        config.model.input_size,
        region_of(config.model),
        config.regions_per_image,
        config.seed,
        config.samples,
    )


class MaskObjective(Objective):
    """The loss of a :class:`PromptedSegmenter`."""

    def __init__(self, segmenter: PromptedSegmenter, config: LossConfig) -> None:
        super().__init__(segmenter)
        self.config = config

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch."""
        logits, expected = self.network(batch)
        logits = logits.float()
        loss = mask_loss(logits, batch["targets"], self.config, batch["boxes"])
        if expected is None:
            return loss
        return loss + self.config.iou_weight * iou_loss(expected.float(), logits, batch["targets"])


class FinetuneTask:
    """Masks of the training cases; validation by exported graphs."""

    def __init__(
        self, store_dir: Path, run_dir: Path, config: FinetuneConfig, export: ExportConfig
    ) -> None:
        self.store_dir, self.run_dir, self.config, self.export = store_dir, run_dir, config, export
        segmenter = PromptedSegmenter(config.model)
        segmenter.encoder.freeze(config.frozen_blocks)
        self.segmenter = segmenter
        self.model = MaskObjective(segmenter, config.loss)

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """The warm-started backbone at the encoder's rate, everything new at the decoder's."""
        encoder = self.segmenter.encoder
        backbone = [*encoder.stem.parameters(), *encoder.blocks.parameters()]
        for eyes in eyes_of(self.segmenter):
            backbone += eyes.parameters()
        known = {id(p) for p in backbone}
        rest = [p for p in self.segmenter.parameters() if id(p) not in known]
        return [(backbone, self.config.encoder_rate), (rest, self.config.decoder_rate)]

    def batches(self, steps: range, place: Place) -> Iterator[dict[str, Tensor]]:
        """Samples of the training cases."""
        config = self.config
        samples = sample_set(self.store_dir, config)
        workers = config.device.workers
        return batches(samples, steps, config.images_per_step, workers, place.rank, place.world)

    def validate(self, step: int, average: Weights) -> dict[str, Any] | None:
        """DSC through exported graphs: mean over modalities of 2D and of 3D, and their mean."""
        config = self.config
        if not config.validate_every or (step % config.validate_every and step != config.steps):
            return None
        from training.validate import mean_scores

        cases = some_cases(read_store(self.store_dir, "val"), config)
        return mean_scores(self.exported(average), cases) if cases else None

    def exported(self, average: Weights) -> Path:
        """The averaged weights as a bundle in the run's folder."""
        from training.export import write_bundle

        folder = self.run_dir / "candidate"
        shutil.rmtree(folder, ignore_errors=True)
        weights = {k: v.cpu() for k, v in average.items()}
        write_bundle(weights, self.config.model, folder, self.export)
        return folder


def some_cases(cases: list[StoredCase], config: FinetuneConfig) -> list[StoredCase]:
    """At most ``validate_cases`` of every (dims, modality), the first of each source first, so that
    few cases are of many sources."""
    wanted = config.samples.modalities
    places: dict[tuple[str, str, str], int] = defaultdict(int)
    ranked: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for i, case in enumerate(cases):
        if not wanted or case.info.modality in wanted:
            ranked[case.info.dims, case.info.modality].append((places[case.info.stratum], i))
            places[case.info.stratum] += 1
    kept = [i for members in ranked.values() for _, i in sorted(members)[: config.validate_cases]]
    return [cases[i] for i in sorted(kept)]


def finetune(
    store_dir: Path,
    run_dir: Path,
    config: FinetuneConfig,
    warm_start: Path | None = None,
    start_from: Path | None = None,
    export: ExportConfig | None = None,
    pretrained: Path | None = None,
) -> Path:
    """Run or go on with a training; returns the checkpoint with the averaged weights.

    ``run_dir`` gets config.toml, log.jsonl, curves.svg, last.pt (weights, their running average,
    optimiser, step) and, where the run validates, best.pt (averaged weights alone).

    Args:
        warm_start: MobileNetV2 for the encoder (npz).
        start_from: a checkpoint whose averaged weights are the beginning; the optimiser, the
            schedule and the samples begin anew (a warm restart).
        pretrained: EfficientNet-Lite2 for a decoder of that kind.
    """
    if warm_start is not None and start_from is not None:
        raise ConfigError("--warm-start, --start-from: expected at most one, found both")
    with place_of(config.device) as place:
        torch.manual_seed(config.seed)
        task = FinetuneTask(store_dir, run_dir, config, export or ExportConfig())
        if not (run_dir / "last.pt").exists():
            if warm_start is not None:
                task.segmenter.encoder.load_mobilenet(warm_start)
            if start_from is not None:
                start_with(task.segmenter, start_from)
            if pretrained is not None:
                load_pretrained(task.segmenter, pretrained)
        return Run(task, config, place, run_dir).finish()


def start_with(segmenter: PromptedSegmenter, path: Path) -> None:
    """Load a checkpoint's averaged weights; a head that it lacks keeps its random ones.  For a
    pretrained decoder the checkpoint may have a plain one, which is left out, and told.

    Raises:
        CheckpointError: it is of another network.
    """
    weights, may_lack = averaged_weights(path), "decoder.iou_head."
    is_plain = any(name.startswith("decoder.fine.") for name in weights)
    if segmenter.config.decoder == "pretrained" and is_plain:
        log.info("%s has a plain decoder: the pretrained one begins anew", path)
        weights = {k: v for k, v in weights.items() if not k.startswith("decoder.")}
        may_lack = "decoder."
    try:
        found = segmenter.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: expected this network, found: {reason_of(error)}"
        ) from error
    lacking = [k for k in found.missing_keys if not k.startswith(may_lack)]
    if lacking or found.unexpected_keys:
        names = [*lacking, *found.unexpected_keys][:3]
        raise CheckpointError(f"{path}: expected this network's weights, they differ in {names}")


def load_pretrained(segmenter: PromptedSegmenter, path: Path) -> None:
    """Start a decoder's eyes from a file of weights.

    Raises:
        ConfigError: the decoder has none.
        CheckpointError: the file is none of theirs.
    """
    eyes = eyes_of(segmenter)
    if not eyes:
        found = segmenter.config.decoder
        raise ConfigError(f"--pretrained: expected a pretrained model.decoder, found {found}")
    for backbone in eyes:
        backbone.load(path)


def eyes_of(segmenter: PromptedSegmenter) -> list[LiteBackbone]:
    """The pretrained parts of a decoder, none of a plain one."""
    return [m for m in segmenter.decoder.modules() if isinstance(m, LiteBackbone)]
