"""Decoders of SAM's kind: a whole-picture embedding and a box in, 256 x 256 logits out.

Boxes are whole pixels, both ends inclusive, scaled to the encoder's input, plus an offset (SAM:
half a pixel).  Logits cover the whole square input of the encoder, padding included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.bands import Bands
from inference.bundle import ModelSpec
from inference.decoder import Embedding, Prompt, batches
from inference.engine import Array, Graph
from inference.in_turn import in_turn
from inference.postprocess import Mask, cut_mask
from inference.preprocess import Frame
from inference.profile import span
from inference.resample import Rect
from inference.rules import SamRule


class SamDecoder:
    """Asks a SAM decoder about boxes by the rules of its bundle."""

    def __init__(self, spec: ModelSpec, rule: SamRule) -> None:
        self.spec, self.rule = spec, rule

    def expect(self, frame: Frame) -> None:
        """See :class:`inference.decoder.Decoder`: the weights from logits to the picture."""
        _axes(GRID, GRID, frame, self.rule)

    def answer(
        self, graph: Graph, embedding: Embedding, prompts: Sequence[Prompt], at_once: int = 1
    ) -> Iterator[Mask]:
        """See :class:`inference.decoder.Decoder`."""
        many = self.spec.many_boxes if embedding.for_many else None
        size, given, filled = self.spec.boxes_at_once, dict(embedding.tensors), None
        if many is not None:
            size = many.boxes_at_once
            filled = Filled.of(embedding.tensors["embedding"].shape[1], embedding.frame, self.rule)
            given["places"] = filled.places

        def run(asked: Sequence[Prompt]) -> Array:
            with span("decode"):
                inputs = given | self._asked(embedding, asked, size)
                with span("decoder graph"):
                    return graph.run(inputs)[0]

        parts = [prompts[part] for part in batches(len(prompts), size)]
        answers = in_turn(run, parts, at_once)
        for asked in parts:
            with span("wait for decoder"):
                found = next(answers)
            for prompt, logits in zip(asked, found, strict=False):  # the last may be a filler's
                with span("draw"):
                    mask = self._mask(logits, embedding.frame, prompt, filled)
                yield mask

    def _asked(
        self, embedding: Embedding, prompts: Sequence[Prompt], size: int
    ) -> dict[str, Array]:
        """What the graph takes besides the embedding; the last prompt fills the batch up."""
        frame, offset = embedding.frame, np.float32(self.rule.box_offset)
        boxes = [p.input_box or input_box(p.edges, frame, self.rule) for p in prompts]
        rows = np.minimum(np.arange(size), len(prompts) - 1)
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

    def _mask(self, logits: Array, frame: Frame, prompt: Prompt, filled: "Filled | None") -> Mask:
        threshold = self.spec.threshold_of(prompt.in_volume)
        if filled is None:
            mask = draw_whole(logits, frame, self.rule, threshold)
        else:
            mask = draw_whole(filled.grid(logits), frame, self.rule, threshold, filled.side)
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


GRID = 256
"""Side of the logits of SAM's own decoders."""

PATCH = 4
"""Side of what becomes of one position of the embedding, in logits."""


@dataclass(frozen=True)
class Filled:
    """The part of a padded square that a picture takes its logits from, its upper left corner."""

    side: int
    """Of the whole square's logits."""
    rows: int
    """Positions of the embedding from above."""
    columns: int
    """Positions of the embedding from the left."""

    @classmethod
    def of(cls, positions: int, frame: Frame, rule: SamRule) -> "Filled":
        """Of a square embedding with so many ``positions`` along each side."""
        side = positions * PATCH
        down, across = _axes(side, side, frame, rule)
        rows = -(-down.reach(0, frame.height)[1] // PATCH)
        columns = -(-across.reach(0, frame.width)[1] // PATCH)
        return cls(side, rows, columns)

    @property
    def places(self) -> Array:
        """(M,): the numbers of the positions, row by row of the whole square."""
        first = np.arange(self.rows)[:, None] * (self.side // PATCH)
        return (first + np.arange(self.columns)).ravel().astype(np.float32)

    def grid(self, logits: Array) -> Array:
        """(PATCH * rows, PATCH * columns) of logits (M, PATCH, PATCH)."""
        patches = logits.reshape(self.rows, self.columns, PATCH, PATCH)
        return patches.transpose(0, 2, 1, 3).reshape(self.rows * PATCH, self.columns * PATCH)


def draw_whole(
    logits: Array, frame: Frame, rule: SamRule, threshold: float, side: int | None = None
) -> Mask:
    """Logits (h, w) over the encoder's square input as a mask of the whole picture; with ``side``
    only the corner of (side, side) that the picture needs.

    Only the window in which a logit can be above the threshold is drawn: every step is a weighted
    mean, so a pixel is above it only if one of the logits that it is made of is.
    """
    height, width = logits.shape if side is None else (side, side)
    down, across = _axes(height, width, frame, rule)
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
    across.times_rows(logits[first:stop], left, right, into=wide)
    inside = np.empty((bottom - top, right - left), np.bool_)
    for part, native in down.blocks(wide, top, bottom, first):
        np.greater(native, threshold, out=inside[part])
    return Mask(top, left, inside)


def _axes(height: int, width: int, frame: Frame, rule: SamRule) -> tuple[Bands, Bands]:
    """From logits (height, width) of the whole square to the picture, down and across."""
    down = _to_native(height, frame.side, frame.rows, frame.height, rule.upsampling)
    return down, _to_native(width, frame.side, frame.columns, frame.width, rule.upsampling)


@lru_cache(maxsize=16)
def _to_native(grid: int, side: int, filled: int, size: int, upsampling: str) -> Bands:
    """Weights (size, grid) from a row of logits to a row of the picture.

    ``through-input``: to the encoder's input, cut at the picture, to the picture (SAM);
    ``direct``: cut on the logits' own grid, to the picture.
    """
    if upsampling == "through-input":
        to_picture = Bands.of(bilinear_weights(filled, size))
        return Bands.of(to_picture.times(bilinear_weights(grid, side)[:filled], 0, size))
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
    rows, weights = np.arange(size_out), np.zeros((size_out, size_in), np.float32)
    weights[rows, first] = 1 - part
    weights[rows, np.minimum(first + 1, size_in - 1)] += part  # the last: itself twice
    return weights
