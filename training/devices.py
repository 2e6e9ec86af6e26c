"""Where a run computes: one CPU, one GPU, or several processes under ``torchrun``."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from training.errors import ConfigError
from training.recipe import DeviceConfig


@dataclass(frozen=True)
class Place:
    """This process among those of a run."""

    device: torch.device
    precision: str
    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process logs, validates and writes."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision of a forward pass."""
        if self.precision == "f32":
            return contextlib.nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, kind)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling: needed by fp16 alone, passes everything through otherwise."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def put(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch on this device."""
        return {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}

    def spread(self, module: nn.Module) -> nn.Module:
        """``module`` with gradients averaged over all processes.

        Batch-norm statistics stay those of each process; the first one's are stored.
        """
        if self.world == 1:
            return module
        on_gpu = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=on_gpu)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            distributed.barrier()


@contextlib.contextmanager
def place_of(config: DeviceConfig) -> Iterator[Place]:
    """The place of this process; joins the others where ``torchrun`` started several.

    Raises:
        ConfigError: cuda is asked for and there is none, or fp16 on a CPU.
    """
    has_cuda = torch.cuda.is_available()
    kind = config.device if config.device != "auto" else "cuda" if has_cuda else "cpu"
    if kind == "cuda" and not has_cuda:
        raise ConfigError("device.device: expected cpu or a GPU that torch finds, found cuda")
    if kind == "cpu" and config.precision == "fp16":
        raise ConfigError("device.precision: expected f32 or bf16 on a CPU, found fp16")
    torch.set_num_threads(config.threads)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if kind == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if world == 1:
        yield Place(device, config.precision)
        return
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Place(device, config.precision, rank, world)
    finally:
        distributed.destroy_process_group()
