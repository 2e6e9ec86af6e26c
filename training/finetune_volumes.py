"""Train the network that answers whole boxes of volumes; stops and goes on at any step."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.rules import VolumeRegionRule
from training.checkpoint import averaged_weights
from training.devices import Place, place_of
from training.errors import CheckpointError
from training.losses import volume_loss
from training.optimisation import Run, Weights, fast_format
from training.recipe import VOLUME_REGION, VolumeModelConfig, VolumesConfig
from training.store import read_store
from training.volume_model import VolumeNetwork
from training.volume_samples import VolumeSampleSet, volume_batches


def volume_rule(model: VolumeModelConfig) -> VolumeRegionRule:
    """The regions of a network."""
    return replace(VOLUME_REGION, grid=model.grid)


class VolumeObjective(nn.Module):
    """A network and its loss, so that one forward pass gives what is to be made small."""

    def __init__(self, network: VolumeNetwork) -> None:
        super().__init__()
        self.network, self.format = network, fast_format(network)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch of :func:`training.volume_samples.collate_volumes`."""
        crops, place = (batch[k].contiguous(memory_format=self.format) for k in ("crops", "place"))
        logits = self.network(crops, place).float()
        return volume_loss(logits, batch["targets"], batch["inside"])

    # Checkpoints hold the network alone: the objective has no weights of its own.
    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Into the network."""
        return self.network.load_state_dict(state_dict, strict, assign)


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
        return volume_batches(
            samples, steps, config.images_per_step, workers, place.rank, place.world
        )

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
                reason = " ".join(str(error).split())[:160]
                raise CheckpointError(
                    f"{start_from}: expected this network, found: {reason}"
                ) from error
        return Run(task, config, place, run_dir).finish()
