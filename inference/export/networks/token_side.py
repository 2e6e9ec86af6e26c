"""SAM's two-way transformer with its weights on the side of the tokens.

Few tokens (7 with a box) face 4,096 positions.  The published modules project every position to
keys, values or queries; here the tokens go through the product of the two weight matrices instead,
head by head, and meet the positions as they are.  The same mathematics up to rounding: with q = Wq
t + bq and k = Wk x + bk, a head's q . k is (Wk^T q) . x plus q . bk, which a softmax over positions
does not see; values and outputs likewise.

Shapes: N tokens, P positions, 8 heads, C = 256 channels, K = N * 8 rows with the head as the faster
index.  Axes before these are kept.  kornia's modules hold the weights.  Pictures with many boxes
have :mod:`inference.export.networks.many_boxes`.
"""

import math
from typing import Any

import torch
from kornia.models.sam.architecture.transformer import Attention, TwoWayTransformer
from torch import nn


class _Heads(nn.Module):
    """What both directions share: rows for every head, and back."""

    of_head: torch.Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.inner = attention.num_heads, attention.internal_dim
        self.scale = math.sqrt(self.inner // self.heads)
        channel_head = torch.arange(self.inner) // (self.inner // self.heads)
        of_head = torch.arange(self.heads)[:, None] == channel_head
        self.register_buffer("of_head", of_head.float(), persistent=False)  # (heads, inner)

    def apart(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, inner) to (K, inner): each head's channels in a row of their own, else 0."""
        return (tokens[..., None, :] * self.of_head).flatten(-3, -2)

    def together(self, rows: torch.Tensor) -> torch.Tensor:
        """(K, inner) to (N, inner): each head's channels from its own row."""
        return (rows.reshape(*rows.shape[:-2], -1, self.heads, self.inner) * self.of_head).sum(-2)


class TokensToImage(_Heads):
    """Tokens look at positions."""

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention)
        self.query = attention.q_proj
        self.key = (attention.k_proj.weight / self.scale).detach()  # (inner, C)
        self.value, self.out = attention.v_proj, attention.out_proj

    def forward(
        self, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """(N, C) of tokens (N, C), keys and values (P, C)."""
        return self.answer(mean(self.rows(tokens) @ keys.transpose(-1, -2), values))

    def rows(self, tokens: torch.Tensor) -> torch.Tensor:
        """(K, C): what each head of each token (N, C) looks for."""
        return self.apart(self.query(tokens)) @ self.key

    def answer(self, seen: torch.Tensor) -> torch.Tensor:
        """(N, C) of what each head saw (K, C)."""
        answer: torch.Tensor = self.out(self.together(self.value(seen)))
        return answer


class LastLook(TokensToImage):
    """The same for one token, at positions that are normed but neither scaled nor shifted.

    A shift is the same for every position, so the softmax does not see it, and shares add up to 1,
    so scale and shift may wait for the mean; with 8 rows their scores of the positional encoding
    are cheaper than its sum with every key, and products with positions as rows than with
    positions as columns, which have to be packed.
    """

    def __init__(self, attention: Attention, norm: nn.LayerNorm, position: torch.Tensor) -> None:
        """``position``: the positional encoding (P, C)."""
        super().__init__(attention)
        self.norm_scale, self.norm_shift = norm.weight.detach(), norm.bias.detach()
        self.far = self.key @ position.T  # (inner, P)

    def forward(self, tokens: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """(N, C) of tokens (N, C) and normed positions (P, C)."""
        asked = self.apart(self.query(tokens))
        near = normed @ ((asked @ self.key) * self.norm_scale).transpose(-1, -2)  # (P, K)
        scores = near.transpose(-1, -2) + asked @ self.far
        return self.answer(mean(scores, normed) * self.norm_scale + self.norm_shift)


class ImageToTokens(_Heads):
    """Positions look at tokens."""

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention)
        self.query, self.bias = attention.q_proj.weight, attention.q_proj.bias
        self.key, self.value = attention.k_proj, attention.v_proj
        self.out, self.out_bias = attention.out_proj.weight, attention.out_proj.bias

    def forward(
        self, positions: torch.Tensor, tokens: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """(P, C) of positions (P, C), tokens and values (N, C)."""
        keys = self.apart(self.key(tokens) / self.scale)  # (K, inner)
        scores = (keys @ self.query) @ positions.transpose(-1, -2) + (keys @ self.bias)[
            ..., None
        ]  # (K, P)
        share = torch.softmax(
            scores.reshape(*keys.shape[:-2], -1, self.heads, scores.shape[-1]), dim=-3
        )  # over the tokens
        given = self.apart(self.value(values)) @ self.out.T  # (K, C)
        return share.flatten(-3, -2).transpose(-1, -2) @ given + self.out_bias


class TokenSideTransformer(nn.Module):
    """The whole of it; what is asked for afterwards is one token and the positions.

    Positions are given back without the last norm's scale and shift, which :class:`Upscaling` has
    in its first weights.
    """

    def __init__(self, published: TwoWayTransformer, token: int, position: torch.Tensor) -> None:
        """``token``: which is asked for; ``position``: the positional encoding (P, C)."""
        super().__init__()
        self.layers, self.token, self.position = published.layers, token, position
        layers: list[Any] = list(published.layers)
        self.to_image = nn.ModuleList(
            TokensToImage(layer.cross_attn_token_to_image) for layer in layers
        )
        self.to_tokens = nn.ModuleList(
            ImageToTokens(layer.cross_attn_image_to_token) for layer in layers
        )
        self.last_norm = layers[-1].norm4
        self.last = LastLook(published.final_attn_token_to_image, self.last_norm, position)
        self.answer_norm = published.norm_final_attn

    def forward(
        self, source: torch.Tensor, prompt: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token (1, C) and positions (P, C) of source (P, C) and tokens (N, C)."""
        tokens, pixels = prompt, source
        layers: list[Any] = list(self.layers)
        for layer, to_image, to_tokens in zip(layers, self.to_image, self.to_tokens, strict=True):
            tokens = self_attention(layer, tokens, prompt)
            keys = pixels + self.position
            tokens = layer.norm2(tokens + to_image(tokens + prompt, keys, pixels))
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            pixels = pixels + to_tokens(keys, tokens + prompt, tokens)
            if layer is not layers[-1]:
                pixels = layer.norm4(pixels)
        normed = nn.functional.layer_norm(pixels, pixels.shape[-1:], eps=self.last_norm.eps)
        one, asked = tokens[..., self.token, None, :], prompt[..., self.token, None, :]
        seen = self.last(one + asked, normed)
        return self.answer_norm(one + seen), normed


def self_attention(layer: Any, tokens: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Tokens among themselves, as published."""
    asked = tokens if layer.skip_first_layer_pe else tokens + prompt
    if tokens.ndim == 2:  # the module wants an axis of boxes
        seen = layer.self_attn(q=asked[None], k=asked[None], v=tokens[None])[0]
    else:
        seen = layer.self_attn(q=asked, k=asked, v=tokens)
    normed: torch.Tensor = layer.norm1(seen if layer.skip_first_layer_pe else tokens + seen)
    return normed


def mean(scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(K, C): means of values (P, C) by the softmax of scores (K, P) over positions.

    Divided at the end, which is little, and not written as a softmax: OpenVINO would run it and
    both products as one step, more slowly.
    """
    share = exponentials(scores)
    return (share @ values) / share.sum(-1, keepdim=True)


def exponentials(scores: torch.Tensor) -> torch.Tensor:
    """Of scores (..., P): what a softmax over positions divides by its sum."""
    return torch.exp(scores - scores.amax(-1, keepdim=True))


class Upscaling(nn.Module):
    """Four times the side, one mask: transposed convolutions as matrix products, channels last.

    A transposed convolution of stride and kernel 2 is one product a position, whose columns are the
    four pixels it becomes; pixels are put in their places at the end, when each is one number.
    """

    def __init__(self, published: nn.Sequential, norm: nn.LayerNorm, grid: int) -> None:
        """``norm``: whose scale and shift the positions lack."""
        super().__init__()
        parts: list[Any] = list(published)
        first, self.norm, self.act, second, _ = parts
        self.grid = grid
        self.weights = [_columns(part.weight) for part in (first, second)]  # (C, 4 * C')
        self.biases = [part.bias.detach().repeat(4) for part in (first, second)]
        self.biases[0] = self.biases[0] + norm.bias.detach() @ self.weights[0]
        self.weights[0] = norm.weight.detach()[:, None] * self.weights[0]
        self.norm_weight, self.norm_bias = self.norm.weight.detach(), self.norm.bias.detach()

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(1, 4 * grid, 4 * grid) of all positions (P, C) and the mask's weights (1, C / 8)."""
        steps = self._numbers(pixels @ self.weights[0] + self.biases[0], mask)
        steps = steps.reshape(self.grid, self.grid, 2, 2, 2, 2)
        return steps.permute(0, 2, 4, 1, 3, 5).reshape(1, 4 * self.grid, 4 * self.grid)

    def patches(self, begun: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, M, 4, 4), by row and column: what becomes of positions that have gone through the
        first product (B, M, C), with each mask's weights (B, 1, C / 8)."""
        steps = self._numbers(begun, mask).reshape(len(mask), -1, 2, 2, 2, 2)
        return steps.permute(0, 1, 2, 4, 3, 5).reshape(len(mask), -1, 4, 4)

    def _numbers(self, begun: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(..., P * 16, 1): by position, row and column of the first step, those of the second."""
        half = nn.functional.layer_norm(
            begun.reshape(-1, len(self.norm_weight)),
            self.norm_weight.shape,
            self.norm_weight,
            self.norm_bias,
            self.norm.eps,
        )
        full = self.act(self.act(half) @ self.weights[1] + self.biases[1])
        return full.reshape(*mask.shape[:-2], -1, mask.shape[-1]) @ mask.transpose(-1, -2)


def _columns(weight: torch.Tensor) -> torch.Tensor:
    """(C, 4 * C'), ordered by row, column, channel, of a transposed convolution's (C, C', 2, 2)."""
    return weight.detach().permute(0, 2, 3, 1).reshape(len(weight), -1)
