"""From a picture to what an encoder takes, and the frame that leads back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.resample import resample
from inference.rules import Interpolation, Normalisation, Resize


@dataclass(frozen=True)
class Frame:
    """How a picture lies in the encoder's square input."""

    height: int
    width: int
    rows: int
    """Rows of the input that the picture fills."""
    columns: int
    """Columns of the input that the picture fills."""
    side: int
    """Side of the square input."""
    stretched: bool = False
    """Whether the picture was resized to the square, whatever its aspect ratio."""

    @classmethod
    def fit(
        cls,
        height: int,
        width: int,
        side: int,
        resize: Resize,
        interpolation: Interpolation = "antialias",
    ) -> "Frame":
        """The frame of a ``height`` x ``width`` picture; the published programs round halves up."""
        if resize == "stretch":
            return cls(height, width, side, side, side, True)
        scale = side / max(height, width)
        half_up = interpolation != "antialias"
        rows, columns = (
            int(extent * scale + 0.5) if half_up else round(extent * scale)
            for extent in (height, width)
        )
        return cls(height, width, max(1, rows), max(1, columns), side)

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels for one picture pixel along x and y: where the aspect ratio is kept, by the
        longest side, not by the rounded size of the resized picture."""
        if self.stretched:
            return self.side / self.width, self.side / self.height
        scale = self.side / max(self.height, self.width)
        return scale, scale

    def to_input(self, rects: NDArray[np.float64]) -> NDArray[np.float32]:
        """(N, 4) x, y, x, y from image pixels to input pixels, in floating point."""
        scale = np.array([self.columns / self.width, self.rows / self.height] * 2)
        return np.asarray(rects * scale, dtype=np.float32)

    @property
    def input_rect(self) -> tuple[float, float, float, float]:
        """Edges of the whole input, padding included, in image pixels."""
        return (
            0.0,
            0.0,
            self.side * self.width / self.columns,
            self.side * self.height / self.rows,
        )


def encoder_input(
    picture: NDArray[np.generic],
    frame: Frame,
    normalisation: Normalisation,
    interpolation: Interpolation = "antialias",
) -> NDArray[np.float32]:
    """(1, 3, side, side) float32 of a picture (H, W) or (H, W, 3) with values 0..255."""
    size = (frame.rows, frame.columns)
    if interpolation == "antialias":
        small = resample(picture, (0, 0, frame.width, frame.height), size)
    else:
        from inference.library_resize import resize_like

        small = resize_like(picture.astype(np.uint8), size, interpolation).astype(np.float32)
    if small.ndim == 2:
        small = small[:, :, None]  # normalised once where the channels are the same
    small = normalise(small, normalisation)
    square = np.zeros((1, 3, frame.side, frame.side), np.float32)
    square[0, :, : frame.rows, : frame.columns] = np.moveaxis(small, 2, 0)
    return square


def normalise(picture: NDArray[np.float32], rule: Normalisation) -> NDArray[np.float32]:
    """Values (h, w, 3) by a model's rule, or (h, w, 1), which means of its own for each channel
    make (h, w, 3)."""
    if rule.kind == "none":
        return picture
    if rule.kind == "mean-std":
        mean, std = np.array(rule.mean, np.float32), np.array(rule.std, np.float32)
        found: NDArray[np.float32] = picture - mean
        found /= std
        return found
    low, high = picture.min(), picture.max()
    found = picture - low
    found /= max(float(high - low), 1e-8)
    return found


def eight_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of any numeric type as uint8 0..255.

    uint8 stays; whatever already lies in 0..255 (and is not a 0..1 picture) is rounded; everything
    else is clipped to its own 0.5..99.5 percentiles and spread over 0..255 (the organisers' rule
    for MR and PET, ``pre_CT_MR.py``). A constant picture outside 0..255 becomes 0.  Worked on some
    rows (slices) at a time: a wide copy of everything would be many times the size of the result.
    """
    if values.dtype == np.uint8:
        return values
    if values.size == 0:
        return values.astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if max(-low, high) > _HUGE:  # differences would overflow
        return eight_bit(values / max(-low, high))
    wide = np.dtype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    as_they_are = low >= 0 and high <= 255 and (high > 1 or high == 0)
    if not as_they_are:
        every = max(1, values.size // _PERCENTILE_SAMPLE)
        sample: NDArray[Any] = values.flat[::every].astype(wide)
        inner_low, inner_high = (float(p) for p in np.percentile(sample, (0.5, 99.5)))
        if inner_high > inner_low:
            low, high = inner_low, inner_high
    result = np.zeros(values.shape, np.uint8)
    if high <= low and not as_they_are:
        return result
    rows = max(1, _VALUES_AT_ONCE * len(values) // values.size)
    for start in range(0, len(values), rows):
        part: NDArray[Any] = values[start : start + rows].astype(wide)
        if not as_they_are:
            part = (np.clip(part, low, high) - low) / (high - low) * 255
        result[start : start + rows] = np.rint(part)
    return result


_PERCENTILE_SAMPLE = 2_000_000
"""Percentiles of a larger picture are taken on about so many evenly spaced values."""

_VALUES_AT_ONCE = 4_000_000
"""Values that are widened to floating point together."""

_HUGE = 1e300
"""Values beyond this are scaled down first."""
