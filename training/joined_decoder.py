"""Two decoders that differ as much as they can, the plain one and the pretrained one, and the mean
of their answers: each errs where the other need not (an ensemble; Hansen and Salamon, 1990).

Inputs and outputs are those of :class:`training.mask_decoder.MaskDecoder`, without an IoU head.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.resample import axis_weights
from training.mask_decoder import MaskDecoder
from training.pretrained_decoder import PretrainedDecoder
from training.recipe import ModelConfig


class JoinedDecoder(nn.Module):
    """Regions have the pretrained decoder's resolution; the plain one sees them resampled to its
    own (``model.plain_region``), as ``inference`` would resample the picture.  Slices of volumes,
    whose neighbours and priors the pretrained one is not trained on, are the plain one's alone."""

    shrink: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.share, self.side = config.pretrained_share, config.region_size
        self.pretrained = PretrainedDecoder(config)
        self.plain = MaskDecoder(replace(config, region_size=config.plain_region))
        weights = axis_weights(0, self.side, self.side, config.plain_region)
        self.register_buffer("shrink", torch.from_numpy(weights), persistent=False)

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
        asked = (regions, boxes, context, image_of_region)
        seen = self.pretrained(embedding, crops, *asked)
        small = self.plain(embedding, self.shrink @ crops @ self.shrink.T, *asked)
        plain = functional.interpolate(
            small[:, None], size=(self.side, self.side), mode="bilinear", align_corners=False
        )[:, 0]
        share = self.share * (1 - context[:, 0, None, None])  # none of it in a volume
        joined: Tensor = share * seen + (1 - share) * plain
        return joined
