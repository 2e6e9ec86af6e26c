"""From the mask of one slice to the question about the next; one rule for each kind of decoder."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from inference.bundle import ModelSpec, ZRange
from inference.decoder import Prompt
from inference.postprocess import Mask
from inference.prompt import middle_slice, slice_depth
from inference.resample import Rect


@dataclass(frozen=True)
class Track:
    """One box of a volume."""

    label: int
    edges: Rect
    z_min: int
    """First slice that is answered."""
    z_max: int
    """Last slice that is answered."""
    middle: int


class Tracking(Protocol):
    """How a model is asked slice after slice."""

    retries: bool
    """Whether a slice that comes out empty is asked for once more with the given box."""

    def prompt(self, track: Track, z: int, prior: Mask | None) -> Prompt:
        """The question about slice ``z``; ``prior`` is the mask one slice nearer to the middle,
        None in the middle itself."""


def make_tracks(boxes: Iterable[Iterable[float]], z_range: ZRange = "closed") -> list[Track]:
    """Tracks of checked inclusive boxes (N, 6); z ends are rounded to whole slices."""
    tracks = []
    for label, (x0, y0, z0, x1, y1, z1) in enumerate(boxes, 1):
        z_min, z_max = int(round(z0)), int(round(z1))
        middle = middle_slice(z_min, z_max)
        first = z_min if z_range != "inner" else min(z_min + 1, middle)
        last = z_max if z_range == "closed" else max(z_max - 1, middle)
        tracks.append(Track(label, (x0, y0, x1 + 1, y1 + 1), first, last, middle))
    return tracks


def make_tracking(spec: ModelSpec, height: int, width: int) -> Tracking:
    """The rule of a model for volumes with slices of ``height`` x ``width``."""
    if spec.sam is not None:
        from inference.sam_tracking import SamTracking

        return SamTracking(spec, spec.sam, height, width)
    return EdgeTracking(spec, height, width)


class EdgeTracking:
    """Around the prior and inside the box; the box itself where there is no prior or the object was
    lost."""

    retries = True

    def __init__(self, spec: ModelSpec, height: int, width: int) -> None:
        self._rule = spec.volume
        self._margin = spec.volume.box_growth * max(height, width) / spec.input_size

    def prompt(self, track: Track, z: int, prior: Mask | None) -> Prompt:
        """See :class:`Tracking`."""
        depth = slice_depth(z, track.z_min, track.z_max)
        edges = None if prior is None else prior.edges
        if edges is None:
            return Prompt(track.edges, track.edges, None, True, depth)
        if self._rule.box == "given":
            return Prompt(track.edges, track.edges, prior, True, depth)
        return Prompt(self._grown(edges, track.edges), track.edges, prior, True, depth)

    def _grown(self, edges: Rect, limit: Rect) -> Rect:
        """``edges`` grown by the model's margin, inside ``limit``."""
        return (
            max(edges[0] - self._margin, limit[0]),
            max(edges[1] - self._margin, limit[1]),
            min(edges[2] + self._margin, limit[2]),
            min(edges[3] + self._margin, limit[3]),
        )
