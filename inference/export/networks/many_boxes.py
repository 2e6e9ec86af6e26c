"""SAM's mask decoder for pictures with many boxes: positions are never written out.

Between its layers a position's C channels are what the encoder gave, plus a weighted sum of what
the tokens gave.  Both are known without the channels: all that later steps make of the encoder's
part is linear and the same for every box, so it is worked out once a picture
(:class:`PictureSide`); the rest is a few weights a position (:mod:`box_side`).  A norm subtracts a
mean, which is linear, and divides by a deviation, which is a quadratic form in those weights.  Per
box this halves the multiplications of :mod:`inference.export.networks.token_side` and writes K or
2 * K numbers a position in the place of C, several times over; the same mathematics up to rounding.

Shapes as there: N tokens, P positions, C = 256 channels, 8 heads of d = 16; B boxes; K = 8 * N, but
with the token as the faster index.  "By heads" is (8, d, P).  With x a position's source, c() what
is left of channels when their mean is subtracted, g, b scale and shift of a layer's last norm, o
the bias and V (K, C) the values of what tokens give to positions, these are, after the first and
the second layer::

    (x1 + S G) / d1 + b1              x1 = c(x + o1) g1, G = c(V1) g1, S (P, K) the tokens' shares
    (x2 + T H + d1 s) / d2            x2 = c(x1), H = c(G), c(V2), T (P, 2 * K) = S, d1 * the second

where s = c(b1 + o2), and d2 is for the norm without its scale and shift.  In the code S and T have
positions last.
"""

import math
from typing import Any, NamedTuple

import torch
from kornia.models.sam.architecture.transformer import Attention, TwoWayTransformer
from torch import nn

from inference.export.networks.token_side import Upscaling

HEADS = 8


class Prepared(NamedTuple):
    """What no box changes, of one picture; by heads unless said otherwise.  Keys and queries are
    divided by the square root of d."""

    keys_1: torch.Tensor
    values_1: torch.Tensor
    queries_1: torch.Tensor
    cross_1: torch.Tensor
    """Products of c(x + o1) with the values' way out: for the deviation."""
    square_1: torch.Tensor
    """(P,): mean square of c(x + o1), and the norm's epsilon."""
    keys_2: torch.Tensor
    """Of x1, as the next two."""
    values_2: torch.Tensor
    queries_2: torch.Tensor
    cross_2: torch.Tensor
    """(16, d, P): products of x2 with the values' ways out of both layers."""
    square_2: torch.Tensor
    """(P,): mean square of x2."""
    slope_2: torch.Tensor
    """(P,): twice the mean of x2 s."""
    keys_3: torch.Tensor
    """The last look's, of x2 with the second norm's scale, as the next."""
    values_3: torch.Tensor
    upscaled: torch.Tensor
    """(P, C): x2 after the first product of the up-scaling."""


def centred(rows: torch.Tensor) -> torch.Tensor:
    """Less the mean over the last axis."""
    return rows - rows.mean(-1, keepdim=True)


def apart(rows: torch.Tensor) -> torch.Tensor:
    """(..., N, 8 * d) to (..., 8, N, d)."""
    return rows.reshape(*rows.shape[:-1], HEADS, -1).transpose(-3, -2)


def together(heads: torch.Tensor) -> torch.Tensor:
    """(..., 8, N, d) to (..., N, 8 * d)."""
    return heads.transpose(-3, -2).flatten(-2)


def of_heads(weight: torch.Tensor) -> torch.Tensor:
    """(8 * d, C) to (8, d, C)."""
    return weight.detach().reshape(HEADS, -1, weight.shape[-1])


class Side(nn.Module):
    """What both sides know of a two-way transformer of two layers."""

    def __init__(self, published: TwoWayTransformer) -> None:
        super().__init__()
        layers: list[Any] = list(published.layers)
        self.to_image = [layer.cross_attn_token_to_image for layer in layers]
        self.to_tokens = [layer.cross_attn_image_to_token for layer in layers]
        self.last: Attention = published.final_attn_token_to_image
        self.root = math.sqrt(self.last.internal_dim // HEADS)
        self.scales = [layer.norm4.weight.detach() for layer in layers]
        self.shifts = [layer.norm4.bias.detach() for layer in layers]
        self.eps = [float(layer.norm4.eps) for layer in layers]
        self.bias = [way.out_proj.bias.detach() for way in self.to_tokens]
        self.shift = centred(self.shifts[0] + self.bias[1])  # s
        # (8, d, C) each: from a head's values to c() of what positions are given
        self.ways = [centred(of_heads(way.out_proj.weight.T)) for way in self.to_tokens]


class PictureSide(Side):
    """What every box of a picture would make anew."""

    def __init__(
        self, published: TwoWayTransformer, position: torch.Tensor, upscaling: Upscaling
    ) -> None:
        """``position``: the positional encoding (P, C)."""
        super().__init__(published)
        self.position = position
        first, second = self.scales
        to_image, to_tokens = self.to_image, self.to_tokens
        self.key_1 = projection(to_image[0].k_proj, self.root)
        self.value_1 = projection(to_image[0].v_proj)
        self.query_1 = projection(to_tokens[0].q_proj, self.root)
        # from here on products with c(x + o1); x1 is that times ``first``, x2 the same centred
        self.key_2 = of_heads(to_image[1].k_proj.weight) * first / self.root
        self.value_2 = of_heads(to_image[1].v_proj.weight) * first
        self.query_2 = of_heads(to_tokens[1].q_proj.weight) * first / self.root
        ways = torch.cat([centred(self.ways[0] * first), self.ways[1]])
        self.both_ways = ways * first
        last = self.last
        self.key_3 = centred(of_heads(last.k_proj.weight) * second) * first / self.root
        self.value_3 = centred(of_heads(last.v_proj.weight) * second) * first
        self.first_product = centred(upscaling.weights[0].T).T * first[:, None]

    def forward(self, source: torch.Tensor) -> Prepared:
        """Of a picture's positions (P, C), what is added to all of them already added."""
        first = self.scales[0]
        placed = source + self.position
        x = centred(source + self.bias[0])
        x2 = centred(x * first)
        return Prepared(
            keys_1=_projected(self.key_1, placed),
            values_1=_projected(self.value_1, source),
            queries_1=_projected(self.query_1, placed),
            cross_1=self.ways[0] @ x.T,
            square_1=x.square().mean(-1) + self.eps[0],
            keys_2=self.key_2 @ x.T,
            values_2=self.value_2 @ x.T,
            queries_2=self.query_2 @ x.T,
            cross_2=self.both_ways @ x.T,
            square_2=x2.square().mean(-1),
            slope_2=(x2 @ (self.shift[:, None] * (2 / len(self.shift)))).squeeze(-1),
            keys_3=self.key_3 @ x.T,
            values_3=self.value_3 @ x.T,
            upscaled=x @ self.first_product,
        )


def projection(linear: Any, root: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A linear layer's weights (8, d, C) and biases (8, d, 1), divided by ``root``."""
    bias: torch.Tensor = linear.bias.detach()
    return of_heads(linear.weight) / root, bias.reshape(HEADS, -1, 1) / root


def _projected(
    projection: tuple[torch.Tensor, torch.Tensor], positions: torch.Tensor
) -> torch.Tensor:
    return projection[0] @ positions.T + projection[1]
