"""Decoders of SAM's kind: a whole-picture embedding and a box in, 256 x 256 logits out.

Boxes are whole pixels, both ends inclusive, scaled to the encoder's input, plus an offset (SAM:
half a pixel).  Logits cover the whole square input of the encoder, padding included.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.bands import Bands
from inference.bundle import ModelSpec
from inference.decoder import Embedding, Prompt, batches
from inference.engine import Array, Graph
from inference.postprocess import Mask, cut_mask
from inference.preprocess import Frame
from inference.profile import span
from inference.resample import Rect
from inference.rules import SamRule


class SamDecoder:
    """Asks a SAM decoder about boxes by the rules of its bundle."""

    def __init__(self, spec: ModelSpec, rule: SamRule) -> None:
        self.spec, self.rule = spec, rule

    def answer(
        self, graph: Graph, embedding: Embedding, prompts: Sequence[Prompt]
    ) -> Iterator[Mask]:
        """See :class:`inference.decoder.Decoder`."""
        for part in batches(len(prompts), self.spec.boxes_at_once):
            asked = prompts[part]
            with span("decode"):
                inputs = dict(embedding.tensors) | self._asked(embedding, asked)
                with span("decoder graph"):
                    logits = graph.run(inputs)[0]
            for i, prompt in enumerate(asked):
                with span("draw"):
                    mask = self._mask(logits[i], embedding.frame, prompt)
                yield mask

    def _asked(self, embedding: Embedding, prompts: Sequence[Prompt]) -> dict[str, Array]:
        """What the graph takes besides the embedding; the last prompt fills the batch up."""
        frame, offset = embedding.frame, np.float32(self.rule.box_offset)
        boxes = [p.input_box or input_box(p.edges, frame, self.rule) for p in prompts]
        rows = np.minimum(np.arange(self.spec.boxes_at_once), len(prompts) - 1)
        asked = {"boxes": np.array(boxes, dtype=np.float32)[rows] + offset}
        if self.spec.drawn is None or embedding.shown is None:
            return asked
        from inference.drawn_prompts import Draws

        drawn = [
            (p.draws or Draws(self.spec.drawn)).prompt(box, embedding.shown)
            for p, box in zip(prompts, boxes, strict=True)
        ]
        asked["points"] = np.stack([d.points for d in drawn])[rows] + offset
        asked["strokes"] = np.stack([d.stroke[None] for d in drawn])[rows].astype(np.float32)
        return asked

    def _mask(self, logits: Array, frame: Frame, prompt: Prompt) -> Mask:
        threshold = self.spec.threshold_of(prompt.in_volume)
        mask = draw_whole(logits, frame, self.rule, threshold)
        return mask if prompt.keep is None else cut_mask(mask, prompt.keep)


def input_box(edges: Rect, frame: Frame, rule: SamRule) -> Rect:
    """A box given by its edges in picture pixels, first and last pixels in the encoder's input."""
    sx, sy = box_scale(frame, rule)
    scaled = (edges[0] * sx, edges[1] * sy, (edges[2] - 1) * sx, (edges[3] - 1) * sy)
    if rule.box_scaling == "truncated":
        x0, y0, x1, y1 = (float(int(value)) for value in scaled)
        return (x0, y0, x1, y1)
    return scaled


def box_scale(frame: Frame, rule: SamRule) -> tuple[float, float]:
    """Input pixels for one picture pixel along x and y, as the system scales its boxes."""
    if rule.box_scaling == "resized":
        return frame.columns / frame.width, frame.rows / frame.height
    return frame.scale


def draw_whole(logits: Array, frame: Frame, rule: SamRule, threshold: float) -> Mask:
    """Logits (h, w) over the encoder's square input as a mask of the whole picture.

    Only the window in which a logit can be above the threshold is drawn: every step is a weighted
    mean, so a pixel is above it only if one of the logits that it is made of is.
    """
    across = _to_native(logits.shape[1], frame.side, frame.columns, frame.width, rule.upsampling)
    down = _to_native(logits.shape[0], frame.side, frame.rows, frame.height, rule.upsampling)
    if rule.interpolate == "probabilities":
        logits = np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
        threshold = float(1 / (1 + np.exp(-threshold)))
    above = logits > threshold
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if rows.size == 0:
        return Mask(0, 0, np.zeros((0, 0), np.bool_))
    top, bottom = down.touched(rows[0], rows[-1])
    left, right = across.touched(columns[0], columns[-1])
    first, stop = down.reach(top, bottom)
    wide = np.empty((stop - first, right - left), np.float32)
    across.times(logits[first:stop].T, left, right, into=wide.T)
    inside = np.empty((bottom - top, right - left), np.bool_)
    for part, native in down.blocks(wide, top, bottom, first):
        np.greater(native, threshold, out=inside[part])
    return Mask(top, left, inside)


@lru_cache(maxsize=16)
def _to_native(grid: int, side: int, filled: int, size: int, upsampling: str) -> Bands:
    """Weights (size, grid) from a row of logits to a row of the picture.

    ``through-input``: to the encoder's input, cut at the picture, to the picture (SAM);
    ``direct``: cut on the logits' own grid, to the picture.
    """
    if upsampling == "through-input":
        return Bands.of(bilinear_weights(filled, size) @ bilinear_weights(grid, side)[:filled])
    kept = min(grid, max(1, round(filled * grid / side)))
    weights = np.zeros((size, grid), np.float32)
    weights[:, :kept] = bilinear_weights(kept, size)
    return Bands.of(weights)


def bilinear_weights(size_in: int, size_out: int) -> NDArray[np.float32]:
    """Weights (size_out, size_in) of the two nearest inputs, pixel centres at i + 0.5, the end
    pixels repeated outwards: ``F.interpolate(mode="bilinear", align_corners=False)``."""
    position = np.maximum((np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5, 0)
    first = np.minimum(np.floor(position).astype(np.int64), size_in - 1)
    part = (position - first).astype(np.float32)
    weights = np.zeros((size_out, size_in), np.float32)
    np.add.at(weights, (np.arange(size_out), first), 1 - part)
    np.add.at(weights, (np.arange(size_out), np.minimum(first + 1, size_in - 1)), part)
    return weights
