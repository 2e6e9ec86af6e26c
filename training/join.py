"""Two runs with one encoder, a plain decoder's and a pretrained one's, as a run whose decoder is
both (:mod:`training.joined_decoder`), and such a run's parts."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from training.checkpoint import load_state, save_weights
from training.configuration import write_config
from training.errors import CheckpointError
from training.export import run_config
from training.recipe import JoinConfig, PartConfig


def join(plain: Path, pretrained: Path, run_dir: Path, config: JoinConfig) -> Path:
    """Write a run whose checkpoint holds the averaged weights of both; log and all but the network
    are the second's.

    There is no optimiser; ``finetune --start-from`` takes it.

    Raises:
        CheckpointError: the decoders are others, or the encoders differ.
    """
    states = [load_state(run / "last.pt") for run in (plain, pretrained)]
    runs = [run_config(run) for run in (plain, pretrained)]
    kinds = tuple(run.model.decoder for run in runs)
    if kinds != ("plain", "pretrained"):
        raise CheckpointError(
            f"{plain}, {pretrained}: expected a plain and a pretrained decoder, found {kinds}"
        )
    first, second = (state["average"] for state in states)
    encoder = {k: v for k, v in first.items() if k.startswith("encoder.")}
    for name, value in encoder.items():
        if name not in second or not torch.equal(value, second[name]):
            raise CheckpointError(
                f"{pretrained}: expected the encoder of {plain} (finetune with frozen_blocks = -1 "
                f"keeps it), found another {name}"
            )
    weights = dict(encoder)
    for kind, state in zip(kinds, (first, second), strict=True):
        for name, value in state.items():
            if name.startswith("decoder."):
                weights[f"decoder.{kind}.{name.removeprefix('decoder.')}"] = value
    model = replace(
        runs[0].model,
        decoder="joined",
        region_size=runs[1].model.region_size,
        plain_region=runs[0].model.region_size,
        pretrained_share=config.share,
    )
    run_dir.mkdir(parents=True, exist_ok=True)
    write_config(replace(runs[1], model=model), run_dir / "config.toml")
    if (pretrained / "log.jsonl").exists():
        shutil.copy2(pretrained / "log.jsonl", run_dir / "log.jsonl")
    return save_weights(weights, states[1]["step"], run_dir)


def part(joined: Path, run_dir: Path, config: PartConfig) -> Path:
    """Write a run whose checkpoint holds the averaged weights of one of the two decoders of a run,
    and of its encoder: what :func:`join` was given.

    Raises:
        CheckpointError: the run has one decoder alone.
    """
    state, run = load_state(joined / "last.pt"), run_config(joined)
    model, own = run.model, f"decoder.{config.decoder}."
    if model.decoder != "joined":
        raise CheckpointError(f"{joined}: expected a joined decoder, found a {model.decoder} one")
    weights = {
        name.replace(own, "decoder.", 1): value
        for name, value in state["average"].items()
        if name.startswith((own, "encoder."))
    }
    side = model.plain_region if config.decoder == "plain" else model.region_size
    run_dir.mkdir(parents=True, exist_ok=True)
    of_part = replace(model, decoder=config.decoder, region_size=side)
    write_config(replace(run, model=of_part), run_dir / "config.toml")
    return save_weights(weights, state["step"], run_dir)
