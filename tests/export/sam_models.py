"""A SAM decoder whose weights are all of the size that counts, and what its tests compare by."""

import torch
from torch import nn

from inference.export.networks.sam_model import SamDecoderGraph, SamModel


def make_model():
    """Without an encoder; nothing is 0 or 1 as norms and biases are at first."""
    torch.manual_seed(3)
    model = SamModel(nn.Identity(), 256).eval()
    for value in model.parameters():
        value.data.add_(torch.randn(value.shape) * 0.1)
        value.requires_grad_(False)
    return model


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def differ(found, expected):
    """Largest difference relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def patches_one_by_one(model, embedding, boxes):
    """(B, 4096, 4, 4): logits of the usual decoder, by position."""
    single = SamDecoderGraph(model)
    logits = torch.cat([single(embedding, box[None]) for box in boxes])
    return logits.reshape(-1, 64, 4, 64, 4).transpose(2, 3).reshape(-1, 4096, 4, 4)
