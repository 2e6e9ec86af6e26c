"""Decoders that take boxes by their edges and answer in a region around each, or over the encoder's
whole input where the model has no region rule."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.box_fit import largest_gap
from inference.bundle import ModelSpec
from inference.decoder import Embedding, Prompt, batches
from inference.engine import Array, Graph
from inference.postprocess import Mask, add_ellipse, draw_mask, sample_mask
from inference.preprocess import Frame
from inference.profile import span
from inference.prompt import box_regions
from inference.resample import Rect, resample
from inference.rules import RegionRule


class RegionDecoder:
    """The decoder of the bundle that ships."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def expect(self, frame: Frame) -> None:
        """See :class:`inference.decoder.Decoder`; there is nothing of the kind."""

    def answer(
        self, graph: Graph, embedding: Embedding, prompts: Sequence[Prompt], at_once: int = 1
    ) -> Iterator[Mask]:
        """See :class:`inference.decoder.Decoder`; one run at a time."""
        if not prompts:
            return
        frame, covers = embedding.frame, self._covers(embedding, prompts)
        asked = batches(len(prompts), self.spec.boxes_at_once)
        logits = np.concatenate(
            [self._ask(graph, embedding, prompts[part], covers[part]) for part in asked]
        )
        tight = self._tight(logits, prompts, covers)
        rule = self.spec.tight
        if rule is not None and rule.told == "judged":
            for part in asked:
                if any(tight[part]):
                    told = self._ask(graph, embedding, prompts[part], covers[part], tight[part])
                    again = np.array(tight[part])
                    logits[part][again] = told[again]
        shape = (frame.height, frame.width)
        for i, prompt in enumerate(prompts):
            yield self._draw(logits[i], covers[i], shape, prompt, tight[i])  # kept by nobody here

    def _draw(
        self, logits: Array, covers: Rect, shape: tuple[int, int], prompt: Prompt, tight: bool
    ) -> Mask:
        with span("draw"):
            return draw_mask(
                self._with_ellipse(logits, covers, prompt, tight),
                covers,
                shape,
                self.spec.threshold_of(prompt.in_volume, tight),
                prompt.keep,
                with_logits=self.spec.overlap == "higher-logit" and not prompt.in_volume,
            )

    def _ask(
        self,
        graph: Graph,
        embedding: Embedding,
        prompts: Sequence[Prompt],
        covers: list[Rect],
        tight: Sequence[bool] = (),
    ) -> Array:
        """Logits (N, R, R) of one batch; ``tight``: of which boxes the decoder is told that they
        are."""
        with span("decode"):
            inputs = self._inputs(embedding, prompts, covers)
            for i, told in enumerate(tight):
                inputs["context"][i, 1] = told
            with span("decoder graph"):
                logits = graph.run(inputs)[0]
            if self.spec.volume.views == "both" and any(p.prior for p in prompts):
                if "crops" in inputs:
                    inputs["crops"][:, 3] = 0  # the same question without the priors
                with span("decoder graph"):
                    without = graph.run(inputs)[0]
                logits = (logits + without) * np.float32(0.5)
            return logits[: len(prompts)]

    def _tight(self, logits: Array, prompts: Sequence[Prompt], covers: list[Rect]) -> list[bool]:
        """Which boxes are tight, as the model's rule says; none of a model without one."""
        rule = self.spec.tight
        if rule is None or prompts[0].in_volume:
            return [False] * len(prompts)
        if rule.told == "always":
            return [True] * len(prompts)
        threshold = self.spec.threshold
        gaps = [
            largest_gap(logits[i], covers[i], p.edges, threshold) for i, p in enumerate(prompts)
        ]
        if rule.together:
            gaps = [float(np.median(gaps))] * len(prompts)
        return [gap <= rule.gap for gap in gaps]

    def _covers(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Rect]:
        """What the logits of each prompt cover, picture pixels."""
        if self.spec.region is None:
            return [embedding.frame.input_rect] * len(prompts)
        regions = box_regions(np.array([p.edges for p in prompts]), self.spec.region)
        return [(float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in regions]

    def _inputs(
        self, embedding: Embedding, prompts: Sequence[Prompt], covers: list[Rect]
    ) -> dict[str, Array]:
        """What the graph takes; prompts that fill the batch up repeat the last."""
        spec, frame = self.spec, embedding.frame
        missing = spec.boxes_at_once - len(prompts)
        prompts = [*prompts, *[prompts[-1]] * missing]
        covers = [*covers, *[covers[-1]] * missing]
        edges = np.array([p.edges for p in prompts], dtype=np.float64)
        asked = edges - [0, 0, 1, 1] if spec.box_frame == "inclusive" else edges
        inputs: dict[str, Array] = {**embedding.tensors, "boxes": frame.to_input(asked)}
        if spec.region is not None:
            inputs["regions"] = frame.to_input(np.array(covers))
            told = float(spec.tight is not None and spec.tight.told == "always")
            context = [(p.in_volume, p.depth if p.in_volume else told) for p in prompts]
            inputs["context"] = np.array(context, dtype=np.float32)
            inputs["crops"] = np.stack(
                [
                    region_picture(embedding.picture, cover, p, spec.region)
                    for cover, p in zip(covers, prompts, strict=True)
                ]
            )
        return inputs

    def _with_ellipse(self, logits: Array, covers: Rect, prompt: Prompt, tight: bool) -> Array:
        if prompt.in_volume:
            weight, depth = self.spec.volume.ellipsoid_prior, prompt.depth
        elif tight or self.spec.tight is None:
            weight, depth = self.spec.ellipse_prior, 0.0
        else:
            weight, depth = 0.0, 0.0
        if not weight:
            return logits
        return add_ellipse(logits, covers, prompt.edges, weight, depth)


def region_picture(
    picture: NDArray[np.uint8], rect: Rect, prompt: Prompt, rule: RegionRule
) -> Array:
    """(4, side, side): the picture inside ``rect``, 0..255, and the prior mask, 0..1; where the
    rule says so two channels more, of the picture's other boxes."""
    side, prior = rule.side, prompt.prior
    crop = np.zeros((rule.channels, side, side), np.float32)
    inside = resample(picture, rect, (side, side))
    crop[:3] = inside if inside.ndim == 2 else np.moveaxis(inside, 2, 0)
    if prior is not None:
        crop[3] = sample_mask(prior, rect, (side, side))
    if rule.others and prompt.others is not None:
        crop[4:] = prompt.others.shown(rect, side)
    return crop
