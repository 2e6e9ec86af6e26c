"""Averaging the weights of two runs, one of which began with the other's (Wortsman et al., Model
soups, arXiv 2203.05482): between two ends of one valley lies a model that is often better than
either."""

import shutil
from pathlib import Path

import torch

from training.checkpoint import load_state, save_weights
from training.errors import CheckpointError


def mixed(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """``(1 - share) * first + share * second``; counters, which are no weights, are the second's.

    Raises:
        CheckpointError: the two are not of one network.
    """
    differ = [k for k in first.keys() | second.keys() if _shape(first, k) != _shape(second, k)]
    if differ:
        name = min(differ)
        raise CheckpointError(
            f"{name}: expected the same shape in both runs, "
            f"found {_shape(first, name)} and {_shape(second, name)}"
        )
    return {
        name: _between(first[name], value, share)
        if value.dtype.is_floating_point
        else value.clone()
        for name, value in second.items()
    }


def _between(first: torch.Tensor, second: torch.Tensor, share: float) -> torch.Tensor:
    """What both share stays the first's to the bit (a negative zero too), so that a graph of it is
    stored once in a bundle."""
    return torch.where(first == second, first, first.lerp(second, share))


def _shape(weights: dict[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


def mix(first: Path, second: Path, run_dir: Path, share: float) -> Path:
    """Write a run whose checkpoint holds the mixed averages of the last checkpoints of two runs.

    Configuration and log are the second's.  Nothing can be trained on from it (there is no
    optimiser), but ``finetune --start-from`` takes it.
    """
    one, two = load_state(first / "last.pt"), load_state(second / "last.pt")
    weights = mixed(one["average"], two["average"], share)
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("config.toml", "config.json", "log.jsonl"):
        if (second / name).exists():
            shutil.copy2(second / name, run_dir / name)
    return save_weights(weights, two["step"], run_dir)
