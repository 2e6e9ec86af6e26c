"""What SAM's prompt encoder and mask decoder are made of, and what a graph is made from.

Kirillov et al., Segment Anything, arXiv 2304.02643.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from inference.export.networks.sam_model import SamModel

CHANNELS = 256
GRID = 64
"""Side of the embedding."""


@dataclass(frozen=True)
class TracedGraph:
    """A module that becomes a graph."""

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    """By name, in order: to trace it with and to compare engines on."""
    outputs: tuple[str, ...]
    open_axes: dict[str, dict[int, str]] = field(default_factory=dict)
    """By name: axes of any length."""


def set_norm_eps(module: nn.Module, eps: float) -> None:
    """Set the epsilon of every batch, layer and group norm, as EfficientViT's builder does.

    It is in no checkpoint: a definition that leaves PyTorch's 1e-5 loads strictly and is silently
    off by up to 7e-5.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            part.eps = eps


def decoder_tokens(model: "SamModel") -> torch.Tensor:
    """(5, 256): the decoder's own tokens, the same whatever it is asked."""
    held = model.mask_decoder.state_dict()
    return torch.cat([held["iou_token.weight"], held["mask_tokens.weight"]])


def grid_position(model: "SamModel") -> torch.Tensor:
    """(4096, 256): the positional encoding of the embedding's grid."""
    return as_rows(model.prompt_encoder.get_dense_pe().detach().permute(0, 2, 3, 1))


def no_mask(model: "SamModel") -> torch.Tensor:
    """(1, 256): added to every position where no mask is given."""
    held: torch.Tensor = model.prompt_encoder.state_dict()["no_mask_embed.weight"]
    return held


def encode_points(places: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """(..., N, 256) of places (..., N, 2), 0..1, by random frequencies (2, 128)."""
    angles = 2 * torch.pi * ((2 * places - 1) @ frequencies)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


def as_rows(picture: torch.Tensor) -> torch.Tensor:
    """(1, h, w, C) as (h * w, C)."""
    return picture.reshape(-1, picture.shape[-1])
