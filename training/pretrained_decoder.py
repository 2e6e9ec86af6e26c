"""A decoder whose eyes are pretrained: :class:`training.efficientnet.LiteBackbone` looks at each
region, and a U-Net's way back up (Ronneberger et al., arXiv 1505.04597) draws the mask.

Inputs and outputs are those of :class:`training.mask_decoder.MaskDecoder`, without an IoU head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.efficientnet import TAPS, LiteBackbone
from training.errors import ConfigError
from training.layers import Residual, conv_norm, double
from training.recipe import ModelConfig
from training.region_view import RegionView

_WIDTHS = (32, 64, 96, 128)
"""Channels on the way back up, at strides 2, 4, 8 and 16."""


class PretrainedDecoder(RegionView):
    """Boxes to masks, each in its region, by a pretrained backbone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if config.region_size % 32 or config.others or config.iou_head:
            raise ConfigError(
                f"model.decoder: expected a region_size of a multiple of 32 without others and "
                f"iou_head, found {config.region_size}, {config.others} and {config.iou_head}"
            )
        self.backbone = LiteBackbone(extra=8)
        taps = list(TAPS.values())
        told = config.embedding_channels + 6
        self.tell = nn.Conv2d(told, taps[1], 1)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)  # type: ignore[arg-type]
        a, b, c, d = _WIDTHS
        self.stem = conv_norm(11, a, 2)
        self.top = conv_norm(taps[4], d, kernel=1)
        self.laterals = nn.ModuleList(
            conv_norm(n + more, w, kernel=1)
            for n, w, more in (
                (taps[0], a, a),
                (taps[1], b, told),
                (taps[2], c, 0),
                (taps[3], d, 0),
            )
        )
        self.ups = nn.ModuleList(nn.Conv2d(n, w, 1) for n, w in ((b, a), (c, b), (d, c), (d, d)))
        self.joins = nn.ModuleList(Residual(w) for w in _WIDTHS)
        self.head = nn.Conv2d(a, 4, 3, 1, 1)

    def forward(
        self,
        embedding: Tensor,
        crops: Tensor,
        regions: Tensor,
        boxes: Tensor,
        context: Tensor,
        image_of_region: Tensor | None = None,
    ) -> Tensor:
        """As :meth:`training.mask_decoder.MaskDecoder.forward`."""
        picture = crops[:, :3] / 127.5 - 1
        where = self.place(regions, boxes, 4 * self.grid)
        seen_as = self.standardised(crops[:, :3], where)
        shown = torch.cat([picture, crops[:, 3:4], seen_as, where], 1)
        told = self.told(embedding, regions, boxes, context, image_of_region)
        taps = self.backbone(shown, self.tell(told))
        more = [self.stem(shown), told, None, None]
        x = self.top(taps[4])
        for level in (3, 2, 1, 0):
            tap, side = taps[level], more[level]
            own = self.laterals[level](tap if side is None else torch.cat([tap, side], 1))
            x = self.joins[level](functional.relu(own + double(self.ups[level](x))))
        return functional.pixel_shuffle(self.head(x), 2)[:, 0]
