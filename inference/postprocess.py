"""From logits to masks in the picture's own pixels (to labels: :mod:`inference.overlap`)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.prompt import mask_edges
from inference.resample import Rect, resample


@dataclass(frozen=True)
class Mask:
    """One object's binary mask, kept only where it can be: a window of the picture."""

    top: int
    left: int
    inside: NDArray[np.bool_]
    """(h, w); the object lies nowhere outside this window."""
    logits: NDArray[np.float32] | None = None
    """(h, w): what was drawn, less its threshold; None where masks are not compared by it."""

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is set."""
        return not self.inside.any()

    @property
    def edges(self) -> Rect | None:
        """Tight edges in picture pixels; None where empty."""
        edges = mask_edges(self.inside)
        if edges is None:
            return None
        x0, y0, x1, y1 = edges
        return (x0 + self.left, y0 + self.top, x1 + self.left, y1 + self.top)


def add_ellipse(
    logits: NDArray[np.float32], covers: Rect, box: Rect, weight: float, depth: float = 0.0
) -> NDArray[np.float32]:
    """``logits`` on a grid over ``covers`` plus ``weight`` times 1 - u^2 - v^2 - depth^2, at least
    -1.

    u and v run from -1 to 1 across the edges of ``box``, so the ellipse inscribed in it gets 0; in
    a volume, where ``depth`` is a slice's distance from the middle of the box, the ellipsoid.
    """
    x0, y0, x1, y1 = covers
    x = x0 + (x1 - x0) * (np.arange(logits.shape[1]) + 0.5) / logits.shape[1]
    y = y0 + (y1 - y0) * (np.arange(logits.shape[0]) + 0.5) / logits.shape[0]
    u = (2 * x - box[0] - box[2]) / (box[2] - box[0])
    v = (2 * y - box[1] - box[3]) / (box[3] - box[1])
    inside = np.maximum(1 - depth * depth - (v * v)[:, None] - (u * u)[None, :], -1)
    return np.asarray(logits + np.float32(weight) * inside, dtype=np.float32)


def draw_mask(
    logits: NDArray[np.float32],
    covers: Rect,
    shape: tuple[int, int],
    threshold: float,
    keep: Rect | None = None,
    with_logits: bool = False,
) -> Mask:
    """Logits on a grid over ``covers`` (picture edges) as a mask of a picture of ``shape`` (H, W).

    The logits are resampled, bilinear, at native pixels once and only inside ``covers``; ``keep``
    cuts the mask at a box: a pixel stays when its centre lies inside.  ``with_logits``: they stay
    with the mask.
    """
    x0, y0, x1, y1 = covers
    left, right = max(0, int(np.floor(x0))), min(shape[1], int(np.ceil(x1)))
    top, bottom = max(0, int(np.floor(y0))), min(shape[0], int(np.ceil(y1)))
    if keep is not None:
        first_x, first_y, stop_x, stop_y = _pixels_inside(keep)
        left, right = max(left, first_x), min(right, stop_x)
        top, bottom = max(top, first_y), min(bottom, stop_y)
    if right <= left or bottom <= top:
        return Mask(top, left, np.zeros((0, 0), np.bool_))
    per_x, per_y = logits.shape[1] / (x1 - x0), logits.shape[0] / (y1 - y0)
    window = ((left - x0) * per_x, (top - y0) * per_y, (right - x0) * per_x, (bottom - y0) * per_y)
    native = resample(logits - np.float32(threshold), window, (bottom - top, right - left))
    return Mask(top, left, native > 0, native if with_logits else None)


def cut_mask(mask: Mask, keep: Rect) -> Mask:
    """What of ``mask`` lies inside the edges ``keep``: a pixel stays when its centre does."""
    x0, y0, x1, y1 = _pixels_inside(keep)
    height, width = mask.inside.shape
    top, bottom = max(y0 - mask.top, 0), max(min(y1 - mask.top, height), 0)
    left, right = max(x0 - mask.left, 0), max(min(x1 - mask.left, width), 0)
    return Mask(mask.top + top, mask.left + left, mask.inside[top:bottom, left:right])


def _pixels_inside(keep: Rect) -> tuple[int, int, int, int]:
    """First and one past the last column and row whose centres lie inside edges: x, y, x, y."""
    x0, y0, x1, y1 = (int(np.ceil(edge - 0.5)) for edge in keep)
    return x0, y0, x1, y1


def sample_mask(mask: Mask, rect: Rect, size: tuple[int, int]) -> NDArray[np.float32]:
    """Share of the object in each of ``size`` pixels over ``rect`` (picture edges), as
    :func:`resample` gives it."""
    if mask.inside.size == 0:
        return np.zeros(size, np.float32)
    framed = np.pad(mask.inside, 1)  # outside the window is known to be empty, not unknown
    x0, y0, x1, y1 = rect
    left, top = mask.left - 1, mask.top - 1
    return resample(framed, (x0 - left, y0 - top, x1 - left, y1 - top), size)


def as_label_type(labels: NDArray[np.unsignedinteger], kind: str) -> NDArray[np.unsignedinteger]:
    """Labels as they are, or as ``uint8``, where 256 becomes 0 (``challenge.md`` B2)."""
    return labels.astype(np.uint8) if kind == "uint8" else labels
