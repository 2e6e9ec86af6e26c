"""Values of a scanner to 0..255, by a stated rule per modality.

Window ends and percentiles become 0 and 255, values between them are scaled linearly and cut off to
whole numbers as ``pre_CT_MR.py`` does (``np.uint8``). Unlike there, the ends of a CT window are the
window's own and not the least and greatest value found, so that one tissue has one grey in every
case; ``organisers.py`` has the script's rule.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_splits.errors import SourceError
from data_splits.sources import SourceImage

WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (40, 400),
    "soft-tissue": (40, 400),
    "lung": (-600, 1500),
    "brain": (40, 80),
    "mediastinum": (50, 350),
    "bone": (400, 1800),
    "liver": (60, 160),
    "stroke": (40, 40),
}
"""Level and width in HU: radiopaedia.org/articles/windowing-ct, which pre_CT_MR.py names, and
the presets of 3D Slicer's MedSAM module."""

PERCENTILES = (0.5, 99.5)
"""Of the voxels above 0 (``pre_CT_MR.py``)."""

_HISTOGRAM_TYPES = (1, 2)
"""Bytes of integer types whose values are counted and looked up instead of computed."""

_MOST_COUNTED = 1 << 16


_COUNTED_AT_ONCE = 1 << 17
"""Values: ``np.bincount`` makes 64-bit numbers of its argument, which should stay in the cache."""


@dataclass(frozen=True)
class Rule:
    """How values become greys."""

    kind: str
    """``window``, ``percentiles``, ``suv`` or ``minmax``."""
    low: float = 0.0
    high: float = 0.0
    """Ends in HU or SUV, or percentiles."""


def rule_from(text: str) -> Rule:
    """A rule by its words; ValueError for what is none.

    ``abdomen`` (and the other names of :data:`WINDOWS`), ``LEVEL/WIDTH``, ``LOW..HIGH``,
    ``percentiles``, ``percentiles:1,99``, ``suv``, ``suv:0,10``, ``minmax``.
    """
    number = r"(-?\d+(?:\.\d+)?)"
    if text in WINDOWS:
        level, width = WINDOWS[text]
        return _between("window", level - width / 2, level + width / 2)
    if match := re.fullmatch(f"{number}/{number}", text):
        level, width = (float(v) for v in match.groups())
        return _between("window", level - width / 2, level + width / 2)
    if match := re.fullmatch(rf"{number}\.\.{number}", text):
        return _between("window", *(float(v) for v in match.groups()))
    if match := re.fullmatch(f"(percentiles|suv)(?::{number},{number})?", text):
        kind, low, high = match.groups()
        if low is None:
            return Rule(kind, *(PERCENTILES if kind == "percentiles" else (0.0, 10.0)))
        return _between(kind, float(low), float(high))
    if text == "minmax":
        return Rule("minmax")
    raise ValueError(
        f"expected {', '.join(WINDOWS)}, LEVEL/WIDTH, LOW..HIGH, percentiles[:LOW,HIGH], "
        f"suv[:LOW,HIGH] or minmax, found {text}"
    )


def default_rule(modality: str, dimensions: int) -> Rule:
    """The challenge's: CT 40/400, percentiles for other volumes, least to greatest for pictures."""
    if modality == "CT":
        return rule_from("abdomen")
    return Rule("percentiles", *PERCENTILES) if dimensions == 3 else Rule("minmax")


def to_eight_bit(image: SourceImage, rule: Rule) -> NDArray[np.uint8]:
    """``image.pixels`` as uint8 of the same shape, inverted where low values are shown bright.

    Pictures of eight bits are left as they are (but for a window asked for), a constant image
    becomes 0.
    """
    pixels = image.pixels
    if pixels.dtype == np.uint8 and rule.kind == "minmax":
        greys = np.asarray(pixels, np.uint8)
    elif pixels.dtype == np.bool_:
        greys = np.asarray(pixels, np.uint8) * np.uint8(255)
    else:
        greys = _scaled(_narrow(pixels), *_ends(image, rule), zero_stays=rule.kind == "percentiles")
    return np.asarray(255 - greys, np.uint8) if image.inverted else greys


def _between(kind: str, low: float, high: float) -> Rule:
    if not low < high:
        raise ValueError(f"expected a range from a lower to a higher value, found {low} to {high}")
    return Rule(kind, low, high)


def _ends(image: SourceImage, rule: Rule) -> tuple[float, float]:
    """Values that become 0 and 255."""
    pixels = image.pixels
    if rule.kind == "window":
        return rule.low, rule.high
    if rule.kind == "suv":
        if image.suv_factor is None:
            raise SourceError(f"SUV: expected tags that give it: {image.suv_obstacle}")
        return rule.low / image.suv_factor, rule.high / image.suv_factor
    if rule.kind == "minmax":
        return float(pixels.min()), float(pixels.max())
    return positive_percentiles(_narrow(pixels), rule.low, rule.high)


def positive_percentiles(pixels: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Two percentiles of the values above 0, with linear interpolation as ``np.percentile``.

    (0, 0) where there is none. Integers of 16 bits are counted, which is faster and the same.
    """
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize not in _HISTOGRAM_TYPES:
        positive = pixels[pixels > 0]
        if positive.size == 0:
            return 0.0, 0.0
        ends = np.percentile(positive.astype(np.float64, copy=False), [low, high])
        return float(ends[0]), float(ends[1])
    counts = value_counts(pixels)
    offset = int(np.iinfo(pixels.dtype).min)
    above = counts[1 - offset :]
    total = int(above.sum())
    if total == 0:
        return 0.0, 0.0
    upto = np.cumsum(above)

    def at(percentile: float) -> float:
        rank = percentile / 100 * (total - 1)
        lower, upper = (
            1 + int(np.searchsorted(upto, np.floor(rank) + side, side="right"))
            for side in (0, min(1, total - 1 - np.floor(rank)))
        )
        return float(lower + (upper - lower) * (rank - np.floor(rank)))

    return at(low), at(high)


def value_counts(pixels: NDArray[np.generic]) -> NDArray[np.int64]:
    """How often each value of an integer type of 8 or 16 bits occurs, from its least on."""
    unsigned = np.dtype(f"u{pixels.dtype.itemsize}")
    flat = _flat(pixels).view(unsigned)
    counts = np.zeros(1 << (8 * pixels.dtype.itemsize), np.int64)
    for start in range(0, flat.size, _COUNTED_AT_ONCE):
        counts += np.bincount(flat[start : start + _COUNTED_AT_ONCE], minlength=counts.size)
    return np.roll(counts, counts.size // 2) if pixels.dtype.kind == "i" else counts


def _narrow(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Wider integers as 16 bits where all values fit, so that they can be counted."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2 and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if low >= -(1 << 15) and high < 1 << 15:
            return pixels.astype(np.int16)
        if low >= 0 and high < _MOST_COUNTED:
            return pixels.astype(np.uint16)
    return pixels


def _flat(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """All values in the order of memory, without a copy where it can be had."""
    if pixels.flags.c_contiguous or not pixels.flags.f_contiguous:
        return np.ascontiguousarray(pixels).reshape(-1)
    return pixels.reshape(-1, order="F")


def look_up(table: NDArray[np.generic], places: NDArray[np.unsignedinteger]) -> NDArray[np.generic]:
    """``table[places]``, a slice or row at a time: NumPy makes 64-bit indices of ``places``, which
    for a whole volume would leave the processor's cache."""
    found = np.empty(places.shape, table.dtype)
    for index in range(len(places)):
        np.take(table, places[index], mode="clip", out=found[index])
    return found


def _scaled(
    pixels: NDArray[np.generic], low: float, high: float, *, zero_stays: bool
) -> NDArray[np.uint8]:
    if not low < high:
        return np.zeros(pixels.shape, np.uint8)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize in _HISTOGRAM_TYPES and pixels.ndim > 1:
        unsigned = np.dtype(f"u{pixels.dtype.itemsize}")
        every = np.arange(1 << (8 * pixels.dtype.itemsize), dtype=np.uint32)
        values = every.astype(unsigned).view(pixels.dtype.newbyteorder("="))
        table = _formula(values.astype(np.float64), low, high, zero_stays)
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return np.asarray(look_up(table, native.view(unsigned)), np.uint8)
    greys = np.empty(pixels.shape, np.uint8)
    for index in range(len(pixels)):  # a slice or row at a time: no double of the whole volume
        greys[index] = _formula(pixels[index].astype(np.float64), low, high, zero_stays)
    return greys


def _formula(
    values: NDArray[np.float64], low: float, high: float, zero_stays: bool
) -> NDArray[np.uint8]:
    greys = ((np.clip(values, low, high) - low) / (high - low) * 255.0).astype(np.uint8)
    if zero_stays:
        greys[values == 0] = 0
    return greys
