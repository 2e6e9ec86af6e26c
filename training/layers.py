"""Layers that encoder and decoders share."""

from torch import Tensor, nn
from torch.nn import functional


def conv_norm(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm (folded when exported), ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    """Two convolutions around a skip (He et al., arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.relu(x + self.second(self.first(x)))


class Inverted(nn.Module):
    """How a block of a mobile network runs (Sandler et al., arXiv 1801.04381): expansion, depthwise
    convolution, projection, around a skip where shapes allow."""

    expand: nn.Module | None
    depthwise: nn.Module
    project: nn.Module
    residual: bool

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = x if self.expand is None else functional.relu(self.expand(x))
        y = self.project(functional.relu(self.depthwise(y)))
        return x + y if self.residual else y


def double(x: Tensor) -> Tensor:
    """Bilinear up-sampling by two."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
