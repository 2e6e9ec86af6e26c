"""The default network: a light image encoder and a box-prompted mask decoder.

The encoder (:mod:`training.image_encoder`) turns an image into one embedding; the decoder answers a
batch of boxes from it, each in a region of its own.  There are three decoders of one contract: one
that learns to see from the cases alone (:mod:`training.mask_decoder`), one whose eyes are
pretrained (:mod:`training.pretrained_decoder`), and both together (:mod:`training.joined_decoder`).
"""

import torch
from torch import Tensor, nn

from training.image_encoder import ImageEncoder
from training.joined_decoder import JoinedDecoder
from training.mask_decoder import MaskDecoder
from training.pretrained_decoder import PretrainedDecoder
from training.recipe import ModelConfig

DECODERS: dict[str, type[nn.Module]] = {
    "plain": MaskDecoder,
    "pretrained": PretrainedDecoder,
    "joined": JoinedDecoder,
}
"""By ``model.decoder``."""


class PromptedSegmenter(nn.Module):
    """Encoder and decoder together, as they are trained."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        self.encoder = ImageEncoder(self.config)
        self.decoder = DECODERS[self.config.decoder](self.config)

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
