"""SAM's prompt encoder and mask decoder: a model of an image encoder with both, and its graphs.

Kirillov et al., Segment Anything, arXiv 2304.02643.  kornia's modules load the published tensors
under their published names.
"""

from typing import Any

import torch
from kornia.models.sam.architecture.mask_decoder import MaskDecoder
from kornia.models.sam.architecture.prompt_encoder import PromptEncoder
from kornia.models.sam.architecture.transformer import TwoWayTransformer
from torch import nn

from inference.export.networks.box_side import BoxSide
from inference.export.networks.many_boxes import PictureSide, Prepared
from inference.export.networks.sam_parts import (
    CHANNELS,
    GRID,
    TracedGraph,
    as_rows,
    decoder_tokens,
    encode_points,
    grid_position,
    no_mask,
)
from inference.export.networks.token_side import TokenSideTransformer, Upscaling

BOXES_AT_ONCE = 2
"""Of that decoder.  Half of what a box costs besides products with positions is saved; with four
nothing more in f32, and the last run of a picture may be for nothing in greater part."""

LEAST_BOXES = 16
"""From which number on that decoder pays for what it prepares (``docs/speed.md``)."""

MASK_TOKEN = 1
"""Index of the token whose mask boxes and scribbles use: the first mask token after that of the
quality (IoU)."""


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
        """``encoder``, ``decoder``, ``prepare`` and ``many`` for pictures with many boxes and, if
        wanted, ``scribbles``; without that where the model can not be asked about strokes alone."""
        random = torch.Generator().manual_seed(0)
        side = self.input_size
        image = torch.rand(1, 3, side, side, generator=random)
        embedding = torch.randn(1, GRID, GRID, CHANNELS, generator=random)
        box = torch.tensor([[0.2, 0.3, 0.7, 0.6]]) * side
        graphs = {
            "encoder": TracedGraph(SamEncoderGraph(self), {"image": image}, ("embedding",)),
            "decoder": TracedGraph(
                SamDecoderGraph(self), {"embedding": embedding, "boxes": box}, ("logits",)
            ),
            "prepare": TracedGraph(
                SamPrepareGraph(self), {"embedding": embedding}, Prepared._fields
            ),
            "many": self._many_graph(embedding, box),
        }
        if scribbles:
            strokes = torch.zeros(1, 1, 4 * GRID, 4 * GRID)
            strokes[..., 100:104, 40:160] = 1
            asked = {"embedding": embedding, "strokes": strokes}
            graphs["scribbles"] = TracedGraph(SamScribbleGraph(self), asked, ("logits",))
        return graphs

    def _many_graph(self, embedding: torch.Tensor, box: torch.Tensor) -> TracedGraph:
        with torch.no_grad():
            prepared = SamPrepareGraph(self)(embedding)
        boxes = torch.cat([box * (1 - 0.1 * i) for i in range(BOXES_AT_ONCE)])
        places = torch.arange(GRID * GRID * 3 // 4, dtype=torch.float32)
        return TracedGraph(
            SamManyGraph(self),
            {"boxes": boxes, "places": places, **prepared._asdict()},
            ("logits",),
            {"places": {0: "places"}, "logits": {1: "places"}},
        )


def upscaling_of(model: SamModel) -> Upscaling:
    """The up-scaling of positions that lack the scale and shift of the transformer's last norm."""
    decoder: Any = model.mask_decoder
    return Upscaling(decoder.output_upscaling, decoder.transformer.layers[-1].norm4, GRID)


class _MaskGraph(nn.Module):
    """What box and scribble decoders share: tokens and a source in, logits (1, 256, 256) out.

    Only the mask that these prompts use is up-scaled; what depends on the weights alone is a
    constant of the graph.
    """

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        decoder: Any = model.mask_decoder
        self.tokens = decoder_tokens(model)
        self.transformer = TokenSideTransformer(
            decoder.transformer, MASK_TOKEN, grid_position(model)
        )
        self.weigh = decoder.output_hypernetworks_mlps[0]
        self.upscale = upscaling_of(model)

    def logits(self, source: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (1, 256, 256) of a source (4096, 256) and tokens (N, 256)."""
        answered, pixels = self.transformer(source, tokens)
        logits: torch.Tensor = self.upscale(pixels, self.weigh(answered))
        return logits


class SamEncoderGraph(nn.Module):
    """An image encoder with channels last, as the decoders multiply: in the encoder the turn costs
    nothing, in the decoder a tenth of every box."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.encoder = model.image_encoder

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Embedding (1, 64, 64, 256) of an image (1, 3, S, S)."""
        embedding: torch.Tensor = self.encoder(image)
        return embedding.permute(0, 2, 3, 1)


class SamPrepareGraph(nn.Module):
    """What every box of a picture would make anew of its embedding (1, 64, 64, 256)."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        transformer: Any = model.mask_decoder.transformer
        self.picture_side = PictureSide(transformer, grid_position(model), upscaling_of(model))
        self.no_mask = no_mask(model)

    def forward(self, embedding: torch.Tensor) -> Prepared:
        """Arrays by name."""
        prepared: Prepared = self.picture_side(as_rows(embedding) + self.no_mask)
        return prepared


class _BoxPrompt(nn.Module):
    """The prompt encoder of boxes."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.input_size = float(model.input_size)
        held = model.prompt_encoder.state_dict()
        corners = torch.cat([held[f"point_embeddings.{i}.weight"] for i in (2, 3)])
        self.corners = corners  # (2, 256)
        self.frequencies = held["pe_layer.positional_encoding_gaussian_matrix"]  # (2, 128)

    def forward(self, corners: torch.Tensor) -> torch.Tensor:
        """Tokens (..., 2, 256) of corners (..., 2, 2), in encoder-input pixels."""
        return encode_points(corners / self.input_size, self.frequencies) + self.corners


class SamDecoderGraph(_MaskGraph):
    """Box prompt and mask decoder as one graph: embedding (1, 64, 64, 256) and one box (1, 4), in
    encoder-input pixels with any offset already added, to logits (1, 256, 256)."""

    def __init__(self, model: SamModel) -> None:
        super().__init__(model)
        self.prompt, self.no_mask = _BoxPrompt(model), no_mask(model)

    def forward(self, embedding: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Logits (1, 256, 256)."""
        tokens = torch.cat([self.tokens, self.prompt(boxes.reshape(2, 2))])
        return self.logits(as_rows(embedding) + self.no_mask, tokens)


class SamManyGraph(nn.Module):
    """The same for pictures with many boxes, :data:`BOXES_AT_ONCE` in a run: what does not depend
    on the box is taken ready made from :class:`SamPrepareGraph`, and only what the picture fills is
    up-scaled."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        decoder: Any = model.mask_decoder
        self.tokens, self.prompt = decoder_tokens(model), _BoxPrompt(model)
        self.upscale, self.weigh = upscaling_of(model), decoder.output_hypernetworks_mlps[0]
        self.box_side = BoxSide(decoder.transformer, MASK_TOKEN, grid_position(model), self.upscale)

    def forward(
        self, boxes: torch.Tensor, places: torch.Tensor, *prepared: torch.Tensor
    ) -> torch.Tensor:
        """Logits (B, M, 4, 4) of boxes (B, 4): the pixels, by row and column, of the positions
        (M,) of the embedding that are wanted, whole numbers from 0 row by row."""
        own = self.tokens.expand(len(boxes), *self.tokens.shape)
        tokens = torch.cat([own, self.prompt(boxes.reshape(-1, 2, 2))], dim=1)
        answered, begun = self.box_side(tokens, places, Prepared(*prepared))
        logits: torch.Tensor = self.upscale.patches(begun, self.weigh(answered))
        return logits


class SamScribbleGraph(_MaskGraph):
    """Mask prompt and mask decoder as one graph: embedding (1, 64, 64, 256) and strokes
    (1, 1, 256, 256), 0 or 1, to logits (1, 256, 256); no box and no point besides."""

    def __init__(self, model: SamModel) -> None:
        super().__init__(model)
        self.downscaling = model.prompt_encoder.mask_downscaling

    def forward(self, embedding: torch.Tensor, strokes: torch.Tensor) -> torch.Tensor:
        """Logits (1, 256, 256)."""
        dense = self.downscaling(strokes).permute(0, 2, 3, 1)
        return self.logits(as_rows(embedding + dense), self.tokens)
