"""How a decoder sees a region: where its cells lie in the box, its contrast, the embedding there.

Shapes as in :mod:`training.mask_decoder`.  Written in few steps, for every one costs a fifth of a
millisecond whenever the exported graph is opened (`docs/speed.md`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.recipe import ModelConfig

_LEAST_DEVIATION = 2.0
"""Grey levels added to a box's deviation, so that the noise of an even surface stays small."""


class RegionView(nn.Module):
    """What decoders of regions share."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_size, self.grid = config.input_size, config.region_size // 4

    def told(
        self,
        embedding: Tensor,
        regions: Tensor,
        boxes: Tensor,
        context: Tensor,
        image_of_region: Tensor | None,
    ) -> Tensor:
        """(N, C + 6, R/4, R/4): the embedding sampled in each region, where its cells lie, and the
        context."""
        n, grid = regions.shape[0], self.grid
        seen = self.sample(embedding, regions, image_of_region)
        where = self.place(regions, boxes, grid)
        return torch.cat([seen, where, context[:, :, None, None].expand(n, 2, grid, grid)], 1)

    def place(self, regions: Tensor, boxes: Tensor, side: int) -> Tensor:
        """Where each cell lies in the box: u, v, u*u, v*v with the box's edges at -1 and 1; (N, 4,
        side, side)."""
        low, high = corners(regions)
        first, last = corners(boxes)
        extent = last - first
        uv = cells(side, regions) * (2 * (high - low) / extent) + (2 * low - first - last) / extent
        uv = uv.clamp(-3, 3)
        return torch.cat([uv, uv * uv], 1)

    def standardised(self, crops: Tensor, where: Tensor) -> Tensor:
        """Crops (N, 3, R, R) with mean 0 and deviation 1 a channel over the pixels inside the box,
        which unlike its margin is never outside the picture; -4..4.

        ``where``: of these cells, as :meth:`place` gives it.
        """
        inside = (where[:, 2:].amax(1, keepdim=True) <= 1).to(crops.dtype)
        count = inside.sum((2, 3), keepdim=True).clamp(min=1)
        apart = crops - (crops * inside).sum((2, 3), keepdim=True) / count
        variance = (apart.square() * inside).sum((2, 3), keepdim=True) / count
        return (apart / (variance.sqrt() + _LEAST_DEVIATION)).clamp(-4, 4)

    def sample(self, embedding: Tensor, regions: Tensor, image_of_region: Tensor | None) -> Tensor:
        """The embedding on each region's grid, bilinear: (N, C, R/4, R/4)."""
        low, high = regions[:, None, None, :2], regions[:, None, None, 2:]
        at = cells(self.grid, regions).permute(0, 2, 3, 1)  # (1, R/4, R/4, 2)
        grid = at * ((high - low) * (2 / self.input_size)) + (low * (2 / self.input_size) - 1)
        if image_of_region is not None:
            return functional.grid_sample(embedding[image_of_region], grid, align_corners=False)
        rows = grid.reshape(1, -1, self.grid, 2)  # every region of the one image below the last
        seen = functional.grid_sample(embedding, rows, align_corners=False)  # (1, C, N * g, g)
        return seen.reshape(embedding.shape[1], -1, self.grid, self.grid).transpose(0, 1)


def corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """First and last corner (N, 2, 1, 1) of boxes (N, 4)."""
    return boxes[:, :2, None, None], boxes[:, 2:, None, None]


def cells(side: int, like: Tensor) -> Tensor:
    """(1, 2, side, side) x and y of the middle of each cell of a region, 0..1."""
    along = (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side
    return torch.stack(torch.meshgrid(along, along, indexing="xy"))[None]
