"""Checkpoints of a run, last.pt and best.pt; never half-written."""

from pathlib import Path
from typing import Any

import torch

from inference.whole_file import replace_whole
from training.errors import CheckpointError


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, replacing it whole."""
    replace_whole(path, lambda partial: torch.save(state, partial), ".partial")


def load_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; plain tensors only, never code.

    Raises:
        CheckpointError: it is absent or no checkpoint of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: expected a checkpoint, found no such file") from None
    except Exception as error:  # torch, zipfile and pickle share no base
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: expected a checkpoint, found: {reason}") from error
    if not isinstance(state, dict) or "average" not in state:
        found = sorted(state)[:5] if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: expected the key average, found {found}")
    return state


def save_weights(weights: dict[str, torch.Tensor], step: int, run_dir: Path) -> Path:
    """Write ``run_dir/last.pt`` of weights that were not trained in this run: there is no optimiser
    to go on with, but ``finetune --start-from`` takes it."""
    path = run_dir / "last.pt"
    save_state({"model": weights, "average": weights, "optimiser": {}, "step": step}, path)
    return path


def averaged_weights(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint: what a warm restart begins with, what is exported."""
    weights: dict[str, torch.Tensor] = load_state(path)["average"]
    return weights


def best_checkpoint(run_dir: Path) -> Path:
    """``best.pt`` where the run validated, else ``last.pt``."""
    best = run_dir / "best.pt"
    return best if best.exists() else run_dir / "last.pt"
