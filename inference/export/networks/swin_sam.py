"""Swin-LiteMedSAM: a Swin encoder, SAM's prompt encoder, and a mask decoder that also takes the
encoder's inner stages.

Gao, Lyu, Staring, Swin-LiteMedSAM (fourth place; RuochenGao/Swin_LiteMedSAM).  The decoder is asked
with a box, four points and a stroke at once.
"""

import torch
from kornia.models.common import LayerNorm2d
from kornia.models.sam.architecture.mask_decoder import MaskDecoder
from torch import nn

from inference.export.networks.sam_model import SamModel
from inference.export.networks.sam_parts import (
    CHANNELS,
    GRID,
    TracedGraph,
    decoder_tokens,
    encode_points,
)
from inference.export.networks.swin import WIDTHS, SwinEncoder, WindowAttention, neck

POINTS = 4
"""Points asked about together with a box."""

PARTS = ("embedding", "deep", "shallow")
"""What the decoder takes of a picture: the embedding, (1, 256, 64, 64), what it adds of the deep
stages there, (1, 256, 64, 64), and of the first, (1, 64, 128, 128)."""


class UnusedPrompt(nn.Module):
    """Learnt tensors that the checkpoint holds and the published forward pass leaves out."""

    def __init__(self, channels: int, side: int, count: int = 5) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.zeros(1, count, channels, side, side))
        self.linear_layer = nn.Linear(channels, count)
        self.conv3x3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)


class SkipMaskDecoder(MaskDecoder):
    """SAM's mask decoder with two up-scaling steps, each of which takes in a part of the encoder's
    stages."""

    def __init__(self, plain: MaskDecoder) -> None:
        nn.Module.__init__(self)
        for name, part in plain.named_children():
            if name != "output_upscaling":
                self.add_module(name, part)
        self.neck = neck(sum(WIDTHS[2:]))
        self.output_upscaling1 = _upscaling(2 * CHANNELS, CHANNELS, CHANNELS // 2)
        self.output_upscaling2 = _upscaling(CHANNELS, CHANNELS // 4, CHANNELS // 8)
        self.prompt1 = UnusedPrompt(128, 128)
        self.prompt2 = UnusedPrompt(32, 256)


def _upscaling(inside: int, between: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, between, 1),
        LayerNorm2d(between),
        nn.GELU(),
        nn.ConvTranspose2d(between, out, 2, 2),
        nn.GELU(),
    )


class SwinSamModel(SamModel):
    """The whole model, named as its checkpoint names it."""

    mask_decoder: SkipMaskDecoder

    def __init__(self) -> None:
        super().__init__(SwinEncoder(), 256)
        self.mask_decoder = SkipMaskDecoder(self.mask_decoder)  # of SAM's, until here

    def graphs(self, scribbles: bool = False) -> dict[str, TracedGraph]:
        """See :meth:`SamModel.graphs`; there is no decoder of scribbles alone."""
        if scribbles:
            return {}
        random = torch.Generator().manual_seed(0)
        side = self.input_size
        shapes = ((CHANNELS, GRID, GRID), (CHANNELS, GRID, GRID), (CHANNELS // 4, 128, 128))
        parts = [torch.randn(1, *shape, generator=random) for shape in shapes]
        box = torch.tensor([[0.2, 0.3, 0.7, 0.6]]) * side
        points = torch.rand(1, POINTS, 2, generator=random) * side
        strokes = torch.zeros(1, 1, 4 * GRID, 4 * GRID)
        strokes[..., 100:104, 60:160] = 1
        asked = {"boxes": box, "points": points, "strokes": strokes}
        image = torch.rand(1, 3, side, side, generator=random)
        return {
            "encoder": TracedGraph(SwinEncoderGraph(self), {"image": image}, PARTS),
            "decoder": TracedGraph(
                SwinDecoderGraph(self), dict(zip(PARTS, parts, strict=True)) | asked, ("logits",)
            ),
        }


class SwinEncoderGraph(nn.Module):
    """All that depends on the picture alone, (1, 3, 256, 256) to :data:`PARTS`.

    A 1 x 1 convolution of two things put together is the sum of one of each: the stages' part of
    both up-scaling steps is worked out here, once for all boxes, their bias included.
    """

    def __init__(self, model: SwinSamModel) -> None:
        super().__init__()
        self.encoder, decoder = model.image_encoder, model.mask_decoder
        self.neck = decoder.neck
        self.deep, self.shallow = decoder.output_upscaling1[0], decoder.output_upscaling2[0]
        with torch.no_grad():
            for i, side in enumerate((128, 64, 64, 64)):
                for part in self.encoder.get_submodule(f"stage{i + 1}").modules():
                    if isinstance(part, WindowAttention):
                        part.constant_bias = part.bias(side // 8).clone()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """:data:`PARTS`."""
        embedding, (first, *deep) = self.encoder(image)
        both = self.neck(torch.cat(deep, dim=1))
        return embedding, _second_half(self.deep, both), _second_half(self.shallow, first)


class SwinDecoderGraph(nn.Module):
    """Prompts and mask decoder as one graph: :data:`PARTS`, one box (1, 4), four points (1, 4, 2),
    both in encoder-input pixels with any offset already added, and strokes (1, 1, 256, 256), 0 or
    1, to logits (1, 256, 256)."""

    def __init__(self, model: SwinSamModel) -> None:
        super().__init__()
        self.side = float(model.input_size)
        self.decoder = model.mask_decoder
        self.tokens = decoder_tokens(model)[None]  # (1, 5, 256)
        self.position = model.prompt_encoder.get_dense_pe().detach()
        held = model.prompt_encoder.state_dict()
        self.frequencies = held["pe_layer.positional_encoding_gaussian_matrix"]
        kinds = [1] * POINTS + [2, 3]  # points of the object, two corners
        self.kinds = torch.cat([held[f"point_embeddings.{i}.weight"] for i in kinds])[None]
        self.downscaling = model.prompt_encoder.mask_downscaling
        self.first, self.second = self.decoder.output_upscaling1, self.decoder.output_upscaling2

    def forward(
        self,
        embedding: torch.Tensor,
        deep: torch.Tensor,
        shallow: torch.Tensor,
        boxes: torch.Tensor,
        points: torch.Tensor,
        strokes: torch.Tensor,
    ) -> torch.Tensor:
        """Logits (1, 256, 256)."""
        places = torch.cat([points, boxes.reshape(1, 2, 2)], dim=1)
        prompt = encode_points(places / self.side, self.frequencies) + self.kinds
        source = embedding + self.downscaling(strokes)
        tokens = torch.cat([self.tokens, prompt], dim=1)
        answered, pixels = self.decoder.transformer(source, self.position, tokens)
        pixels = pixels.transpose(1, 2).reshape(1, CHANNELS, GRID, GRID)
        upscaled = self.first[1:](_first_half(self.first[0], pixels) + deep)
        upscaled = self.second[1:](_first_half(self.second[0], upscaled) + shallow)
        weights = self.decoder.output_hypernetworks_mlps[0](answered[:, 1])  # (1, 32)
        side = upscaled.shape[-1]
        logits: torch.Tensor = weights[:, None] @ upscaled.flatten(2)
        return logits.reshape(1, side, side)


def _first_half(step: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A 1 x 1 convolution of its first input channels alone, without bias."""
    return nn.functional.conv2d(x, step.get_parameter("weight")[:, : x.shape[1]])


def _second_half(step: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A 1 x 1 convolution of its last input channels alone, with its bias."""
    weight, bias = step.get_parameter("weight"), step.get_parameter("bias")
    return nn.functional.conv2d(x, weight[:, -x.shape[1] :], bias)
