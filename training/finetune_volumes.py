"""Train the network that answers whole boxes of volumes; stops and goes on at any step."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.rules import VolumeRegionRule
from training.checkpoint import averaged_weights
from training.devices import Place, place_of
from training.errors import CheckpointError, reason_of
from training.losses import volume_loss
from training.optimisation import Objective, Run, Weights, fast_format
from training.recipe import VOLUME_REGION, VolumeModelConfig, VolumesConfig
from training.samples import batches
from training.store import read_store
from training.volume_model import VolumeNetwork
from training.volume_samples import VolumeSampleSet, collate_volumes


def volume_rule(model: VolumeModelConfig) -> VolumeRegionRule:
    """The regions of a network."""
    return replace(VOLUME_REGION, grid=model.grid)


class VolumeObjective(Objective):
    """The loss of a :class:`VolumeNetwork`."""

    def __init__(self, network: VolumeNetwork) -> None:
        super().__init__(network)
        self.format = fast_format(network)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch of :func:`training.volume_samples.collate_volumes`."""
        crops, place = (batch[k].contiguous(memory_format=self.format) for k in ("crops", "place"))
        logits = self.network(crops, place).float()
        return volume_loss(logits, batch["targets"], batch["inside"])


class VolumesTask:
    """Boxes of the training volumes."""

    def __init__(self, store_dir: Path, config: VolumesConfig) -> None:
        self.store_dir, self.config = store_dir, config
        self.network = VolumeNetwork(config.model)
        self.model = VolumeObjective(self.network)

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """One rate for everything."""
        return [(list(self.network.parameters()), self.config.rate)]

    def batches(self, steps: range, place: Place) -> Iterator[dict[str, Tensor]]:
        """Samples of the training volumes."""
        config = self.config
        cases = read_store(self.store_dir, "train")
        samples = VolumeSampleSet(cases, volume_rule(config.model), config.seed, config.samples)
        workers = config.device.workers
        per_step, world = config.images_per_step, place.world
        return batches(samples, steps, per_step, workers, place.rank, world, collate_volumes)

    def validate(self, step: int, average: Weights) -> dict[str, Any] | None:
        """Not while training: a bundle with the network is what ``validate`` is asked about."""
        return None


def finetune_volumes(
    store_dir: Path, run_dir: Path, config: VolumesConfig, start_from: Path | None = None
) -> Path:
    """Run or go on with a training; returns the checkpoint with the averaged weights.

    Args:
        start_from: a checkpoint whose averaged weights are the beginning; optimiser, schedule and
            samples begin anew.
    """
    with place_of(config.device) as place:
        torch.manual_seed(config.seed)
        task = VolumesTask(store_dir, config)
        if start_from is not None and not (run_dir / "last.pt").exists():
            try:
                task.network.load_state_dict(averaged_weights(start_from))
            except RuntimeError as error:
                raise CheckpointError(
                    f"{start_from}: expected this network, found: {reason_of(error)}"
                ) from error
        return Run(task, config, place, run_dir).finish()
