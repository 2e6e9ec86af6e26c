"""SAM's mask decoder for pictures with many boxes: positions are never written out.

Between its layers a position's C channels are what the encoder gave, plus a weighted sum of what
the tokens gave.  Both are known without the channels: all that later steps make of the encoder's
part is linear and the same for every box, so it is worked out once a picture
(:class:`PictureSide`); the rest is a few weights a position (:class:`BoxSide`).  A norm subtracts a
mean, which is linear, and divides by a deviation, which is a quadratic form in those weights.  Per
box this halves the multiplications of :mod:`inference.export.networks.token_side` and writes K or
2 * K numbers a position in the place of C, several times over; the same mathematics up to rounding.

Shapes as there: N tokens, P positions, C = 256 channels, 8 heads of d = 16, K = 8 * N; B boxes.
"By heads" is (8, d, P).  With x a position's source, c() what is left of channels when their mean
is subtracted, g, b scale and shift of a layer's last norm, o the bias of what tokens give to
positions and G (K, C) the values that they give, positions are, after the first and the second
layer::

    (x1 + S G1) / d1 + b1                 x1 = c(x + o1) g1, S (P, K) the tokens' shares
    (x2 + T H + d1 s) / d2                x2 = c(x1), T (P, 2 * K) = S and d1 * the second shares

where H = c(G1), c(G2), s = c(b1 + o2), and d2 is for the norm without its scale and shift.
"""

import math
from typing import Any, NamedTuple

import torch
from kornia.models.sam.architecture.transformer import Attention, TwoWayTransformer
from torch import nn

from inference.export.networks.token_side import Upscaling, mean, self_attention

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


class _Side(nn.Module):
    """What both sides know of a two-way transformer of two layers and the up-scaling behind it."""

    def __init__(
        self, published: TwoWayTransformer, position: torch.Tensor, upscaling: Upscaling
    ) -> None:
        """``position``: the positional encoding (P, C)."""
        super().__init__()
        self.published, self.upscaling, self.position = published, upscaling, position
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


class PictureSide(_Side):
    """What every box of a picture would make anew."""

    def __init__(
        self, published: TwoWayTransformer, position: torch.Tensor, upscaling: Upscaling
    ) -> None:
        """See :class:`_Side`."""
        super().__init__(published, position, upscaling)
        first, second = self.scales
        to_image, to_tokens = self.to_image, self.to_tokens
        self.key_1 = _projection(to_image[0].k_proj, self.root)
        self.value_1 = _projection(to_image[0].v_proj)
        self.query_1 = _projection(to_tokens[0].q_proj, self.root)
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


def _projection(linear: Any, root: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A linear layer's weights (8, d, C) and biases (8, d, 1), divided by ``root``."""
    bias: torch.Tensor = linear.bias.detach()
    return of_heads(linear.weight) / root, bias.reshape(HEADS, -1, 1) / root


def _projected(
    projection: tuple[torch.Tensor, torch.Tensor], positions: torch.Tensor
) -> torch.Tensor:
    return projection[0] @ positions.T + projection[1]


class _Positions(NamedTuple):
    """Positions of B boxes after a layer, as the module's beginning has them."""

    shares: torch.Tensor
    """S (B, K, P), after the second layer T (B, 2 * K, P): positions as columns."""
    gifts: torch.Tensor
    """G1 (B, K, C), after the second layer H (B, 2 * K, C)."""
    deviation: torch.Tensor
    """d1 (B, 1, P)."""
    factor: torch.Tensor
    """1 / d1, after the second layer 1 / d2 (B, 1, P)."""


class BoxSide(_Side):
    """The rest, for several boxes at a time."""

    def __init__(
        self,
        published: TwoWayTransformer,
        token: int,
        position: torch.Tensor,
        upscaling: Upscaling,
    ) -> None:
        """``token``: whose answer is asked for."""
        super().__init__(published, position, upscaling)
        self.token = token
        second, third = self.to_image[1], self.last
        self.key_2 = of_heads(second.k_proj.weight) / self.root
        self.far_2 = self.key_2 @ position.T
        self.value_2 = of_heads(second.v_proj.weight)
        value_bias = self.shifts[0] @ second.v_proj.weight.T + second.v_proj.bias
        self.value_bias_2 = value_bias.detach()
        self.query_2, query_bias = _projection(self.to_tokens[1].q_proj, self.root)
        self.far_query_2 = self.query_2 @ (position + self.shifts[0]).T + query_bias
        self.key_3 = of_heads(third.k_proj.weight) / self.root
        self.far_3 = self.key_3 @ position.T
        self.value_3 = of_heads(third.v_proj.weight)
        self.begun_shift = self.shift @ upscaling.weights[0]

    def forward(
        self, prompt: torch.Tensor, places: torch.Tensor, seen: Prepared
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The asked token (B, 1, C) and, at ``places`` (M,), the positions after the first product
        of the up-scaling (B, M, C), of tokens (B, N, C)."""
        first, second = self.published.layers[0], self.published.layers[1]
        tokens = self_attention(first, prompt, prompt)
        tokens = first.norm2(tokens + self._look_1(tokens + prompt, seen))
        tokens = first.norm3(tokens + first.mlp(tokens))
        positions, values = self._given_1(tokens, prompt, seen)
        tokens = self_attention(second, tokens, prompt)
        tokens = second.norm2(tokens + self._look_2(tokens + prompt, seen, positions))
        tokens = second.norm3(tokens + second.mlp(tokens))
        positions = self._given_2(tokens, prompt, seen, positions, values)
        one = tokens[:, self.token, None, :]
        asked = one + prompt[:, self.token, None, :]
        answer = self.published.norm_final_attn(one + self._look_3(asked, seen, positions))
        return answer, self._begun(places.to(torch.int64), seen, positions)

    def _look_1(self, asked: torch.Tensor, seen: Prepared) -> torch.Tensor:
        """Tokens of all boxes at a time, for they look at the same."""
        way = self.to_image[0]
        rows = apart(way.q_proj(asked.reshape(-1, asked.shape[-1])))
        found = mean(rows @ seen.keys_1, seen.values_1.transpose(-1, -2))
        answer: torch.Tensor = way.out_proj(together(found))
        return answer.reshape(asked.shape)

    def _given_1(
        self, tokens: torch.Tensor, prompt: torch.Tensor, seen: Prepared
    ) -> tuple[_Positions, torch.Tensor]:
        """Positions after the first layer; the tokens' values (B, 8, N, d)."""
        way, channels = self.to_tokens[0], tokens.shape[-1]
        shares = _shares(apart(way.k_proj(tokens + prompt)) @ seen.queries_1)
        values = apart(way.v_proj(tokens))
        given = (values @ self.ways[0]).flatten(-3, -2)  # c(G1) but for the scale
        cross = (values * (2 / channels) @ seen.cross_1).flatten(-3, -2)
        square = (given / channels) @ given.transpose(-1, -2)
        variance = seen.square_1 + _sum(shares * (square @ shares + cross))
        deviation = torch.sqrt(variance.clamp(min=self.eps[0]))  # below it by rounding alone
        return _Positions(shares, given * self.scales[0], deviation, 1 / deviation), values

    def _given_2(
        self,
        tokens: torch.Tensor,
        prompt: torch.Tensor,
        seen: Prepared,
        before: _Positions,
        values_1: torch.Tensor,
    ) -> _Positions:
        """Positions after the second layer."""
        way, channels = self.to_tokens[1], tokens.shape[-1]
        asked = apart(way.k_proj(tokens + prompt))
        near = self._scores(asked, self.query_2, seen.queries_2, before)
        shares = _shares(near + asked @ self.far_query_2)
        values = apart(way.v_proj(tokens))
        given = (values @ self.ways[1]).flatten(-3, -2)
        deviation = before.deviation
        shares = torch.cat([before.shares, shares * deviation], dim=-2)
        gifts = torch.cat([centred(before.gifts), given], dim=-2)
        both = torch.cat([values_1, values], dim=-3) * (2 / channels)
        cross = (both @ seen.cross_2).flatten(-3, -2)
        square = (gifts / channels) @ gifts.transpose(-1, -2)
        flat = (gifts @ (self.shift[:, None] * (2 / channels))).transpose(-1, -2) @ shares
        least = deviation.square() * self.eps[1]
        variance = (
            seen.square_2
            + deviation * (seen.slope_2 + flat + deviation * self.shift.square().mean())
            + _sum(shares * (square @ shares + cross))
        )
        return _Positions(shares, gifts, deviation, 1 / torch.sqrt(variance.clamp(min=0) + least))

    def _scores(
        self, asked: torch.Tensor, weight: torch.Tensor, near: torch.Tensor, before: _Positions
    ) -> torch.Tensor:
        """(B, 8, N, P) of tokens by heads (B, 8, N, d) and positions after the first layer, by the
        ``weight`` (8, d, C) whose product with x1 is ``near``; their encoding is not seen."""
        rows = (asked @ weight).flatten(-3, -2)
        given = rows @ before.gifts.transpose(-1, -2) @ before.shares
        return (asked @ near + given.reshape(*asked.shape[:-1], -1)) * before.factor[:, None]

    def _look_2(self, asked: torch.Tensor, seen: Prepared, positions: _Positions) -> torch.Tensor:
        way = self.to_image[1]
        rows = apart(way.q_proj(asked))
        scores = self._scores(rows, self.key_2, seen.keys_2, positions) + rows @ self.far_2
        weights = torch.exp(scores - scores.amax(-1, keepdim=True))
        total, weights = weights.sum(-1, keepdim=True), weights * positions.factor[:, None]
        near = weights @ seen.values_2.transpose(-1, -2)  # (B, 8, N, d)
        far = weights.flatten(-3, -2) @ positions.shares.transpose(-1, -2)  # (B, K, K)
        values = positions.gifts[:, None] @ self.value_2.transpose(-1, -2)  # (B, 8, K, d)
        far = far.reshape(*weights.shape[:-1], -1) @ values
        answer: torch.Tensor = way.out_proj(together((near + far) / total) + self.value_bias_2)
        return answer

    def _look_3(self, asked: torch.Tensor, seen: Prepared, positions: _Positions) -> torch.Tensor:
        """Of one token (B, 1, C) of each box."""
        way, scale, factor = self.last, self.scales[1], positions.factor
        heads = apart(way.q_proj(asked))  # (B, 8, 1, d)
        rows = (heads @ self.key_3).flatten(-3, -2) * scale  # (B, 8, C)
        near = (heads @ seen.keys_3).flatten(-3, -2)  # (B, 8, P)
        near = near + rows @ positions.gifts.transpose(-1, -2) @ positions.shares
        near = near + rows @ self.shift[:, None] * positions.deviation
        scores = near * factor + (heads @ self.far_3).flatten(-3, -2)
        weights = torch.exp(scores - scores.amax(-1, keepdim=True))
        total, weights = weights.sum(-1, keepdim=True), weights * factor
        found = weights[..., None, :] @ seen.values_3.transpose(-1, -2)  # (B, 8, 1, d)
        rest = weights @ positions.shares.transpose(-1, -2) @ positions.gifts
        rest = rest + weights @ positions.deviation.transpose(-1, -2) * self.shift
        rest = rest / total * scale + self.shifts[1]
        rest = rest[..., None, :] @ self.value_3.transpose(-1, -2)
        answer: torch.Tensor = way.out_proj(
            together(found / total[..., None] + rest) + way.v_proj.bias
        )
        return answer

    def _begun(self, wanted: torch.Tensor, seen: Prepared, positions: _Positions) -> torch.Tensor:
        weight, bias = self.upscaling.weights[0], self.upscaling.biases[0]
        given = positions.shares[..., wanted].transpose(-1, -2) @ (positions.gifts @ weight)
        deviation, factor = (
            one[..., wanted].transpose(-1, -2) for one in (positions.deviation, positions.factor)
        )
        return (given + seen.upscaled[wanted] + deviation * self.begun_shift) * factor + bias


def _shares(scores: torch.Tensor) -> torch.Tensor:
    """(B, K, P): softmax over the tokens of scores (B, 8, N, P)."""
    return torch.softmax(scores, dim=-2).flatten(-3, -2)


def _sum(rows: torch.Tensor) -> torch.Tensor:
    """(B, 1, P) of (B, K, P)."""
    return rows.sum(-2, keepdim=True)
