"""PNG, JPEG, BMP by Pillow; TIFF by tifffile."""

import warnings
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from data_splits.errors import SourceError, one_line
from data_splits.sources import SourceImage, SourceLabels, label_type

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def read_picture(path: Path) -> SourceImage:
    """(H, W) or (H, W, 3); a stack of pages of a TIFF is refused.

    Transparency is dropped, a palette is looked up, and a photograph is turned upright as its EXIF
    tag says.
    """
    pixels, inverted = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read(path)
    notes = []
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[:, :, : pixels.shape[2] - 1]
        notes.append("transparency was dropped")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise SourceError(
            f"{path.name}: expected one grey or colour picture, found {pixels.shape}; "
            "convert pages one by one"
        )
    return SourceImage(pixels, None, "picture", (path,), inverted=inverted, notes=tuple(notes))


def read_label_picture(path: Path) -> SourceLabels:
    """A mask or label picture: grey values or palette numbers are the labels.

    Of a colour picture each colour is a label, in ascending order of red, green, blue; black is
    background. A JPEG is refused: its compression changes labels. A grey picture of 0 and 255
    alone, the usual binary mask, is one object of value 255.
    """
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        raise SourceError(
            f"{path.name}: expected a label picture without loss (PNG, TIFF), found JPEG, "
            "which changes labels at their edges; threshold it first"
        )
    values = _read_tiff(path)[0] if suffix in (".tif", ".tiff") else _read(path, labels=True)[0]
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values = values[:, :, : values.shape[2] - 1]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim == 3 and values.shape[2] == 3:
        return _labels_of_colours(values)
    if values.ndim != 2 or values.dtype.kind not in "iub":
        raise SourceError(
            f"{path.name}: expected whole labels (H, W), found {values.dtype} {values.shape}"
        )
    if values.size and values.min() < 0:
        raise SourceError(f"{path.name}: expected labels of 0 or more, found {values.min()}")
    largest = int(values.max()) if values.size else 0
    return SourceLabels(values.astype(label_type(largest), copy=False), None)


def _labels_of_colours(values: NDArray[np.generic]) -> SourceLabels:
    packed = np.asarray(values).astype(np.uint32)
    if int(packed.max()) > 255:
        raise SourceError("expected a colour label picture of 8 bits, found more")
    codes = (packed[..., 0] << 16) | (packed[..., 1] << 8) | packed[..., 2]
    colours, dense = np.unique(codes, return_inverse=True)
    first = 0 if colours[0] == 0 else 1
    if len(colours) > 4096:
        raise SourceError(
            f"expected a label picture with a colour a label, found {len(colours)} colours "
            "(smoothed edges or a photograph?)"
        )
    names = {i + first: f"#{int(c):06x}" for i, c in enumerate(colours) if c}
    labels = (dense.reshape(codes.shape) + first).astype(label_type(len(colours)))
    return SourceLabels(labels, None, names)


def _read(path: Path, *, labels: bool = False) -> tuple[NDArray[np.generic], bool]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    raise SourceError(f"{path.name}: expected one picture, found {frames}")
                upright = ImageOps.exif_transpose(image)
                if labels and upright.mode == "P":
                    return np.array(upright), False  # the numbers, not the colours
                if upright.mode in _GREY_MODES:
                    return np.array(upright), False
                if upright.mode in ("LA", "RGBA"):
                    return np.array(upright), False
                return np.array(upright.convert("RGB")), False
    except SourceError:
        raise
    except (
        UnidentifiedImageError, OSError, ValueError, SyntaxError,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise SourceError(
            f"{path.name}: expected a readable picture, found: {one_line(error)}"
        ) from error


def _read_tiff(path: Path) -> tuple[NDArray[np.generic], bool]:
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.series) != 1:
                raise SourceError(f"{path.name}: expected one picture, found {len(tiff.series)}")
            page: tifffile.TiffPage = tiff.pages[0]  # type: ignore[assignment]
            pixels = tiff.series[0].asarray()
            inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
                return np.asarray(pixels), False
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
                pixels = np.moveaxis(pixels, 0, -1)
            return np.asarray(pixels), inverted
    except SourceError:
        raise
    except Exception as error:  # tifffile and its decoders raise many kinds
        raise SourceError(
            f"{path.name}: expected a readable TIFF, found: {one_line(error)}"
        ) from error
