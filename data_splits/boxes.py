"""Box prompts from label maps: tight, loosened, jittered, in one piece or slice by slice.

A box is x_min, y_min(, z_min), x_max, y_max(, z_max) with both ends inside; row i is for label
i + 1. Boxes never leave the image and never become smaller than one pixel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_splits.errors import SourceError

Boxes = NDArray[np.int64]
"""(N, 4) or (N, 6)."""


@dataclass(frozen=True)
class BoxRule:
    """How a tight box becomes a prompt; all zero leaves it tight."""

    loosen_px: float = 0.0
    """Every side outwards by this many pixels in x and y."""
    loosen_percent: float = 0.0
    """Every side outwards by this part of the box's own extent along that axis, x and y."""
    jitter_px: float = 0.0
    """Every side, each by itself, outwards by 0 to this many pixels in x and y, uniformly."""
    jitter_both_px: float = 0.0
    """Every side moved by up to this many pixels in or out, uniformly, in x and y."""
    loosen_slices: int = 0
    """First and last slice outwards by this many."""
    jitter_per_256: bool = False
    """Whether jitter counts pixels of an image whose longer side is 256, as the challenge's
    training script does (``bbox_shift=5`` at 256)."""

    def __post_init__(self) -> None:
        numbers = (
            self.loosen_px, self.loosen_percent, self.jitter_px, self.jitter_both_px,
            self.loosen_slices,
        )  # fmt: skip
        if not all(np.isfinite(n) and n >= 0 for n in numbers):
            raise ValueError(f"expected box options of 0 or more, found {numbers}")


TIGHT = BoxRule()


def tight_boxes(labels: NDArray[np.integer]) -> Boxes:
    """The smallest box of each label 1..N, (N, 4) or (N, 6); (0, 4) or (0, 6) without labels.

    Raises SourceError where a label between 1 and N does not occur: its row would have no meaning.
    """
    rows, axes = [], labels.ndim
    for index, where in enumerate(_boxes_of(labels)):
        if where is None:
            count = int(labels.max())
            raise SourceError(f"gts: expected labels 1 to {count}, found none of {index + 1}")
        backwards = where[::-1]  # x first
        rows.append([part.start for part in backwards] + [part.stop - 1 for part in backwards])
    return np.array(rows, np.int64).reshape(-1, 2 * axes)


def prompt_boxes(
    labels: NDArray[np.integer], rule: BoxRule = TIGHT, generator: np.random.Generator | None = None
) -> Boxes:
    """Boxes of every label by ``rule``; jitter needs a generator."""
    return moved_boxes(tight_boxes(labels), labels.shape, rule, generator)


def moved_boxes(
    boxes: Boxes, shape: tuple[int, ...], rule: BoxRule, generator: np.random.Generator | None
) -> Boxes:
    """Tight boxes of an image (H, W) or (D, H, W) moved by ``rule``, rounded outwards."""
    if rule == TIGHT or len(boxes) == 0:
        return boxes
    axes = boxes.shape[1] // 2
    low, high = boxes[:, :axes].astype(np.float64), boxes[:, axes:].astype(np.float64)
    size = np.array(shape[::-1], np.float64)[:axes]
    extent = high - low + 1
    out = np.zeros_like(extent)
    out[:, :2] = rule.loosen_px + rule.loosen_percent / 100 * extent[:, :2]
    if axes == 3:
        out[:, 2] = rule.loosen_slices
    low, high = low - out, high + out
    if rule.jitter_px or rule.jitter_both_px:
        if generator is None:
            raise ValueError("expected a generator for jittered boxes, found none")
        scale = float(size[:2].max()) / 256 if rule.jitter_per_256 else 1.0
        for side, sign in ((low, -1.0), (high, 1.0)):
            outward = generator.uniform(0, rule.jitter_px * scale, (len(boxes), 2))
            either = generator.uniform(-1, 1, (len(boxes), 2)) * rule.jitter_both_px * scale
            side[:, :2] += sign * (np.round(outward) + np.round(either))
    low = np.clip(np.floor(low), 0, size - 1)
    high = np.clip(np.ceil(high), 0, size - 1)
    crossed = low > high
    middle = np.floor((low + high) / 2)
    low, high = np.where(crossed, middle, low), np.where(crossed, middle, high)
    return np.concatenate([low, high], axis=1).astype(np.int64)


def slice_boxes(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], Boxes]:
    """Of a volume, one box for each label in each slice that it is seen in.

    Returns (M, 2) label and slice, and (M, 4) boxes, in the order of labels and then slices.
    """
    rows = []
    for depth, plane in enumerate(labels):
        for index, where in enumerate(_boxes_of(plane)):
            if where is not None:
                y, x = where
                rows.append([index + 1, depth, x.start, y.start, x.stop - 1, y.stop - 1])
    table = np.array(sorted(rows), np.int64).reshape(-1, 6)
    return table[:, :2], table[:, 2:]


def _boxes_of(labels: NDArray[np.integer]) -> Iterator[tuple[slice, ...] | None]:
    """Slices of each label 1..max, None for one that does not occur.

    A volume is searched slice by slice, in the part of each that is not empty.
    """
    if labels.ndim == 2 or labels.size == 0:
        yield from ndimage.find_objects(_findable(labels))
        return
    found: dict[int, tuple[slice, ...]] = {}
    for depth, plane in enumerate(labels):
        rows = np.flatnonzero(plane.any(axis=1))
        if not rows.size:
            continue
        part = plane[rows[0] : rows[-1] + 1]
        for index, where in enumerate(ndimage.find_objects(_findable(part))):
            if where is None:
                continue
            y = slice(where[0].start + int(rows[0]), where[0].stop + int(rows[0]))
            here = (slice(depth, depth + 1), y, where[1])
            known = found.get(index, here)
            found[index] = tuple(
                slice(min(a.start, b.start), max(a.stop, b.stop))
                for a, b in zip(known, here, strict=True)
            )
    for index in range(max(found, default=-1) + 1):
        yield found.get(index)


def _findable(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Of a type that ``find_objects`` reads."""
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels
