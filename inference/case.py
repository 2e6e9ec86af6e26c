"""The challenge's files: an npz case in, an npz mask out, checked once here and trusted
afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import CaseError
from inference.npz import MAX_BOXES, check_kind, read_arrays, write_array
from inference.preprocess import eight_bit
from inference.whole_file import replace_whole


@dataclass(frozen=True)
class Case:
    """One picture or volume with its boxes."""

    name: str
    image: NDArray[np.uint8]
    """2D: (H, W) or (H, W, 3); 3D: (D, H, W)."""
    boxes: NDArray[np.float64]
    """2D: (N, 4) x_min, y_min, x_max, y_max; 3D: (N, 6) x_min, y_min, z_min, x_max, y_max, z_max;
    ends inclusive, clipped to the image."""
    spacing: tuple[float, ...] | None
    """As stored: x, y, z in mm; not used to segment (``challenge.md``: its order cannot be relied
    on)."""
    scribbles: NDArray[np.int64] | None = None
    """(H, W), strokes in the place of boxes, see :mod:`inference.scribble`; None: boxes."""

    @property
    def is_volume(self) -> bool:
        """Whether the case is 3D; decided by the arrays, never by the name."""
        return bool(self.boxes.shape[1] == 6)


def read_case(path: Path) -> Case:
    """Read and validate a case; scribbles are read where there are no boxes.

    Raises:
        CaseError: unreadable zip, pickled or missing array, wrong rank, non-finite value, a
            declared size beyond :data:`MAX_IMAGE_BYTES`, a box that is reversed, not finite or
            outside the image.
    """
    try:
        arrays = read_arrays(path, ("imgs", "boxes"), optional=("spacing",))
        spacing = arrays.get("spacing")
        if "boxes" in arrays:
            return make_case(path.name, arrays["imgs"], arrays["boxes"], spacing)
        return make_scribble_case(path.name, arrays["imgs"], arrays["scribbles"])
    except CaseError as error:
        raise CaseError(f"{path.name}: {error}") from None


def make_case(
    name: str,
    imgs: NDArray[np.generic],
    boxes: NDArray[np.generic],
    spacing: NDArray[np.generic] | None = None,
) -> Case:
    """Validate arrays as a case; messages carry the key but no file name."""
    check_kind("imgs", imgs.dtype)
    if imgs.size == 0:
        raise CaseError(f"imgs: expected at least one pixel, found shape {imgs.shape}")
    _check_finite("imgs", imgs)
    clipped = check_boxes(boxes, imgs.shape)
    image = imgs
    if clipped.shape[1] == 4 and image.ndim == 3:
        image = image[:, :, 0] if image.shape[2] == 1 else image[:, :, :3]
    return Case(name, eight_bit(image), clipped, _spacing(spacing))


def make_scribble_case(
    name: str, imgs: NDArray[np.generic], scribbles: NDArray[np.generic]
) -> Case:
    """Validate a picture and its strokes as a case without boxes.

    Raises:
        CaseError: as :func:`make_case`, a volume, or strokes that are no whole numbers from 0 or
            not of the picture's size.
    """
    case = make_case(name, imgs, np.zeros((0, 4)))
    if case.is_volume:
        raise CaseError(f"scribbles: expected a picture (H, W), found a volume {imgs.shape}")
    check_kind("scribbles", scribbles.dtype)
    _check_finite("scribbles", scribbles)
    strokes = scribbles[:, :, 0] if scribbles.ndim == 3 and scribbles.shape[2] == 1 else scribbles
    if strokes.shape != case.image.shape[:2]:
        size = case.image.shape[:2]
        raise CaseError(f"scribbles: expected {size} as imgs, found {scribbles.shape}")
    low, high = float(strokes.min()), float(strokes.max())
    if low < 0 or high > MAX_BOXES or (strokes != np.rint(strokes)).any():
        raise CaseError(
            f"scribbles: expected whole numbers from 0 to {MAX_BOXES}, found {low:g} to {high:g}"
        )
    return replace(case, scribbles=strokes.astype(np.int64))


def check_boxes(boxes: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Boxes (N, 4) of a picture or (N, 6) of a volume of ``shape``, clipped to it.

    The number of columns says which of the two the image is; without boxes its shape has to say it
    where the columns do not fit.
    """
    check_kind("boxes", boxes.dtype)
    _check_finite("boxes", boxes)
    rows = _arrange_boxes(boxes, shape)
    size = shape[2::-1] if rows.shape[1] == 6 else shape[1::-1]  # x, y(, z)
    return _clip_boxes(rows, size)


def write_mask(path: Path, labels: NDArray[np.unsignedinteger]) -> None:
    """Write ``segs`` to ``path``; the file appears whole under its name or not at all."""
    write_whole(path, lambda partial: write_array(partial, "segs", labels), ".partial")


def write_whole(path: Path, write: Callable[[Path], None], ending: str) -> None:
    """Have ``write`` fill a file under a temporary name with ``ending``, and rename it.

    Raises:
        CaseError: it cannot be written; nothing is left of it.
    """
    try:
        replace_whole(path, write, ending)
    except OSError as error:
        raise CaseError(f"{path.name}: cannot write the mask: {error}") from error


def label_type(count: int) -> type[np.unsignedinteger]:
    """Smallest unsigned type that holds ``count`` labels."""
    return np.uint8 if count < 1 << 8 else np.uint16 if count < 1 << 16 else np.uint32


def _check_finite(key: str, array: NDArray[np.generic]) -> None:
    if array.dtype.kind != "f" or array.size == 0:
        return
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):  # NaN is either; no temporary
        bad = int((~np.isfinite(array)).sum())
        raise CaseError(f"{key}: expected finite values, found {bad} NaN or infinite")


def _arrange_boxes(boxes: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Boxes as (N, 4) or (N, 6), which the image's shape has to allow."""
    looks_2d = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    looks_3d = len(shape) == 3
    rows = np.asarray(boxes, dtype=np.float64)
    if rows.size == 0:  # (0,), (0, 4), (0, 6), (1, 0), ...
        six = looks_3d and (boxes.shape[-1:] == (6,) or not looks_2d)
        rows = rows.reshape(0, 6 if six else 4)
    elif rows.ndim == 1:
        rows = rows[None, :]
    if rows.ndim != 2 or rows.shape[1] not in (4, 6):
        raise CaseError(f"boxes: expected (N, 4) or (N, 6), found {boxes.shape}")
    if len(rows) > MAX_BOXES:
        raise CaseError(f"boxes: expected at most {MAX_BOXES} boxes, found {len(rows)}")
    if rows.shape[1] == 6 and not looks_3d:
        raise CaseError(f"imgs: expected (D, H, W) for boxes of 6 numbers, found {shape}")
    if rows.shape[1] == 4 and not looks_2d:
        expected = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) for boxes of 4 numbers"
        raise CaseError(f"imgs: expected {expected}, found {shape}")
    return rows


def _clip_boxes(boxes: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Boxes clipped to pixels 0..size-1 of every axis (x, y(, z)); refuses what then has nothing
    inside."""
    n = len(size)
    low, high = boxes[:, :n], boxes[:, n:]
    last = np.array(size, dtype=np.float64) - 1
    for i in range(len(boxes)):
        shown = boxes[i].tolist()
        if (high[i] < low[i]).any():
            raise CaseError(f"boxes[{i}]: expected minima not above maxima, found {shown}")
        if (high[i] < 0).any() or (low[i] > last).any():
            raise CaseError(
                f"boxes[{i}]: expected a box inside {size} (x, y, z order), found {shown}"
            )
    return np.concatenate([np.clip(low, 0, last), np.clip(high, 0, last)], axis=1)


def _spacing(spacing: NDArray[np.generic] | None) -> tuple[float, ...] | None:
    """The spacing if it is usable, else None: it is only passed on, so a bad one refuses no
    case."""
    if spacing is None or spacing.dtype.kind not in "uif" or spacing.size != 3:
        return None
    values = tuple(float(v) for v in np.asarray(spacing, dtype=np.float64).ravel())
    return values if all(np.isfinite(v) and v > 0 for v in values) else None
