"""Run folders: config.toml, log.jsonl, last.pt, best.pt; nothing is ever half-written."""

import json
from pathlib import Path
from typing import Any

import torch

from training.errors import CheckpointError

KEYS = ("model", "average", "optimiser", "step")
"""What a checkpoint holds at least: weights, their running average, the optimiser, steps done."""


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, replacing it whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


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


def averaged_weights(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint: what a warm restart begins with, what is exported."""
    weights: dict[str, torch.Tensor] = load_state(path)["average"]
    return weights


def best_checkpoint(run_dir: Path) -> Path:
    """``best.pt`` where the run validated, else ``last.pt``."""
    best = run_dir / "best.pt"
    return best if best.exists() else run_dir / "last.pt"


def append_line(path: Path, line: dict[str, Any]) -> None:
    """One more line of a jsonl file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a jsonl file; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def keep_lines_until(path: Path, step: int) -> None:
    """Drop what was logged after ``step``: a run that goes on from there will log it again."""
    lines = read_lines(path)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) < len(lines):
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)


def run_seconds(lines: list[dict[str, Any]]) -> float:
    """Wall time of a run by its log: where the clock goes back, the run was started again."""
    total = last = 0.0
    for line in lines:
        if "seconds" in line:
            total += last if line["seconds"] < last else 0.0
            last = line["seconds"]
    return total + last


def shortened_log(lines: list[dict[str, Any]], most: int = 200) -> list[dict[str, Any]]:
    """At most ``most`` lines of losses, each the mean of those around it; validations all stay."""
    losses = [line for line in lines if "loss" in line]
    every = max(1, -(-len(losses) // most))
    short = []
    for start in range(0, len(losses), every):
        part = losses[start : start + every]
        mean = sum(line["loss"] for line in part) / len(part)
        seconds = round(run_seconds(losses[: start + len(part)]), 1)
        short.append({"step": part[-1]["step"], "loss": round(mean, 4), "seconds": seconds})
    others = [line for line in lines if "loss" not in line]
    return sorted(short + others, key=lambda line: line["step"])
