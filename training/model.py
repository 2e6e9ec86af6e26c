"""The default network: a light image encoder and a box-prompted mask decoder.

The encoder (MobileNetV2, Sandler et al., arXiv 1801.04381, with a feature pyramid, Lin et al.,
arXiv 1612.03144) turns an image into one embedding; the decoder answers a batch of boxes from it.
As Mask R-CNN does (He et al., arXiv 1703.06870), each box is answered in a frame of its own, the
*region*: the box with a margin.  Unlike Mask R-CNN the decoder also sees the picture inside the
region at its own resolution, so that an object of a few pixels in the encoder's input keeps its
outline.

Shapes: B images, N regions, S encoder input side, R region side.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

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

_LEAST_DEVIATION = 2.0
"""Grey levels added to a box's deviation, so that the noise of an even surface stays small."""

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


class InvertedResidual(nn.Module):
    """One MobileNetV2 block, batch norms folded into the convolutions."""

    def __init__(self, inputs: int, expand: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = SameConv(inputs, hidden, 1) if expand > 1 else None
        self.depthwise = SameConv(hidden, hidden, 3, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = x if self.expand is None else functional.relu(self.expand(x))
        y = self.project(functional.relu(self.depthwise(y)))
        return x + y if self.residual else y


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


class MaskDecoder(nn.Module):
    """Boxes to masks, each in its region.

    Inputs, all float32:
        embedding  (B, C, S/4, S/4) of :class:`ImageEncoder`
        crops      (N, 4, R, R): the picture in the region, 0..255, and a prior mask, 0..1 (zeros:
                   none); with ``config.others`` (N, 6, R, R): then the picture's other boxes
        regions    (N, 4) x_min, y_min, x_max, y_max edges of the region, encoder-input pixels
        boxes      (N, 4) the same for the prompt
        context    (N, 2): 1 for a slice of a volume else 0; of a volume the distance from the
                   middle of the box along z, 0..1, of a picture 1 where the box is known to be
                   tight, else 0
    Output: logits (N, R, R), positive inside the object; with ``config.iou_head`` also the IoU
    (N,) that it expects of the mask, 0..1 (SAM's head, Kirillov et al., arXiv 2304.02643, there
    from a token, here from the coarsest level).  Without the head neither weights nor graph know
    of it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_size, self.grid = config.input_size, config.region_size // 4
        s, (a, b, c) = config.stem, config.widths
        self.contrast, self.others = config.contrast, config.others
        self.stem = conv_norm(4 + 3 * config.contrast + 2 * config.others, s, 2)
        self.fine = nn.Sequential(conv_norm(s + 4, s), Residual(s))
        self.down1 = conv_norm(s, a, 2)
        self.merge = conv_norm(a + config.embedding_channels + 6, a, kernel=1)
        self.level1 = nn.Sequential(Residual(a), Residual(a))
        self.down2 = conv_norm(a, b, 2)
        self.level2 = nn.Sequential(Residual(b), Residual(b))
        self.down3 = conv_norm(b, c, 2)
        self.level3 = nn.Sequential(Residual(c), Residual(c))
        self.up3, self.up2, self.up1 = nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1), nn.Conv2d(a, s, 1)
        self.join2, self.join1, self.join0 = Residual(b), Residual(a), Residual(s)
        self.head = nn.Conv2d(s, 4, 3, 1, 1)
        self.iou_head = (
            nn.Sequential(nn.Linear(c, 64), nn.ReLU(), nn.Linear(64, 1))
            if config.iou_head
            else None
        )

    def forward(
        self,
        embedding: Tensor,
        crops: Tensor,
        regions: Tensor,
        boxes: Tensor,
        context: Tensor,
        image_of_region: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """``image_of_region`` (N,) says which image each region is of; without it B must be 1."""
        picture = [crops[:, :3] / 127.5 - 1, crops[:, 3:4]]
        if self.contrast:
            picture.append(self.standardised(crops[:, :3], regions, boxes))
        if self.others:
            picture.append(crops[:, 4:])
        x0 = self.stem(torch.cat(picture, 1))
        x0 = self.fine(torch.cat([x0, self.place(regions, boxes, 2 * self.grid)], 1))
        x1 = self.down1(x0)
        n = regions.shape[0]
        seen = self.sample(embedding, regions, image_of_region)
        context_map = context[:, :, None, None].expand(n, 2, self.grid, self.grid)
        where = self.place(regions, boxes, self.grid)
        x1 = self.level1(self.merge(torch.cat([x1, seen, where, context_map], 1)))
        x2 = self.level2(self.down2(x1))
        x3 = self.level3(self.down3(x2))
        x2 = self.join2(x2 + double(self.up3(x3)))
        x1 = self.join1(x1 + double(self.up2(x2)))
        x0 = self.join0(x0 + double(self.up1(x1)))
        logits = functional.pixel_shuffle(self.head(x0), 2)[:, 0]  # (N, R, R)
        if self.iou_head is None:
            return logits
        return logits, self.iou_head(x3.mean((2, 3)))[:, 0].sigmoid()

    def place(self, regions: Tensor, boxes: Tensor, side: int) -> Tensor:
        """Where each cell lies in the box: u, v, u*u, v*v with the box's edges at -1 and 1; (N, 4,
        side, side)."""
        cells = (torch.arange(side, dtype=regions.dtype, device=regions.device) + 0.5) / side
        low, extent = regions[:, :2, None], (regions[:, 2:] - regions[:, :2])[:, :, None]
        centre = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, :, None]
        half = ((boxes[:, 2:] - boxes[:, :2]) / 2)[:, :, None]
        uv = ((low + extent * cells - centre) / half).clamp(-3, 3)  # (N, 2, side)
        u = uv[:, 0, None, :].expand(-1, side, side)
        v = uv[:, 1, :, None].expand(-1, side, side)
        return torch.stack([u, v, u * u, v * v], 1)

    def standardised(self, crops: Tensor, regions: Tensor, boxes: Tensor) -> Tensor:
        """Crops (N, 3, R, R) with mean 0 and deviation 1 a channel over the pixels inside the box,
        which unlike its margin is never outside the picture; -4..4."""
        place = self.place(regions, boxes, crops.shape[-1])[:, :2]
        inside = (place.abs().amax(1, keepdim=True) <= 1).to(crops.dtype)
        count = inside.sum((2, 3), keepdim=True).clamp(min=1)
        apart = crops - (crops * inside).sum((2, 3), keepdim=True) / count
        variance = (apart.square() * inside).sum((2, 3), keepdim=True) / count
        return (apart / (variance.sqrt() + _LEAST_DEVIATION)).clamp(-4, 4)

    def sample(self, embedding: Tensor, regions: Tensor, image_of_region: Tensor | None) -> Tensor:
        """The embedding on each region's grid, bilinear: (N, C, R/4, R/4)."""
        cells = (
            torch.arange(self.grid, dtype=regions.dtype, device=regions.device) + 0.5
        ) / self.grid
        low, extent = regions[:, :2, None], (regions[:, 2:] - regions[:, :2])[:, :, None]
        xy = (low + extent * cells) * (2 / self.input_size) - 1  # (N, 2, grid)
        g = self.grid
        grid = torch.stack(
            [xy[:, 0, None, :].expand(-1, g, g), xy[:, 1, :, None].expand(-1, g, g)], -1
        )
        if image_of_region is not None:
            return functional.grid_sample(embedding[image_of_region], grid, align_corners=False)
        rows = grid.reshape(1, -1, g, 2)  # every region of the one image below the last
        seen = functional.grid_sample(embedding, rows, align_corners=False)  # (1, C, N * g, g)
        return seen.reshape(embedding.shape[1], -1, g, g).transpose(0, 1)


def double(x: Tensor) -> Tensor:
    """Bilinear up-sampling by two."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class PromptedSegmenter(nn.Module):
    """Encoder and decoder together, as they are trained."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        self.encoder = ImageEncoder(self.config)
        self.decoder = MaskDecoder(self.config)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (N, R, R) and, with an IoU head, expected IoU (N,) of a batch of
        :func:`training.samples.collate`."""
        found = self.decoder(
            self.encoder(batch["images"].contiguous(memory_format=torch.channels_last)),
            batch["crops"].contiguous(memory_format=torch.channels_last),
            batch["regions"],
            batch["boxes"],
            batch["context"],
            batch["image_of_region"],
        )
        return found if isinstance(found, tuple) else (found, None)
