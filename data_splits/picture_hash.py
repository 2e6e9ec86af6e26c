"""Fingerprints of pictures that survive scaling, brightness and compression, but not another scene.

A perceptual hash (the signs of the low frequencies of a cosine transform, Zauner 2010, "pHash")
finds candidates; the correlation of small copies, in the eight ways a picture can be turned and
flipped, confirms them: pictures of one organ by one device are alike to the hash alone.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

SIDE = 32
"""Of the small copy."""

LOW = 8
"""Frequencies kept along each axis; 63 bits without the mean."""

MOST_BITS = 14
"""Largest number of differing bits of a candidate."""

LEAST_CORRELATION = 0.994
"""Of the small copies of near-duplicates. Noise, brightness and scaling leave 0.997 and more;
fundus pictures of different eyes reach 0.993 (seen in this project's data)."""


@dataclass(frozen=True)
class Fingerprint:
    """Of one case."""

    copy: NDArray[np.float64]
    """(SIDE, SIDE), mean 0, length 1; zeros for a constant picture."""
    bits: NDArray[np.bool_]
    """(8, LOW * LOW - 1): the hash of the copy in each of the eight positions."""


def fingerprint(image: NDArray[np.uint8]) -> Fingerprint:
    """Of a picture (H, W) or (H, W, 3), or of a volume (D, H, W): its mean along z."""
    values = image.astype(np.float32)
    if values.ndim == 3:
        values = values.mean(axis=2 if values.shape[2] in (1, 3, 4) else 0)
    small = Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BOX)
    copy = np.array(small, np.float64)
    copy -= copy.mean()
    length = float(np.linalg.norm(copy))
    copy = copy / length if length > 1e-9 else np.zeros_like(copy)
    return Fingerprint(copy, np.stack([_hash(turned) for turned in _positions(copy)]))


def near_duplicates(
    first: list[Fingerprint], second: list[Fingerprint], least: float = LEAST_CORRELATION
) -> list[tuple[int, int, float]]:
    """Pairs (index in first, index in second, correlation) that show the same; constant pictures
    have no near-duplicate."""
    if not first or not second:
        return []
    others = np.stack([other.bits[0] for other in second])  # (N, bits)
    found = []
    for index, one in enumerate(first):
        differing = (one.bits[:, None, :] != others[None]).sum(axis=2).min(axis=0)
        for candidate in np.flatnonzero(differing <= MOST_BITS):
            likeness = max(
                float((turned * second[candidate].copy).sum()) for turned in _positions(one.copy)
            )
            if likeness >= least:
                found.append((index, int(candidate), likeness))
    return found


def _positions(copy: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The eight ways to turn and flip; the picture itself first."""
    return [np.rot90(copy.T if flip else copy, turns) for flip, turns in product((0, 1), range(4))]


def _hash(copy: NDArray[np.float64]) -> NDArray[np.bool_]:
    low = np.asarray(dctn(copy, norm="ortho"))[:LOW, :LOW].ravel()[1:]
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits
