"""SAM's prompt encoder and mask decoder, and a model that is an image encoder with both.

Kirillov et al., Segment Anything, arXiv 2304.02643.  kornia's modules load the published tensors
under their published names.
"""

from dataclasses import dataclass

import torch
from kornia.models.sam.architecture.mask_decoder import MaskDecoder
from kornia.models.sam.architecture.prompt_encoder import PromptEncoder
from kornia.models.sam.architecture.transformer import TwoWayTransformer
from torch import nn

CHANNELS = 256
GRID = 64
"""Side of the embedding."""


@dataclass(frozen=True)
class TracedGraph:
    """A module that becomes a graph."""

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    """By name, in order: to trace it with and to compare engines on."""
    outputs: tuple[str, ...]


class SamModel(nn.Module):
    """An image encoder, a prompt encoder and a mask decoder, named as all the systems name them."""

    def __init__(self, image_encoder: nn.Module, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(
            embed_dim=CHANNELS,
            image_embedding_size=(GRID, GRID),
            input_image_size=(input_size, input_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=CHANNELS, mlp_dim=2048, num_heads=8
            ),
            transformer_dim=CHANNELS,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )

    def graphs(self, scribbles: bool = False) -> dict[str, TracedGraph]:
        """``encoder``, ``decoder`` and, if wanted, ``scribbles``; without that where the model can
        not be asked about strokes alone."""
        random = torch.Generator().manual_seed(0)
        side = self.input_size
        image = torch.rand(1, 3, side, side, generator=random)
        embedding = torch.randn(1, CHANNELS, GRID, GRID, generator=random)
        box = torch.tensor([[0.2, 0.3, 0.7, 0.6]]) * side
        graphs = {
            "encoder": TracedGraph(self.image_encoder, {"image": image}, ("embedding",)),
            "decoder": TracedGraph(
                SamDecoderGraph(self), {"embedding": embedding, "boxes": box}, ("logits",)
            ),
        }
        if scribbles:
            strokes = torch.zeros(1, 1, 4 * GRID, 4 * GRID)
            strokes[..., 100:104, 40:160] = 1
            asked = {"embedding": embedding, "strokes": strokes}
            graphs["scribbles"] = TracedGraph(SamScribbleGraph(self), asked, ("logits",))
        return graphs


def set_norm_eps(module: nn.Module, eps: float) -> None:
    """Set the epsilon of every batch, layer and group norm, as EfficientViT's builder does.

    It is in no checkpoint: a definition that leaves PyTorch's 1e-5 loads strictly and is silently
    off by up to 7e-5.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            part.eps = eps


def decoder_tokens(model: SamModel) -> torch.Tensor:
    """(1, 5, 256): the decoder's own tokens, the same whatever it is asked."""
    held = model.mask_decoder.state_dict()
    return torch.cat([held["iou_token.weight"], held["mask_tokens.weight"]])[None]


def encode_points(places: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """(1, N, 256) of places (1, N, 2), 0..1, by random frequencies (2, 128)."""
    angles = 2 * torch.pi * ((2 * places - 1) @ frequencies)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class _MaskGraph(nn.Module):
    """What box and scribble decoders share: tokens and a source in, logits (1, 256, 256) out.

    Only the mask that these prompts use (token 0) is up-scaled; what depends on the weights alone
    is a constant of the graph.
    """

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.decoder = model.mask_decoder
        self.tokens = decoder_tokens(model)
        self.position = model.prompt_encoder.get_dense_pe().detach()

    def logits(self, source: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (1, 256, 256)."""
        answered, pixels = self.decoder.transformer(source, self.position, tokens)
        pixels = pixels.transpose(1, 2).reshape(1, CHANNELS, GRID, GRID)
        upscaled = self.decoder.output_upscaling(pixels)  # (1, 32, 256, 256)
        weights = self.decoder.output_hypernetworks_mlps[0](answered[:, 1])  # (1, 32)
        side = upscaled.shape[-1]
        logits: torch.Tensor = weights[:, None] @ upscaled.flatten(2)
        return logits.reshape(1, side, side)


class SamDecoderGraph(_MaskGraph):
    """Box prompt and mask decoder as one graph: embedding (1, 256, 64, 64) and one box (1, 4), in
    encoder-input pixels with any offset already added, to logits (1, 256, 256)."""

    def __init__(self, model: SamModel) -> None:
        super().__init__(model)
        self.side = float(model.input_size)
        held = model.prompt_encoder.state_dict()
        corners = torch.cat([held[f"point_embeddings.{i}.weight"] for i in (2, 3)])
        self.corners = corners[None]  # (1, 2, 256)
        self.frequencies = held["pe_layer.positional_encoding_gaussian_matrix"]  # (2, 128)
        self.no_mask = held["no_mask_embed.weight"].reshape(1, -1, 1, 1)

    def forward(self, embedding: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Logits (1, 256, 256)."""
        places = boxes.reshape(1, 2, 2) / self.side
        prompt = encode_points(places, self.frequencies) + self.corners
        return self.logits(embedding + self.no_mask, torch.cat([self.tokens, prompt], dim=1))


class SamScribbleGraph(_MaskGraph):
    """Mask prompt and mask decoder as one graph: embedding (1, 256, 64, 64) and strokes
    (1, 1, 256, 256), 0 or 1, to logits (1, 256, 256); no box and no point besides."""

    def __init__(self, model: SamModel) -> None:
        super().__init__(model)
        self.downscaling = model.prompt_encoder.mask_downscaling

    def forward(self, embedding: torch.Tensor, strokes: torch.Tensor) -> torch.Tensor:
        """Logits (1, 256, 256)."""
        return self.logits(embedding + self.downscaling(strokes), self.tokens)
