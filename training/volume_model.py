"""A small network in three dimensions: the region around a volume's box to its mask, in one run.

A U-Net (Ronneberger et al., arXiv 1505.04597; in 3D Çiçek et al., arXiv 1606.06650) of residual
blocks.  The picture is halved in x and y before anything costs, and the finest level is convolved
in its slices alone: slices are often thick, and there is most of the work.

Shapes: N boxes, region of Z x Y x X cells, axes in the order z, y, x.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.recipe import VolumeModelConfig

PLACE_CHANNELS = 6
"""Of the second input: w, v, u and their squares."""

Kernel = tuple[int, int, int]
WHOLE: Kernel = (3, 3, 3)
IN_SLICE: Kernel = (1, 3, 3)


def conv_norm3d(inputs: int, outputs: int, kernel: Kernel, stride: Kernel = (1, 1, 1)) -> nn.Module:
    """Convolution, batch norm (folded when exported), ReLU."""
    pad = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    conv = nn.Conv3d(inputs, outputs, kernel, stride, pad, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(outputs), nn.ReLU())


class Residual3d(nn.Module):
    """Two convolutions around a skip."""

    def __init__(self, channels: int, kernel: Kernel = WHOLE) -> None:
        super().__init__()
        pad = (kernel[0] // 2, 1, 1)
        self.first = conv_norm3d(channels, channels, kernel)
        self.second = nn.Sequential(
            nn.Conv3d(channels, channels, kernel, 1, pad, bias=False), nn.BatchNorm3d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.relu(x + self.second(self.first(x)))


class VolumeNetwork(nn.Module):
    """Boxes of a volume to masks, each in its region.

    Inputs, both float32:
        crops  (N, 2, Z, Y, X): the picture in the region, -1..1, and the share of each cell that
               lies inside the volume, 0..1
        place  (N, 6, Z, Y/2, X/2): where each cell lies in the box, w, v, u with the box's faces
               at -1 and 1, and their squares
    Output: logits (N, Z, Y, X), positive inside the object.
    """

    def __init__(self, config: VolumeModelConfig) -> None:
        super().__init__()
        s, (a, b, c) = config.stem, config.widths
        self.stem = conv_norm3d(2, s, IN_SLICE, (1, 2, 2))
        self.fine = nn.Sequential(
            conv_norm3d(s + PLACE_CHANNELS, s, IN_SLICE), Residual3d(s, IN_SLICE)
        )
        self.down1 = conv_norm3d(s, a, WHOLE, (2, 2, 2))
        self.level1 = Residual3d(a)
        self.down2 = conv_norm3d(a, b, WHOLE, (2, 2, 2))
        self.level2 = nn.Sequential(Residual3d(b), Residual3d(b))
        self.down3 = conv_norm3d(b, c, WHOLE, (2, 2, 2))
        self.level3 = nn.Sequential(Residual3d(c), Residual3d(c))
        self.up3, self.up2, self.up1 = nn.Conv3d(c, b, 1), nn.Conv3d(b, a, 1), nn.Conv3d(a, s, 1)
        self.join2, self.join1 = Residual3d(b), Residual3d(a)
        self.join0 = Residual3d(s, IN_SLICE)
        self.head = nn.Conv3d(s + PLACE_CHANNELS, 4, 3, 1, 1)

    def forward(self, crops: Tensor, place: Tensor) -> Tensor:  # noqa: D102
        x0 = self.fine(torch.cat([self.stem(crops), place], 1))
        x1 = self.level1(self.down1(x0))
        x2 = self.level2(self.down2(x1))
        x3 = self.level3(self.down3(x2))
        x2 = self.join2(x2 + double3d(self.up3(x3)))
        x1 = self.join1(x1 + double3d(self.up2(x2)))
        x0 = self.join0(x0 + double3d(self.up1(x1)))
        quarters = self.head(torch.cat([x0, place], 1))  # (N, 4, Z, Y/2, X/2)
        return woven(quarters)


def double3d(x: Tensor) -> Tensor:
    """Trilinear up-sampling by two."""
    return functional.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)


def woven(quarters: Tensor) -> Tensor:
    """(N, 4, Z, h, w) to (N, Z, 2h, 2w): a pixel shuffle in every slice."""
    n, _, z, h, w = quarters.shape
    cells = quarters.reshape(n, 2, 2, z, h, w).permute(0, 3, 4, 1, 5, 2)
    return cells.reshape(n, z, 2 * h, 2 * w)
