"""Every trap of a case file: its name, image, boxes and spacing."""

from collections.abc import Iterator

import numpy as np

from data_splits.findings import Arrays, Finding, error, is_volume, spacing_findings, warning
from inference.modality import UNKNOWN, modality_of

CONSTANT_LEAST_PIXELS = 16
"""A smaller picture of one value is not worth a word."""


def case_findings(name: str, arrays: Arrays) -> Iterator[Finding]:
    """Findings of a case; ``arrays`` is put right where that is safe."""
    yield from _name_findings(name, arrays)
    if "gts" in arrays:
        yield warning("gts-in-case", "gts: the case holds its own truth", "move gts to the truth")
    for key in ("imgs", "boxes"):
        if key not in arrays:
            yield error(f"no-{key}", f"{key}: expected this key, found none", "write it")
    if "imgs" in arrays:
        yield from _image_findings(arrays)
    if "imgs" in arrays and "boxes" in arrays:
        yield from _box_findings(arrays)
        if is_volume(arrays):
            yield from spacing_findings(arrays)


def _name_findings(name: str, arrays: Arrays) -> Iterator[Finding]:
    if modality_of(name) == UNKNOWN:
        yield warning(
            "modality",
            f"name: expected a modality such as 2DBox_US_..., found {name} [B14]",
            "rename it",
        )
    prefix = name[:2].upper()
    if "imgs" in arrays and prefix in ("2D", "3D"):
        found = "3D" if is_volume(arrays) else "2D"
        if found != prefix:
            yield error(
                "prefix",
                f"name: says {prefix}, the arrays are {found} [A11]: scripts "
                "that go by the name take it for the other",
                "rename it",
            )
    elif "imgs" in arrays:
        yield warning(
            "prefix",
            "name: expected 2DBox_ or 3DBox_ in front [A11, B14]: without it "
            "one script takes the case for 2D and another for 3D",
            "rename it",
        )


def _image_findings(arrays: Arrays) -> Iterator[Finding]:
    imgs = arrays["imgs"]
    if imgs.dtype.kind not in "iuf" or imgs.size == 0 or imgs.ndim not in (2, 3):
        yield error(
            "imgs",
            f"imgs: expected (H, W, 3) or (D, H, W) of numbers, found {imgs.dtype} {imgs.shape}",
            "convert again",
        )
        return
    if imgs.dtype.kind == "f" and not np.isfinite(imgs).all():
        yield error("not-finite", "imgs: NaN or infinite values", "convert again")
        return
    if imgs.dtype != np.uint8:
        low, high, kind = float(imgs.min()), float(imgs.max()), imgs.dtype
        whole = bool(0 <= low and high <= 255 and (imgs == np.round(imgs)).all())
        if whole:
            arrays["imgs"] = imgs = imgs.astype(np.uint8)
        yield error(
            "imgs-type",
            f"imgs: expected uint8 of 0..255, found {kind} of {low:g}..{high:g} [B11]",
            "window it to 0..255 first",
            whole,
        )
    if not is_volume(arrays):
        if imgs.ndim == 2 or imgs.shape[2] == 1:
            plane = imgs.reshape(imgs.shape[0], imgs.shape[1], 1)
            arrays["imgs"] = np.repeat(plane, 3, axis=2)
            yield warning(
                "grey", f"imgs: expected (H, W, 3), found {imgs.shape} [B10]", "repeat it", True
            )
        elif imgs.shape[2] == 4:
            arrays["imgs"] = imgs[:, :, :3]
            yield warning("alpha", "imgs: a fourth channel [B10]", "drop it", True)
    if imgs.size >= CONSTANT_LEAST_PIXELS and imgs.min() == imgs.max():
        yield warning(
            "constant",
            f"imgs: one value, {imgs.min()}, everywhere [B11]",
            "look at the source and its window",
        )


def _box_findings(arrays: Arrays) -> Iterator[Finding]:
    boxes, imgs = arrays["boxes"], arrays["imgs"]
    if boxes.dtype.kind not in "iuf" or (boxes.size and not np.isfinite(boxes).all()):
        yield error("boxes", f"boxes: expected finite numbers, found {boxes.dtype}", "make anew")
        return
    if boxes.ndim == 1 and boxes.size in (4, 6):
        arrays["boxes"] = boxes = boxes[None]
        yield error(
            "boxes-shape",
            "boxes: expected (N, 4) or (N, 6), found one row alone",
            "add an axis",
            True,
        )
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 6) or len(boxes) == 0:
        level = warning if boxes.size == 0 else error
        yield level(
            "boxes-shape",
            f"boxes: expected (N, 4) or (N, 6), found {boxes.shape}",
            "make them with python -m data_splits boxes",
        )
        return
    axes = boxes.shape[1] // 2
    if imgs.ndim < axes or imgs.ndim > 3:
        yield error("boxes-axes", f"boxes: six numbers need (D, H, W), found {imgs.shape}", "?")
        return
    size = np.array(imgs.shape[:axes][::-1])
    low, high = boxes[:, :axes], boxes[:, axes:]
    if (rows := np.flatnonzero((low > high).any(axis=1))).size:
        yield error(
            "reversed",
            f"boxes[{rows[0]}]: expected minima not above maxima, found "
            f"{boxes[rows[0]].tolist()} ({len(rows)} boxes)",
            "order: minima, maxima",
        )
    elif (rows := np.flatnonzero(((high < 0) | (low > size - 1)).any(axis=1))).size:
        yield error(
            "outside",
            f"boxes[{rows[0]}]: {boxes[rows[0]].tolist()} lies outside the "
            f"image, x, y(, z) below {size.tolist()}; z, y, x swapped?",
            "order: x, y, z",
        )
    elif (rows := np.flatnonzero(((low < 0) | (high > size - 1)).any(axis=1))).size:
        arrays["boxes"] = np.concatenate(
            [np.clip(low, 0, size - 1), np.clip(high, 0, size - 1)], axis=1
        )
        yield warning(
            "past-edge",
            f"boxes: {len(rows)} end past the last pixel [B1, B9], such as "
            f"{boxes[rows[0]].tolist()}",
            "clip to size - 1: both ends are inside",
            True,
        )
    if boxes.dtype.kind == "f" and not (boxes == np.round(boxes)).all():
        yield warning(
            "fractions",
            "boxes: fractions of pixels [B3]: the baseline cuts them off",
            "round outwards",
        )
    if axes == 3 and (rows := np.flatnonzero(low[:, 2] >= high[:, 2])).size:
        yield warning(
            "one-slice",
            f"boxes: {len(rows)} are one slice thick: the baseline asserts z_min < z_max and stops",
            "loosen by a slice if it must run there",
        )
    if len(boxes) > 255:
        yield warning(
            "many",
            f"boxes: {len(boxes)} [B2]: a mask in uint8 loses those from 256 on",
            "expect such teams to fail here",
        )
