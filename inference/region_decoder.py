"""Decoders that take boxes by their edges and answer in a region around each, or over the encoder's
whole input where the model has no region rule."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.bundle import ModelSpec
from inference.decoder import Embedding, Prompt
from inference.engine import Array, Graph
from inference.postprocess import Mask, add_ellipse, draw_mask, sample_mask
from inference.profile import span
from inference.prompt import box_regions
from inference.resample import Rect, resample


class RegionDecoder:
    """The decoder of the bundle that ships."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def answer(self, graph: Graph, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Mask]:
        """See :class:`inference.decoder.Decoder`."""
        spec, frame = self.spec, embedding.frame
        filled = [*prompts, *[prompts[-1]] * (spec.boxes_at_once - len(prompts))]
        edges = np.array([p.edges for p in filled], dtype=np.float64)
        asked = edges - [0, 0, 1, 1] if spec.box_frame == "inclusive" else edges
        inputs: dict[str, Array] = {"embedding": embedding.values, "boxes": frame.to_input(asked)}
        covers = [frame.input_rect] * len(filled)
        if spec.region is not None:
            regions = box_regions(edges, spec.region)
            covers = [(float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in regions]
            inputs["regions"] = frame.to_input(regions)
            inputs["context"] = np.array([(p.in_volume, p.depth) for p in filled], dtype=np.float32)
            inputs["crops"] = np.stack(
                [
                    region_picture(embedding.picture, cover, p.prior, spec.region.side)
                    for cover, p in zip(covers, filled, strict=True)
                ]
            )
        with span("decoder graph"):
            logits = graph.run(inputs)
        shape = (frame.height, frame.width)
        return [
            draw_mask(
                self._with_prior(logits[i], covers[i], p),
                covers[i],
                shape,
                spec.threshold_of(p.in_volume),
                p.keep,
            )
            for i, p in enumerate(prompts)
        ]

    def _with_prior(self, logits: Array, covers: Rect, prompt: Prompt) -> Array:
        weight = 0.0 if prompt.in_volume else self.spec.ellipse_prior
        return add_ellipse(logits, covers, prompt.edges, weight) if weight else logits


def region_picture(picture: NDArray[np.uint8], rect: Rect, prior: Mask | None, side: int) -> Array:
    """(4, side, side): the picture inside ``rect``, 0..255, and the prior mask, 0..1."""
    crop = np.zeros((4, side, side), np.float32)
    inside = resample(picture, rect, (side, side))
    crop[:3] = inside if inside.ndim == 2 else np.moveaxis(inside, 2, 0)
    if prior is not None:
        crop[3] = sample_mask(prior, rect, (side, side))
    return crop
