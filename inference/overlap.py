"""From masks to labels: which box a pixel belongs to that lies in the masks of several."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import Mask

NESTED = 0.9
"""A mask of which this share lies in another is an object inside another."""


def painting_order(boxes: NDArray[np.float64], overlap: str) -> list[int]:
    """Numbers of boxes, from 0, in the order in which their masks are painted over each other.

    Args:
        boxes: (N, 4) or (N, 6) inclusive boxes; the smaller area (volume) lies above, of equal ones
            the later.
        overlap: as :class:`inference.bundle.ModelSpec` has it.
    """
    if overlap == "later-box" or len(boxes) < 2:
        return list(range(len(boxes)))
    n = boxes.shape[1] // 2
    sizes = np.prod(boxes[:, n:] - boxes[:, :n] + 1, axis=1)
    return [int(i) for i in np.argsort(-sizes, kind="stable")]


def ranks_of(boxes: NDArray[np.float64], overlap: str) -> NDArray[np.intp] | None:
    """Rank of every label by :func:`painting_order`, the background's 0 first: a pixel in several
    masks gets the label of the highest.  None where labels rank by their own numbers."""
    if overlap == "later-box" or len(boxes) < 2:
        return None
    ranks = np.zeros(len(boxes) + 1, np.intp)
    ranks[1 + np.array(painting_order(boxes, overlap))] = np.arange(1, len(boxes) + 1)
    return ranks


def paint(
    labels: NDArray[np.unsignedinteger],
    mask: Mask,
    label: int,
    ranks: NDArray[np.intp] | None = None,
) -> None:
    """Write ``label`` where ``mask`` is set, in place, except over labels of a higher rank.

    ``ranks`` are :func:`ranks_of`'s; without them a larger label is of a higher rank.  What lies
    over what does not depend on the order of painting, which is what lets slices be finished one by
    one.
    """
    height, width = mask.inside.shape
    window = labels[mask.top : mask.top + height, mask.left : mask.left + width]
    number = labels.dtype.type(label)  # and no np.copyto(where=), which branches at each pixel
    if ranks is None:
        np.maximum(window, mask.inside * number, out=window)
    else:
        free = mask.inside & (ranks[window] < ranks[label])
        window += (number - window) * free


def paint_by_logits(
    labels: NDArray[np.unsignedinteger], masks: Iterable[Mask], order: Sequence[int]
) -> None:
    """Write all masks of a picture in place into empty labels: the rule ``higher-logit``.

    Where :data:`NESTED` of a mask or more lie in that of another, it is an object inside another
    and gets all pixels that the other's label holds by then; else those in which its logit is the
    higher or equal.

    Args:
        labels: (H, W), zeros.
        masks: with their logits, in the order of :func:`painting_order`; met one by one, so that
            they need not all be there at once.
        order: the number, from 0, of the box of each; its label is one more.
    """
    held = np.zeros(labels.shape, np.float32)  # logits of the labels
    painted: dict[int, _Outline] = {}
    drawn = iter(masks)
    for i in order:
        mask = next(drawn)
        size = np.count_nonzero(mask.inside)
        if size == 0:
            continue
        assert mask.logits is not None
        height, width = mask.inside.shape
        window = (slice(mask.top, mask.top + height), slice(mask.left, mask.left + width))
        now, before = labels[window], held[window]
        gained = mask.inside
        shared = np.bincount(now[gained & (now != 0)])  # pixels of each label
        few = np.flatnonzero((shared > 0) & (shared < NESTED * size))
        # of the other's mask a third one may hold a part
        contested = [
            k for k in few.tolist() if not painted or painted[k].shared(mask) < NESTED * size
        ]
        if contested:
            lower = mask.logits < before
            for other in contested:
                gained = gained & ~(lower & (now == other))
        np.copyto(now, labels.dtype.type(i + 1), where=gained)
        np.copyto(before, mask.logits, where=gained)
        if len(order) > 2:
            painted[i + 1] = _Outline(mask)
        del mask, gained  # before the next one is drawn


class _Outline:
    """Where a mask is set, in an eighth of its memory."""

    def __init__(self, mask: Mask) -> None:
        self._top, self._left, self._shape = mask.top, mask.left, mask.inside.shape
        self._bits = np.packbits(mask.inside, axis=1)

    def shared(self, mask: Mask) -> int:
        """How many pixels it has in common with another mask."""
        top, left = max(self._top, mask.top), max(self._left, mask.left)
        bottom = min(self._top + self._shape[0], mask.top + mask.inside.shape[0])
        right = min(self._left + self._shape[1], mask.left + mask.inside.shape[1])
        if top >= bottom or left >= right:
            return 0
        rows = self._bits[top - self._top : bottom - self._top]
        own = np.unpackbits(rows, axis=1, count=self._shape[1]).view(np.bool_)
        theirs = mask.inside[top - mask.top : bottom - mask.top]
        columns = slice(left - mask.left, right - mask.left)
        return int(
            np.count_nonzero(own[:, left - self._left : right - self._left] & theirs[:, columns])
        )
