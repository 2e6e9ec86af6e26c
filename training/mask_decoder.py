"""The default network's plain mask decoder.

As Mask R-CNN does (He et al., arXiv 1703.06870), each box is answered in a frame of its own, the
*region*: the box with a margin.  Unlike Mask R-CNN the decoder also sees the picture inside the
region at its own resolution, so that an object of a few pixels in the encoder's input keeps its
outline.

Shapes: B images, N regions, S encoder input side, R region side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.layers import Residual, conv_norm, double
from training.recipe import ModelConfig
from training.region_view import RegionView


class MaskDecoder(RegionView):
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
        super().__init__(config)
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
            where = self.place(regions, boxes, 4 * self.grid)
            picture.append(self.standardised(crops[:, :3], where))
        if self.others:
            picture.append(crops[:, 4:])
        x0 = self.stem(torch.cat(picture, 1))
        x0 = self.fine(torch.cat([x0, self.place(regions, boxes, 2 * self.grid)], 1))
        told = self.told(embedding, regions, boxes, context, image_of_region)
        x1 = self.level1(self.merge(torch.cat([self.down1(x0), told], 1)))
        x2 = self.level2(self.down2(x1))
        x3 = self.level3(self.down3(x2))
        x2 = self.join2(x2 + double(self.up3(x3)))
        x1 = self.join1(x1 + double(self.up2(x2)))
        x0 = self.join0(x0 + double(self.up1(x1)))
        logits = functional.pixel_shuffle(self.head(x0), 2)[:, 0]  # (N, R, R)
        if self.iou_head is None:
            return logits
        return logits, self.iou_head(x3.mean((2, 3)))[:, 0].sigmoid()
