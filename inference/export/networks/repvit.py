"""The image encoder of Rep-MedSAM: RepViT-M1.0 with another stem and fourth stage.

Wang et al., RepViT, arXiv 2307.09283; Wei et al., Rep-MedSAM (third place).  Against RepViT-M1.0:
the stem does not shrink (strides 1), and the fourth stage begins with a block that only widens, so
256 pixels give a 64 x 64 embedding.
"""

from dataclasses import dataclass

import torch
from kornia.models.common import LayerNorm2d
from torch import nn

from inference.export.networks.sam_parts import CHANNELS


@dataclass(frozen=True)
class _Block:
    """One block: output channels, squeeze-and-excitation or not, stride."""

    channels: int
    excited: bool = False
    stride: int = 1


def _stage(channels: int, count: int, stride: int) -> list[_Block]:
    """A first block of ``stride``, ``count`` alternating ones, the first of them excited, and a
    last plain one."""
    first = _Block(channels, False, stride)
    return [first, *[_Block(channels, i % 2 == 0) for i in range(count)], _Block(channels)]


BLOCKS = (
    [_Block(56, True), _Block(56), _Block(56)]
    + _stage(112, 2, 2)
    + _stage(224, 14, 2)
    + [_Block(448), _Block(448, True), _Block(448)]
)
"""Blocks after the stem, in order."""


class ConvNorm(nn.Sequential):
    """Convolution without bias and batch norm."""

    def __init__(self, inside: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        super().__init__()
        self.add_module(
            "c", nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        )
        self.add_module("bn", nn.BatchNorm2d(out))


class Excitation(nn.Module):
    """Squeeze-and-excitation with a quarter of the channels, rounded to a multiple of 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(8, int(channels * 0.25 + 4) // 8 * 8)
        if reduced < 0.9 * channels * 0.25:
            reduced += 8
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` weighted by channel."""
        squeezed = torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(squeezed))


class Reparametrised(nn.Module):
    """Depthwise 3 x 3, depthwise 1 x 1 and identity, summed and normed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 3, 1, channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, groups=channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x``."""
        mixed: torch.Tensor = self.bn(self.conv(x) + self.conv1(x) + x)
        return mixed


class Residual(nn.Module):
    """``x + m(x)``."""

    def __init__(self, m: nn.Module) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape as ``x``."""
        total: torch.Tensor = x + self.m(x)
        return total


class RepVitBlock(nn.Module):
    """Mixing over the picture, then over channels."""

    def __init__(self, inside: int, block: _Block) -> None:
        super().__init__()
        out = block.channels
        excited = Excitation(inside) if block.excited else nn.Identity()
        if block.stride == 2:
            shrink = ConvNorm(inside, inside, 3, 2, inside)
            self.token_mixer = nn.Sequential(shrink, excited, ConvNorm(inside, out))
            self.channel_mixer: nn.Module = Residual(_channel_mixer(out, 2 * out, out))
        else:
            self.token_mixer = nn.Sequential(Reparametrised(inside), excited)
            mixer = _channel_mixer(inside, 2 * inside, out)
            self.channel_mixer = Residual(mixer) if inside == out else mixer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) to (1, C', h, w) or half of it."""
        mixed: torch.Tensor = self.channel_mixer(self.token_mixer(x))
        return mixed


def _channel_mixer(inside: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(inside, hidden), nn.GELU(), ConvNorm(hidden, out))


class RepMedSamEncoder(nn.Module):
    """(1, 3, 256, 256) to (1, 256, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        width = BLOCKS[0].channels
        stem = nn.Sequential(ConvNorm(3, width // 2, 3), nn.GELU(), ConvNorm(width // 2, width, 3))
        layers: list[nn.Module] = [stem]
        for block in BLOCKS:
            layers.append(RepVitBlock(width, block))
            width = block.channels
        self.features = nn.ModuleList(layers)
        self.neck = nn.Sequential(
            nn.Conv2d(width, CHANNELS, 1, bias=False),
            LayerNorm2d(CHANNELS),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
            LayerNorm2d(CHANNELS),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The embedding."""
        for layer in self.features:
            image = layer(image)
        embedding: torch.Tensor = self.neck(image)
        return embedding
