"""From the mask of one slice to the next slice's box, as the challenge's SAM-like systems go."""

from dataclasses import replace

import numpy as np

from inference.bundle import ModelSpec
from inference.decoder import Prompt, make_draws
from inference.library_resize import resize_like
from inference.postprocess import Mask
from inference.preprocess import Frame
from inference.prompt import mask_edges, slice_depth
from inference.resample import Rect
from inference.rules import SamRule
from inference.sam_decoder import box_scale, input_box
from inference.tracking import Track


class SamTracking:
    """As the challenge's SAM-like systems do: the box around the last mask, grown by a few pixels
    of the encoder's input; nothing keeps it or the mask inside the given box."""

    retries = False

    def __init__(self, spec: ModelSpec, rule: SamRule, height: int, width: int) -> None:
        self._spec, self._rule = spec, rule
        self._draws = make_draws(spec)
        self._frame = Frame.fit(height, width, spec.input_size, spec.resize, spec.interpolation)

    def prompt(self, track: Track, z: int, prior: Mask | None) -> Prompt:
        """See :class:`Tracking`."""
        depth = slice_depth(z, track.z_min, track.z_max)
        box = None
        if prior is not None and self._spec.volume.box == "tracked":
            by_label = self._rule.next_box == "resized-label"
            box = self._label_box(prior, track.label) if by_label else self._mask_box(prior)
        if box is not None:
            box = self._grown(box)
        elif prior is not None and z < track.middle and self._rule.lost_below == "float":
            box = input_box(track.edges, self._frame, replace(self._rule, box_scaling="float"))
        else:
            box = input_box(track.edges, self._frame, self._rule)
        return Prompt(track.edges, None, prior, True, depth, box, self._draws)

    def _mask_box(self, prior: Mask) -> Rect | None:
        """First and last pixels of the mask, scaled."""
        edges = prior.edges
        if edges is None:
            return None
        sx, sy = box_scale(self._frame, self._rule)
        return (edges[0] * sx, edges[1] * sy, (edges[2] - 1) * sx, (edges[3] - 1) * sy)

    def _label_box(self, prior: Mask, label: int) -> Rect | None:
        """First and last pixels that are left of the mask drawn with its label and resized as an
        8-bit picture: a thin object of a small label vanishes (``challenge.md`` B8)."""
        frame = self._frame
        drawn = np.zeros((frame.height, frame.width), np.uint8)
        height, width = prior.inside.shape
        window = drawn[prior.top : prior.top + height, prior.left : prior.left + width]
        window[prior.inside] = label & 255
        edges = mask_edges(resize_like(drawn, (frame.rows, frame.columns), "area") > 0)
        return None if edges is None else (edges[0], edges[1], edges[2] - 1, edges[3] - 1)

    def _grown(self, box: Rect) -> Rect:
        margin = self._spec.volume.box_growth
        limit = self._frame.side - (1.0 if self._rule.box_limit == "last-pixel" else 0.0)
        if margin == 0:
            return box
        return (
            max(box[0] - margin, 0.0),
            max(box[1] - margin, 0.0),
            min(box[2] + margin, limit),
            min(box[3] + margin, limit),
        )
