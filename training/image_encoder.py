"""The default network's image encoder: MobileNetV2 (Sandler et al., arXiv 1801.04381) with a
feature pyramid (Lin et al., arXiv 1612.03144).

Shapes: B images, S encoder input side.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.layers import Inverted, conv_norm
from training.recipe import ModelConfig

MOBILENET_BLOCKS = (
    # expand, channels, repeats, stride: table 2 of Sandler et al.
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
TAPS = (2, 5, 12, 16)
"""Blocks whose outputs feed the pyramid: strides 4, 8, 16 and 32."""

# MobileNetV2 clips at 6 (ReLU6); here ReLU: the warm start does not mind and its gradient is many
# times cheaper on a CPU.


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, as the warm-start weights were trained."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if self.stride[0] == 2:  # even input, kernel 3: one pixel after, none before
            return functional.conv2d(
                functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias, 2, 0, 1, self.groups
            )
        return functional.conv2d(
            x, self.weight, self.bias, 1, self.kernel_size[0] // 2, 1, self.groups
        )


class InvertedResidual(Inverted):
    """One MobileNetV2 block, batch norms folded into the convolutions."""

    expand: SameConv | None
    depthwise: SameConv
    project: SameConv

    def __init__(self, inputs: int, expand: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = SameConv(inputs, hidden, 1) if expand > 1 else None
        self.depthwise = SameConv(hidden, hidden, 3, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs


class ImageEncoder(nn.Module):
    """Image to embedding: (B, 3, S, S) in 0..255 to (B, C, S/4, S/4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kept = False
        self.stem = SameConv(3, 32, 3, 2)
        blocks, inputs = [], 32
        for expand, channels, repeats, stride in MOBILENET_BLOCKS:
            for i in range(repeats):
                blocks.append(InvertedResidual(inputs, expand, channels, stride if i == 0 else 1))
                inputs = channels
        self.blocks = nn.ModuleList(blocks)
        c = config.embedding_channels
        self.laterals = nn.ModuleList(nn.Conv2d(n, c, 1) for n in (24, 32, 96, 320))
        self.pool = nn.Linear(320, c)  # what the whole picture shows, added to the coarsest level
        self.smooth = nn.ModuleList(conv_norm(c, c) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        x = functional.relu(self.stem(images / 127.5 - 1))
        taps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                taps.append(x)
        top: Tensor = self.laterals[3](taps[3]) + self.pool(taps[3].mean((2, 3)))[:, :, None, None]
        for level, smooth in zip((2, 1, 0), self.smooth, strict=True):
            up = functional.interpolate(top, scale_factor=2.0, mode="bilinear", align_corners=False)
            top = smooth(up + self.laterals[level](taps[level]))
        return top

    def freeze(self, blocks: int) -> None:
        """Keep the stem and the first ``blocks`` blocks as they are: generic features, and most of
        a step's work; -1 keeps everything, batch-norm statistics included."""
        if blocks < 0:
            self.requires_grad_(False)
            self.kept = True
        elif blocks > 0:
            self.stem.requires_grad_(False)
            self.blocks[:blocks].requires_grad_(False)

    def train(self, mode: bool = True) -> "ImageEncoder":
        """As :meth:`torch.nn.Module.train`; an encoder that is kept whole stays in use mode."""
        super().train(mode and not self.kept)
        return self

    def load_mobilenet(self, path: Path) -> None:
        """Warm start from a batch-norm-folded MobileNetV2 in PyTorch layout (npz)."""
        weights = np.load(path)

        def copy(conv: nn.Conv2d | None, name: str) -> None:
            if conv is not None:
                conv.weight.data.copy_(torch.from_numpy(weights[f"{name}.weight"]))
            if conv is not None and conv.bias is not None:
                conv.bias.data.copy_(torch.from_numpy(weights[f"{name}.bias"]))

        copy(self.stem, "Conv")
        for i, block in enumerate(self.blocks):
            if not isinstance(block, InvertedResidual):
                raise TypeError(f"block {i}: expected InvertedResidual, found {type(block)}")
            prefix = "expanded_conv" + (f"_{i}" if i else "")
            copy(block.expand, f"{prefix}.expand")
            copy(block.depthwise, f"{prefix}.depthwise")
            copy(block.project, f"{prefix}.project")
