"""The first layer of SAM's two-way transformer for pictures with many boxes.

There positions are what the encoder gave, whatever the box: the published projections, worked out
once for a picture, are cheaper for every box than weights on the side of the tokens
(:mod:`inference.export.networks.token_side`).

Shapes as there; d = 16 channels of a head.
"""

import math
from typing import Any

import torch
from kornia.models.sam.architecture.transformer import Attention, TwoWayTransformer
from torch import nn

Sight = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Keys, values and queries of :class:`FirstSight`."""


class FirstSight(nn.Module):
    """What the first layer makes of a picture's positions before any token looks at them."""

    def __init__(self, published: TwoWayTransformer) -> None:
        super().__init__()
        layer: Any = published.layers[0]
        to_image, to_tokens = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        self.heads = to_image.num_heads
        self.scale = math.sqrt(to_image.internal_dim // self.heads)
        self.key, self.value, self.query = to_image.k_proj, to_image.v_proj, to_tokens.q_proj

    def forward(self, source: torch.Tensor, position: torch.Tensor) -> Sight:
        """Keys, values and queries, each (8, d, P), of source and positional encoding (P, C); keys
        and queries already divided by the square root of d."""
        placed = source + position
        return (
            self._by_heads(self.key, placed, self.scale),
            self._by_heads(self.value, source, 1.0),
            self._by_heads(self.query, placed, self.scale),
        )

    def _by_heads(self, linear: Any, positions: torch.Tensor, scale: float) -> torch.Tensor:
        weight, bias = linear.weight / scale, linear.bias / scale
        found = weight @ positions.T + bias[:, None]
        return found.reshape(self.heads, -1, len(positions))


class _LooksByHeads(nn.Module):
    """Attention to or of what :class:`FirstSight` gives, weights on the side of the positions as
    published."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.query, self.key = attention.q_proj, attention.k_proj
        self.value, self.out = attention.v_proj, attention.out_proj

    def apart(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, 8 * d) to (8, N, d)."""
        return rows.reshape(*rows.shape[:-1], self.heads, -1).transpose(-3, -2)


class TokensToSight(_LooksByHeads):
    """Tokens look at positions."""

    def forward(
        self, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """(N, C) of tokens (N, C), keys and values (8, d, P); tokens of all boxes at a time, for
        they look at the same."""
        rows = self.query(tokens.reshape(-1, tokens.shape[-1]))
        seen = mean(self.apart(rows) @ keys, values.transpose(-1, -2))  # (8, N, d)
        answer: torch.Tensor = self.out(seen.transpose(-3, -2).flatten(-2))
        return answer.reshape(tokens.shape)


class SightToTokens(_LooksByHeads):
    """Positions look at tokens."""

    def forward(
        self, queries: torch.Tensor, tokens: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """(P, C) of queries (8, d, P), tokens and values (N, C)."""
        scores = self.apart(self.key(tokens)) @ queries  # (8, N, P)
        share = torch.softmax(scores, dim=-2).flatten(-3, -2)
        weights = self.out.weight.T.reshape(self.heads, -1, len(self.out.weight))  # (8, d, C)
        given = self.apart(self.value(values)) @ weights  # (8, N, C)
        return share.transpose(-1, -2) @ given.flatten(-3, -2) + self.out.bias


def mean(scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(K, C): means of values (P, C) by the softmax of scores (K, P) over positions.

    Divided at the end, which is little, and not written as a softmax: OpenVINO would run it and
    both products as one step, more slowly.
    """
    share = torch.exp(scores - scores.amax(-1, keepdim=True))
    return (share @ values) / share.sum(-1, keepdim=True)
