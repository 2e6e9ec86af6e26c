"""What a box does in the decoder of many boxes; mathematics, names and shapes as in
:mod:`inference.export.networks.many_boxes`."""

from typing import NamedTuple

import torch
from kornia.models.sam.architecture.transformer import TwoWayTransformer

from inference.export.networks.many_boxes import (
    Prepared,
    Side,
    apart,
    centred,
    of_heads,
    projection,
    together,
)
from inference.export.networks.token_side import Upscaling, exponentials, mean, self_attention


class _Positions(NamedTuple):
    """Positions of B boxes after a layer, as the module's beginning has them."""

    shares: torch.Tensor
    """S transposed (B, K, P), after the second layer T (B, 2 * K, P)."""
    gifts: torch.Tensor
    """G (B, K, C), after the second layer H (B, 2 * K, C)."""
    deviation: torch.Tensor
    """d1 (B, 1, P)."""
    factor: torch.Tensor
    """1 / d1, after the second layer 1 / d2 (B, 1, P)."""


class BoxSide(Side):
    """The rest, for several boxes at a time."""

    def __init__(
        self,
        published: TwoWayTransformer,
        token: int,
        position: torch.Tensor,
        upscaling: Upscaling,
    ) -> None:
        """``token``: whose answer is asked for; ``position``: the positional encoding (P, C)."""
        super().__init__(published)
        self.published, self.upscaling, self.token = published, upscaling, token
        second, third = self.to_image[1], self.last
        self.key_2 = of_heads(second.k_proj.weight) / self.root
        self.far_2 = self.key_2 @ position.T
        self.value_2 = of_heads(second.v_proj.weight)
        value_bias = self.shifts[0] @ second.v_proj.weight.T + second.v_proj.bias
        self.value_bias_2 = value_bias.detach()
        self.query_2, query_bias = projection(self.to_tokens[1].q_proj, self.root)
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
        way = self.to_tokens[0]
        shares = _shares(apart(way.k_proj(tokens + prompt)) @ seen.queries_1)
        values = apart(way.v_proj(tokens))
        given = (values @ self.ways[0]).flatten(-3, -2)  # c(V1)
        variance = seen.square_1 + _added(shares, given, values, seen.cross_1)
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
        way = self.to_tokens[1]
        asked = apart(way.k_proj(tokens + prompt))
        near = self._scores(asked, self.query_2, seen.queries_2, before)
        shares = _shares(near + asked @ self.far_query_2)
        values = apart(way.v_proj(tokens))
        given = (values @ self.ways[1]).flatten(-3, -2)
        deviation = before.deviation
        shares = torch.cat([before.shares, shares * deviation], dim=-2)
        gifts = torch.cat([centred(before.gifts), given], dim=-2)
        both = torch.cat([values_1, values], dim=-3)
        slope = self.shift[:, None] * (2 / len(self.shift))
        flat = (gifts @ slope).transpose(-1, -2) @ shares
        least = deviation.square() * self.eps[1]
        variance = (
            seen.square_2
            + deviation * (seen.slope_2 + flat + deviation * self.shift.square().mean())
            + _added(shares, gifts, both, seen.cross_2)
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
        weights = exponentials(scores)
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
        weights = exponentials(scores)
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


def _added(
    shares: torch.Tensor, gifts: torch.Tensor, values: torch.Tensor, cross: torch.Tensor
) -> torch.Tensor:
    """(B, 1, P): what shares (B, K, P) of gifts (B, K, C), tokens' values (B, heads, N, d) on their
    way out, add to the mean square of positions whose products with that way are ``cross``."""
    channels = gifts.shape[-1]
    twice = (values * (2 / channels) @ cross).flatten(-3, -2)
    square = (gifts / channels) @ gifts.transpose(-1, -2)
    return (shares * (square @ shares + twice)).sum(-2, keepdim=True)
