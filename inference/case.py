"""The challenge's files: an npz case in, an npz mask out, checked once here and trusted
afterwards."""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from inference.errors import CaseError
from inference.preprocess import eight_bit

MAX_IMAGE_BYTES = 4 << 30
"""Largest array that a case may declare: a 4 GiB picture cannot be segmented in the challenge's 8
GB anyway."""

MAX_BOXES = 100_000
"""Most boxes of one case."""


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

    @property
    def is_volume(self) -> bool:
        """Whether the case is 3D; decided by the arrays, never by the name."""
        return bool(self.boxes.shape[1] == 6)


def read_case(path: Path) -> Case:
    """Read and validate a case.

    Raises:
        CaseError: unreadable zip, pickled or missing array, wrong rank, non-finite value, a
        declared size beyond
            :data:`MAX_IMAGE_BYTES`, a box that is reversed, not finite or outside the image.
    """
    arrays = _read_arrays(path, ("imgs", "boxes"), optional=("spacing",))
    try:
        return make_case(path.name, arrays["imgs"], arrays["boxes"], arrays.get("spacing"))
    except CaseError as error:
        raise CaseError(f"{path.name}: {error}") from None


def make_case(
    name: str,
    imgs: NDArray[np.generic],
    boxes: NDArray[np.generic],
    spacing: NDArray[np.generic] | None = None,
) -> Case:
    """Validate arrays as a case; messages carry the key but no file name."""
    _check_numeric("imgs", imgs)
    _check_numeric("boxes", boxes)
    rows, is_volume = _arrange_boxes(imgs, boxes)
    image = np.asarray(imgs)
    if 0 in image.shape:
        raise CaseError(f"imgs: expected at least one pixel, found shape {image.shape}")
    if not is_volume and image.ndim == 3:
        image = image[:, :, 0] if image.shape[2] == 1 else image[:, :, :3]
    size = image.shape[2::-1] if is_volume else (image.shape[1], image.shape[0])  # x, y(, z)
    clipped = _clip_boxes(rows, size)
    return Case(name, eight_bit(image), clipped, _spacing(spacing))


def write_mask(path: Path, labels: NDArray[np.unsignedinteger]) -> None:
    """Write ``segs`` to ``path``; the file appears whole under its name or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("segs.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(labels), allow_pickle=False)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CaseError(f"{path.name}: cannot write the mask: {error}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def label_type(count: int) -> type[np.unsignedinteger]:
    """Smallest unsigned type that holds ``count`` labels."""
    return np.uint8 if count < 1 << 8 else np.uint16 if count < 1 << 16 else np.uint32


def _read_arrays(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, NDArray[np.generic]]:
    """The named arrays of an npz, each checked before a byte of it is allocated."""
    try:
        with zipfile.ZipFile(path) as archive:
            keys = {name.removesuffix(".npy") for name in archive.namelist()}
            missing = [key for key in required if key not in keys]
            if missing:
                found = ", ".join(sorted(keys)[:8]) or "none"
                raise CaseError(f"{path.name}: {missing[0]}: expected this key, found only {found}")
            wanted = [*required, *(key for key in optional if key in keys)]
            arrays = {}
            for key in wanted:
                with archive.open(f"{key}.npy") as member:
                    arrays[key] = _read_array(f"{path.name}: {key}", member)
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise CaseError(
            f"{path.name}: expected a readable npz (zip) file, found: {error}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise CaseError(f"{path.name}: expected a readable file, found: {reason}") from error


def _read_array(where: str, member: IO[bytes]) -> NDArray[np.generic]:
    """One npy member; refuses pickles and over-large declarations by its header alone."""
    try:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
    except ValueError as error:
        raise CaseError(f"{where}: expected an npy array, found: {error}") from error
    if dtype.hasobject:
        raise CaseError(f"{where}: expected numbers, found pickled Python objects (refused)")
    size = dtype.itemsize
    for extent in shape:
        size *= int(extent)
    if size > MAX_IMAGE_BYTES:
        found = f"{size} declared (shape {shape})"
        raise CaseError(f"{where}: expected at most {MAX_IMAGE_BYTES} bytes, found {found}")
    data = member.read(size)
    if len(data) < size:
        raise CaseError(f"{where}: expected {size} bytes of data, found {len(data)}")
    flat = np.frombuffer(data, dtype=dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _check_numeric(key: str, array: NDArray[np.generic]) -> None:
    if array.dtype.kind not in "buif":
        raise CaseError(f"{key}: expected real numbers, found {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise CaseError(f"{key}: expected finite values, found {bad} NaN or infinite")


def _arrange_boxes(
    imgs: NDArray[np.generic], boxes: NDArray[np.generic]
) -> tuple[NDArray[np.float64], bool]:
    """Boxes as (N, 4) or (N, 6), and whether the case is a volume."""
    looks_2d = imgs.ndim == 2 or (imgs.ndim == 3 and imgs.shape[2] in (1, 3, 4))
    rows = np.asarray(boxes, dtype=np.float64)
    if rows.ndim == 1 and rows.size == 0:
        rows = rows.reshape(0, 4 if looks_2d else 6)
    if rows.ndim == 1:
        rows = rows[None, :]
    if rows.ndim != 2 or rows.shape[1] not in (4, 6):
        raise CaseError(f"boxes: expected (N, 4) or (N, 6), found {boxes.shape}")
    if len(rows) > MAX_BOXES:
        raise CaseError(f"boxes: expected at most {MAX_BOXES} boxes, found {len(rows)}")
    is_volume = rows.shape[1] == 6
    if is_volume and imgs.ndim != 3:
        raise CaseError(f"imgs: expected (D, H, W) for boxes of 6 numbers, found {imgs.shape}")
    if not is_volume and not looks_2d:
        expected = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) for boxes of 4 numbers"
        raise CaseError(f"imgs: expected {expected}, found {imgs.shape}")
    return rows, is_volume


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
