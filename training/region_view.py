"""How a decoder sees a region: where its cells lie in the box, its contrast, the embedding there.

Shapes as in :mod:`training.mask_decoder`.
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
