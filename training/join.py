"""Two runs with one encoder, a plain decoder's and a pretrained one's, as a run whose decoder is
both (:mod:`training.joined_decoder`)."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from training.checkpoint import load_state, save_state
from training.configuration import write_config
from training.errors import CheckpointError
from training.export import run_config
from training.joined_decoder import without_the_other
from training.recipe import JoinConfig


def join(plain: Path, pretrained: Path, run_dir: Path, config: JoinConfig) -> Path:
    """Write a run whose checkpoint holds the averaged weights of both; log and all but the network
    are the second's.

    There is no optimiser; ``finetune --start-from`` takes it.

    Args:
        plain: a run of the plain decoder, or of both: its plain one is taken.

    Raises:
        CheckpointError: the decoders are others, or the encoders differ.
    """
    states = [load_state(run / "last.pt") for run in (plain, pretrained)]
    runs = [run_config(run) for run in (plain, pretrained)]
    found = tuple(run.model.decoder for run in runs)
    if found[0] == "joined":
        states[0]["average"] = without_the_other(states[0]["average"], "plain")
    kinds = ("plain", "pretrained")
    if found not in (kinds, ("joined", "pretrained")):
        raise CheckpointError(
            f"{plain}, {pretrained}: expected a plain and a pretrained decoder, found {found}"
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
    first_model = runs[0].model
    both = first_model.decoder == "joined"
    model = replace(
        first_model,
        decoder="joined",
        region_size=runs[1].model.region_size,
        plain_region=first_model.plain_region if both else first_model.region_size,
        pretrained_share=config.share,
    )
    run_dir.mkdir(parents=True, exist_ok=True)
    write_config(replace(runs[1], model=model), run_dir / "config.toml")
    if (pretrained / "log.jsonl").exists():
        shutil.copy2(pretrained / "log.jsonl", run_dir / "log.jsonl")
    state = {"model": weights, "average": weights, "optimiser": {}, "step": states[1]["step"]}
    save_state(state, run_dir / "last.pt")
    return run_dir / "last.pt"
