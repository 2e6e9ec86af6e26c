"""Whether a checkpoint fits a network, and if not, what differs and which network fits better."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from inference.export.errors import ExportError

Shapes = Mapping[str, tuple[int, ...]]

SHOWN = 5
"""Names of each kind in a message."""

COUNTERS = ("num_batches_tracked", "attn_bias_idxs", "attention_bias_idxs")
"""Tensors that older files lack and that change no result: training counters and index tables."""


@dataclass(frozen=True)
class Difference:
    """How a checkpoint differs from a network."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    reshaped: tuple[str, ...]
    """``name: expected shape, found shape``."""
    shared: float
    """Part of the network's tensors that the checkpoint holds in the right shape, 0..1."""

    @property
    def fits(self) -> bool:
        """Whether every tensor has its place and every place its tensor."""
        return not (self.missing or self.unknown or self.reshaped)

    def __str__(self) -> str:
        groups = (
            ("missing", self.missing),
            ("not known", self.unknown),
            ("of another shape", self.reshaped),
        )
        parts = []
        for word, names in groups:
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                parts.append(f"{len(names)} {word} ({', '.join(names[:SHOWN])}{more})")
        return "; ".join(parts)


def shapes_of(module: nn.Module) -> Shapes:
    """Name and shape of every tensor of a network."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def compare(found: Shapes, expected: Shapes) -> Difference:
    """Names and shapes of a checkpoint against those of a network."""
    missing = [n for n in expected if n not in found and not n.endswith(COUNTERS)]
    unknown = [n for n in found if n not in expected and not n.endswith(COUNTERS)]
    both = [n for n in expected if n in found]
    reshaped = [
        f"{n}: expected {expected[n]}, found {found[n]}" for n in both if expected[n] != found[n]
    ]
    shared = (len(both) - len(reshaped)) / max(1, len(expected) + len(unknown))
    return Difference(tuple(missing), tuple(unknown), tuple(reshaped), shared)


def load_strictly(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    path: Path,
    name: str,
    others: Mapping[str, Shapes],
) -> None:
    """Fill ``module`` with a checkpoint that fits it exactly.

    Args:
        name: of the architecture.
        others: shapes of the architectures that the message may recommend.
    Raises:
        ExportError: naming what differs and the architecture that fits better.
    """
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    difference = compare(found, shapes_of(module))
    if not difference.fits:
        advice = recommend(found, name, difference.shared, others)
        raise ExportError(f"{path}: expected the tensors of {name}, found {difference}{advice}")
    state = {n: v for n, v in tensors.items() if n in module.state_dict()}
    module.load_state_dict(state, strict=False)  # what strict would refuse was refused above


def recommend(found: Shapes, name: str, shared: float, others: Mapping[str, Shapes]) -> str:
    """A sentence on the architecture that shares most with a checkpoint; empty where none shares
    more than ``name`` does."""
    ranked = sorted(((compare(found, shapes).shared, other) for other, shapes in others.items()))
    if not ranked or ranked[-1][0] <= shared:
        return ""
    best = ranked[-1][0]
    fitting = [other for part, other in ranked if part == best and other != name]
    return f"; {' or '.join(sorted(fitting))} fits better ({best:.0%} of the tensors)"
