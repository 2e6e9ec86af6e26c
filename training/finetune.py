"""Train encoder and decoder together on masks; stops and goes on at any step."""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from inference.prompt import RegionRule
from training.model import ModelConfig, PromptedSegmenter
from training.samples import SampleStream, collate
from training.store import read_store

log = logging.getLogger(__name__)

REGION = RegionRule(side=96, margin=0.2, max_aspect=2.0, min_pixels=12.0)
"""The default model's regions; written into its bundle."""


@dataclass(frozen=True)
class FinetuneConfig:
    """What a run is made of; stored beside its checkpoints."""

    steps: int = 4000
    images_per_step: int = 12
    regions_per_image: int = 4
    encoder_rate: float = 3e-4
    decoder_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 200
    frozen_blocks: int = 3
    average_decay: float = 0.998
    seed: int = 1
    threads: int = 2
    workers: int = 1
    checkpoint_every: int = 200


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice, every region alike; both on the region's grid (N, R, R)."""
    bce = functional.binary_cross_entropy_with_logits(logits, targets)
    p = logits.sigmoid()
    overlap = (p * targets).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / ((p * p).sum((1, 2)) + (targets * targets).sum((1, 2)) + 1)
    return bce + dice.mean()


def rate_at(step: int, config: FinetuneConfig) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 1 %."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def finetune(
    store_dir: Path, run_dir: Path, config: FinetuneConfig, warm_start: Path | None
) -> Path:
    """Run or go on with a training; returns the checkpoint with the averaged weights.

    ``run_dir`` gets config.json, log.jsonl and last.pt (weights, their running average, optimiser,
    step).
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    model = PromptedSegmenter(ModelConfig(region_size=REGION.side))
    if warm_start is not None:
        model.encoder.load_mobilenet(warm_start)
    model.encoder.freeze(config.frozen_blocks)
    model = model.to(memory_format=torch.channels_last)
    backbone = [*model.encoder.stem.parameters(), *model.encoder.blocks.parameters()]
    known = {id(p) for p in backbone}
    rest = [p for p in model.parameters() if id(p) not in known]
    groups = [
        {"params": backbone, "lr": config.encoder_rate, "peak": config.encoder_rate},
        {"params": rest, "lr": config.decoder_rate, "peak": config.decoder_rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    checkpoint, start = run_dir / "last.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average, start = state["average"], state["step"]
        log.info("going on at step %d", start)
    (run_dir / "config.json").write_text(json.dumps(asdict(config), indent=1))
    stream = SampleStream(
        read_store(store_dir, "train"),
        model.config.input_size,
        REGION,
        config.regions_per_image,
        config.seed + start,
    )
    loader = iter(
        DataLoader(
            stream,
            batch_size=config.images_per_step,
            num_workers=config.workers,
            collate_fn=collate,
            prefetch_factor=6 if config.workers else None,
        )
    )
    model.train()
    losses, began = [], time.monotonic()
    for step in range(start, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate_at(step, config)
        batch = next(loader)
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        embedding = model.encoder(images)
        logits = model.decoder(
            embedding,
            batch["crops"].contiguous(memory_format=torch.channels_last),
            batch["regions"],
            batch["boxes"],
            batch["context"],
            batch["image_of_region"],
        )
        loss = mask_loss(logits, batch["targets"])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        decay = min(config.average_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.dtype.is_floating_point:
                    average[name].lerp_(value, 1 - decay)
                else:
                    average[name].copy_(value)
        if (step + 1) % 20 == 0:
            line = {
                "step": step + 1,
                "loss": float(np.mean(losses)),
                "seconds": time.monotonic() - began,
            }
            losses = []
            with (run_dir / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            log.info("step %(step)d loss %(loss).4f after %(seconds).0f s", line)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            state = {
                "model": model.state_dict(),
                "average": average,
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
            }
            torch.save(state, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").replace(checkpoint)
    return checkpoint


def shortened(config: FinetuneConfig, steps: int | None) -> FinetuneConfig:
    """The same run with another number of steps."""
    return config if steps is None else replace(config, steps=steps)
