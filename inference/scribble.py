"""Scribbles in the place of boxes: a label map of strokes, as in the challenge's sister task.

Every number but 0 and :data:`BACKGROUND` is an object, and its strokes are the mask prompt of a SAM
decoder (bowang-lab/MedSAM, branch LiteMedSAMScribble, ``CVPR24_LiteMedSAM_infer_scribble.py``).
The answer carries the same numbers.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference.errors import CaseError
from inference.preprocess import Frame
from inference.scribble_rule import ScribbleRule

if TYPE_CHECKING:
    from inference.engine import Array
    from inference.model import Model

BACKGROUND = 1000
"""Strokes of this number say where no object is; the baseline ignores them, and so does this."""

GRID = 256
"""Side of SAM's mask prompt, whatever the side of the encoder's input."""


def stroke_numbers(scribbles: NDArray[np.generic]) -> list[int]:
    """The objects of a map of strokes, ascending."""
    found = np.unique(scribbles)
    return [int(number) for number in found if number not in (0, BACKGROUND)]


def stroke_grid(inside: NDArray[np.bool_], frame: Frame, rule: ScribbleRule) -> "Array":
    """(1, 1, 256, 256) of the strokes (H, W) of one object, 0 outside the picture.

    Args:
        frame: how the picture lies in a square of 256 pixels.
    """
    grid = np.zeros((1, 1, GRID, GRID), np.float32)
    if rule.strokes == "resized":
        from inference.library_resize import resize_like

        small = resize_like(inside.astype(np.uint8), (frame.rows, frame.columns), "area") > 0
    else:
        down = _overlaps(frame.height, frame.rows)
        across = _overlaps(frame.width, frame.columns)
        small = down @ inside.astype(np.float32) @ across.T > 0
    grid[0, 0, : frame.rows, : frame.columns] = small
    return grid


def _overlaps(size: int, cells: int) -> "Array":
    """(cells, size): 1 where a cell and a pixel of a row lie over each other."""
    first = np.arange(cells)[:, None] * (size / cells)
    last = np.arange(1, cells + 1)[:, None] * (size / cells)
    pixel = np.arange(size)[None]
    slack = 1e-9 * size
    return np.asarray((first < pixel + 1 - slack) & (last > pixel + slack), np.float32)


def answer_scribbles(
    model: "Model", picture: NDArray[np.uint8], scribbles: NDArray[np.int64]
) -> NDArray[np.unsignedinteger]:
    """Labels (H, W) of a picture by its strokes; later numbers over earlier ones.

    Raises:
        CaseError: the model takes no scribbles.
    """
    from inference.case import label_type
    from inference.overlap import paint
    from inference.postprocess import as_label_type
    from inference.sam_decoder import draw_whole

    spec = model.spec
    if spec.scribble is None or spec.sam is None:
        raise CaseError("expected boxes (this model takes no scribbles), found scribbles")
    numbers = stroke_numbers(scribbles)
    labels = np.zeros(picture.shape[:2], label_type(max(numbers, default=0)))
    if not numbers:
        return labels
    embedding = model.embed(picture)
    height, width = picture.shape[:2]
    square = Frame.fit(height, width, GRID, spec.resize, spec.interpolation)
    for number in numbers:
        strokes = stroke_grid(scribbles == number, square, spec.scribble)
        logits = model.scribble_decoder.run({**embedding.tensors, "strokes": strokes})[0]
        mask = draw_whole(logits[0], embedding.frame, spec.sam, spec.threshold)
        paint(labels, mask, number)
    return as_label_type(labels, spec.label_type)
