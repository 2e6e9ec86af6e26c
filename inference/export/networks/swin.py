"""The image encoder of Swin-LiteMedSAM: a small Swin transformer that keeps its inner stages.

Liu et al., Swin Transformer, arXiv 2103.14030; Gao et al., Swin-LiteMedSAM (fourth place).  Against
Swin: a patch is one pixel, each block has a depthwise convolution between attention and MLP, and
the positional bias is one table for all heads.
"""

import torch
from kornia.models.common import LayerNorm2d
from torch import nn
from torch.nn import functional

from inference.export.networks.repvit import ConvNorm
from inference.export.networks.sam_parts import CHANNELS

WINDOW = 8
"""Side of a window."""

HEAD = 32
"""Channels of a head."""

WIDTHS = (64, 128, 160, 320, 320)
"""Channels of the patch embedding and of the four stages."""

STAGES = ((1, 2, 2), (1, 4, 2), (3, 5, 1), (1, 10, 1))
"""Pairs of blocks, heads, and how many times each stage shrinks."""


class Residual(nn.Module):
    """``x + fn(x)``."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x``."""
        total: torch.Tensor = self.fn(x) + x
        return total


class Normed(nn.Module):
    """``fn`` of a layer norm of the channels, which are last."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fn = fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x``."""
        result: torch.Tensor = self.fn(self.norm(x))
        return result


class WindowAttention(nn.Module):
    """Attention inside windows, which are shifted by half a window in every second block."""

    def __init__(self, channels: int, heads: int, is_shifted: bool) -> None:
        super().__init__()
        self.heads, self.shift = heads, WINDOW // 2 if is_shifted else 0
        if is_shifted:  # the published checkpoint holds these constants
            rows, columns = _seam_masks()
            self.upper_lower_mask = nn.Parameter(rows, requires_grad=False)
            self.left_right_mask = nn.Parameter(columns, requires_grad=False)
        self.to_qkv = nn.Linear(channels, 3 * HEAD * heads, bias=False)
        self.pos_embedding = nn.Parameter(torch.randn(2 * WINDOW - 1, 2 * WINDOW - 1))
        self.to_out = nn.Linear(HEAD * heads, channels)
        self.constant_bias: torch.Tensor | None = None
        """Set for the export: what depends on the weights alone is a constant of the graph."""

    def bias(self, windows: int) -> torch.Tensor:
        """(windows * windows or 1, 64, 64): what is added between the pixels of each window."""
        place = torch.stack(torch.meshgrid(*[torch.arange(WINDOW)] * 2, indexing="ij"), -1)
        place = place.reshape(-1, 2)
        apart = place[None] - place[:, None] + WINDOW - 1  # from row to column
        bias = self.pos_embedding[apart[..., 0], apart[..., 1]][None]
        if not self.shift:
            return bias
        grid = bias.repeat(windows * windows, 1, 1).reshape(windows, windows, *bias.shape[1:])
        grid[-1] += self.upper_lower_mask
        grid[:, -1] += self.left_right_mask
        return grid.reshape(-1, *bias.shape[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x`` (1, h, w, C)."""
        side, windows = x.shape[1], x.shape[1] // WINDOW
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        parts = self.to_qkv(x).reshape(windows, WINDOW, windows, WINDOW, 3, self.heads, HEAD)
        parts = parts.permute(4, 5, 0, 2, 1, 3, 6)  # (3, heads, windows, windows, 8, 8, 32)
        query, key, value = parts.reshape(3, self.heads, windows**2, WINDOW**2, HEAD)
        bias = self.bias(windows) if self.constant_bias is None else self.constant_bias
        weights = (query * HEAD**-0.5) @ key.transpose(-1, -2) + bias
        mixed = weights.softmax(-1) @ value  # (heads, windows * windows, 64, 32)
        mixed = mixed.reshape(self.heads, windows, windows, WINDOW, WINDOW, HEAD)
        mixed = mixed.permute(1, 3, 2, 4, 0, 5).reshape(1, side, side, self.heads * HEAD)
        out: torch.Tensor = self.to_out(mixed)
        return torch.roll(out, (self.shift, self.shift), (1, 2)) if self.shift else out


def _seam_masks() -> list[torch.Tensor]:
    """(64, 64) twice: minus infinity between pixels on two sides of the seam that shifting brings
    into the last row of windows, and into the last column."""
    rows, columns = torch.meshgrid(*[torch.arange(WINDOW) >= WINDOW // 2] * 2, indexing="ij")
    masks = []
    for beyond in (rows.flatten(), columns.flatten()):
        mask = torch.zeros(WINDOW**2, WINDOW**2)
        mask[beyond[:, None] != beyond[None]] = float("-inf")
        masks.append(mask)
    return masks


class FeedForward(nn.Module):
    """Two layers over the channels, which are last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.net = nn.Sequential(nn.Linear(channels, wide), nn.GELU(), nn.Linear(wide, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x``."""
        result: torch.Tensor = self.net(x)
        return result


class SwinBlock(nn.Module):
    """Attention, a depthwise convolution, an MLP."""

    def __init__(self, channels: int, heads: int, is_shifted: bool) -> None:
        super().__init__()
        attention = WindowAttention(channels, heads, is_shifted)
        self.attention_block = Residual(Normed(channels, attention))
        self.local_conv = ConvNorm(channels, channels, 3, 1, channels)
        self.mlp_block = Residual(Normed(channels, FeedForward(channels)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x`` (1, h, w, C)."""
        x = self.local_conv(self.attention_block(x).permute(0, 3, 1, 2))
        mixed: torch.Tensor = self.mlp_block(x.permute(0, 2, 3, 1))
        return mixed


class PatchMerging(nn.Module):
    """A linear map of each square of ``side`` pixels: a convolution whose weights are stored as a
    matrix."""

    def __init__(self, inside: int, out: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Linear(inside * side * side, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) to (1, h / side, w / side, C')."""
        weight = self.linear.weight.reshape(-1, x.shape[1], self.side, self.side)
        merged = functional.conv2d(x, weight, self.linear.bias, stride=self.side)
        return merged.permute(0, 2, 3, 1)


class Stage(nn.Module):
    """A merging of patches and pairs of blocks, the second of each pair shifted."""

    def __init__(self, inside: int, out: int, pairs: int, heads: int, shrink: int) -> None:
        super().__init__()
        self.downsample = PatchMerging(inside, out, shrink)
        blocks = [(SwinBlock(out, heads, False), SwinBlock(out, heads, True)) for _ in range(pairs)]
        self.blocks = nn.Sequential(*[nn.Sequential(*pair) for pair in blocks])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) to (1, C', h', w')."""
        mixed: torch.Tensor = self.blocks(self.downsample(x))
        return mixed.permute(0, 3, 1, 2)


class SwinEncoder(nn.Module):
    """(1, 3, 256, 256) to (1, 256, 64, 64) and the four stages' outputs."""

    def __init__(self) -> None:
        super().__init__()
        first = WIDTHS[0]
        pixels = nn.Sequential(ConvNorm(3, first // 2), nn.GELU(), ConvNorm(first // 2, first))
        self.patch_embed = nn.ModuleDict({"seq": pixels})
        for i, (pairs, heads, shrink) in enumerate(STAGES):
            stage = Stage(WIDTHS[i], WIDTHS[i + 1], pairs, heads, shrink)
            self.add_module(f"stage{i + 1}", stage)
        self.neck = neck(WIDTHS[-1])

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The embedding; outputs of the stages, (1, 128, 128, 128) and (1, 160 or 320, 64, 64)."""
        x = self.patch_embed["seq"](image)
        stages = []
        for i in range(len(STAGES)):
            x = self.get_submodule(f"stage{i + 1}")(x)
            stages.append(x)
        return self.neck(x), stages


def neck(inside: int) -> nn.Sequential:
    """Channels of the stages to those of an embedding."""
    return nn.Sequential(
        nn.Conv2d(inside, CHANNELS, 1, bias=False),
        LayerNorm2d(CHANNELS),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
        LayerNorm2d(CHANNELS),
    )
