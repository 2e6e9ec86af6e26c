"""SAM's two-way transformer with its weights on the side of the tokens.

Few tokens (7 with a box) face 4,096 positions.  The published modules project every position to
keys, values or queries; here the tokens go through the product of the two weight matrices instead,
head by head, and meet the positions as they are.  The same mathematics up to rounding: with q = Wq
t + bq and k = Wk x + bk, a head's q . k is (Wk^T q) . x plus q . bk, which a softmax over positions
does not see; values and outputs likewise.

Shapes: N tokens, P positions, 8 heads, C = 256 channels, K = N * 8 rows with the head as the faster
index.  No batch axis; kornia's modules hold the weights.
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
        return (tokens[:, None] * self.of_head).reshape(-1, self.inner)

    def together(self, rows: torch.Tensor) -> torch.Tensor:
        """(K, inner) to (N, inner): each head's channels from its own row."""
        return (rows.reshape(-1, self.heads, self.inner) * self.of_head).sum(1)


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
        return self.answer(mean(self.rows(tokens) @ keys.T, values))

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
    are cheaper than its sum with every key.
    """

    def __init__(self, attention: Attention, norm: nn.LayerNorm) -> None:
        super().__init__(attention)
        self.norm_scale, self.norm_shift = norm.weight.detach(), norm.bias.detach()

    def forward(
        self, tokens: torch.Tensor, normed: torch.Tensor, position: torch.Tensor
    ) -> torch.Tensor:
        """(N, C) of tokens (N, C), normed positions and their encoding (P, C)."""
        rows = self.rows(tokens)
        scores = (rows * self.norm_scale) @ normed.T + rows @ position.T
        return self.answer(mean(scores, normed) * self.norm_scale + self.norm_shift)


def mean(scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(K, C): means of values (P, C) by the softmax of scores (K, P) over positions.

    Divided at the end, which is little, and not written as a softmax: OpenVINO would run it and
    both products as one step, more slowly.
    """
    share = torch.exp(scores - scores.amax(-1, keepdim=True))
    return (share @ values) / share.sum(-1, keepdim=True)


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
        scores = (keys @ self.query) @ positions.T + (keys @ self.bias)[:, None]  # (K, P)
        share = torch.softmax(scores.reshape(len(tokens), -1), dim=0)  # over the tokens
        given = self.apart(self.value(values)) @ self.out.T  # (K, C)
        return share.reshape(len(keys), -1).T @ given + self.out_bias


class TokenSideTransformer(nn.Module):
    """The whole of it; what is asked for afterwards is one token and the positions.

    Positions are given back without the last norm's scale and shift, which :class:`Upscaling` has
    in its first weights.
    """

    def __init__(self, published: TwoWayTransformer, token: int) -> None:
        super().__init__()
        self.layers, self.token = published.layers, token
        layers: list[Any] = list(published.layers)
        self.to_image = nn.ModuleList(
            TokensToImage(layer.cross_attn_token_to_image) for layer in layers
        )
        self.to_tokens = nn.ModuleList(
            ImageToTokens(layer.cross_attn_image_to_token) for layer in layers
        )
        self.last_norm = layers[-1].norm4
        self.last = LastLook(published.final_attn_token_to_image, self.last_norm)
        self.answer_norm = published.norm_final_attn

    def forward(
        self, source: torch.Tensor, position: torch.Tensor, prompt: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token (1, C) and positions (P, C) of source and positional encoding (P, C), tokens
        (N, C)."""
        tokens, pixels = prompt, source
        layers: list[Any] = list(self.layers)
        for layer, to_image, to_tokens in zip(layers, self.to_image, self.to_tokens, strict=True):
            tokens = _self_attention(layer, tokens, prompt)
            placed = pixels + position
            tokens = layer.norm2(tokens + to_image(tokens + prompt, placed, pixels))
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            pixels = pixels + to_tokens(placed, tokens + prompt, tokens)
            if layer is not layers[-1]:
                pixels = layer.norm4(pixels)
        normed = nn.functional.layer_norm(pixels, pixels.shape[-1:], eps=self.last_norm.eps)
        one, asked = tokens[self.token, None], prompt[self.token, None]
        seen = self.last(one + asked, normed, position)
        return self.answer_norm(one + seen), normed


def _self_attention(layer: Any, tokens: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Tokens among themselves, as published."""
    if layer.skip_first_layer_pe:
        seen = layer.self_attn(q=tokens[None], k=tokens[None], v=tokens[None])[0]
    else:
        asked = (tokens + prompt)[None]
        seen = tokens + layer.self_attn(q=asked, k=asked, v=tokens[None])[0]
    normed: torch.Tensor = layer.norm1(seen)
    return normed


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
        """(1, 4 * grid, 4 * grid) of positions (P, C) and the mask's weights (1, C / 8)."""
        half = (pixels @ self.weights[0] + self.biases[0]).reshape(-1, len(self.norm_weight))
        half = nn.functional.layer_norm(
            half, half.shape[-1:], self.norm_weight, self.norm_bias, self.norm.eps
        )
        full = self.act(self.act(half) @ self.weights[1] + self.biases[1])
        logits = full.reshape(-1, mask.shape[-1]) @ mask.T  # (P * 16, 1)
        placed = logits.reshape(self.grid, self.grid, 2, 2, 2, 2).permute(0, 2, 4, 1, 3, 5)
        return placed.reshape(1, 4 * self.grid, 4 * self.grid)


def _columns(weight: torch.Tensor) -> torch.Tensor:
    """(C, 4 * C'), ordered by row, column, channel, of a transposed convolution's (C, C', 2, 2)."""
    return weight.detach().permute(0, 2, 3, 1).reshape(len(weight), -1)
