"""What can be wrong with a file, in plain words, with its fix.

The numbers in brackets are those of the organisers' known bugs and conventions: A of their metric
script, B of their data and baseline. ``case_findings.py`` and ``label_findings.py`` look at one
file's arrays and put right what can be; ``check.py`` walks the folders.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Some program will fail or score wrongly."""
    WARNING = "warning"
    """Works here; the organisers' programs, or other teams', stumble over it."""


@dataclass(frozen=True)
class Finding:
    """One trap in one file."""

    level: Level
    code: str
    what: str
    """What is wrong: key, expected, found."""
    fix: str
    """What to do."""
    fixed: bool = False
    """Whether ``--fix`` did it."""


def error(code: str, what: str, fix: str, fixed: bool = False) -> Finding:
    """A finding that must be mended."""
    return Finding(Level.ERROR, code, what, fix, fixed)


def warning(code: str, what: str, fix: str, fixed: bool = False) -> Finding:
    """A finding that should be known."""
    return Finding(Level.WARNING, code, what, fix, fixed)


def is_volume(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a case is 3D, by its boxes' columns, else by its image's shape."""
    boxes, imgs = arrays.get("boxes"), arrays["imgs"]
    if boxes is not None and boxes.shape[-1:] in ((4,), (6,)):
        return bool(boxes.shape[-1] == 6)
    return imgs.ndim == 3 and imgs.shape[2] not in (1, 3, 4)


def spacing_findings(arrays: Arrays) -> Iterator[Finding]:
    """Whether a volume has a spacing, and in the challenge's order, x y z."""
    spacing = arrays.get("spacing")
    if spacing is None:
        if "spacing_xyz_mm" in arrays:
            arrays["spacing"] = arrays["spacing_xyz_mm"]
        yield error(
            "no-spacing",
            "spacing: expected this key in 3D, found none: NSD has no mm",
            "add x, y, z in mm",
            "spacing_xyz_mm" in arrays,
        )
        return
    good = spacing.dtype.kind in "iuf" and spacing.size == 3
    if not good or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        yield error(
            "spacing",
            f"spacing: expected 3 numbers above 0, found {spacing.tolist()}",
            "add x, y, z in mm",
        )
        return
    x, y, z = (float(v) for v in spacing.ravel())
    if "spacing_xyz_mm" in arrays:
        stated = arrays["spacing_xyz_mm"]
        if not np.allclose(spacing, stated, rtol=1e-4):
            arrays["spacing"] = stated
            yield error(
                "spacing-order",
                f"spacing: expected x, y, z {stated.tolist()}, found {spacing.tolist()} [B4]",
                "store x, y, z",
                True,
            )
    elif x != y and y == z:
        yield warning(
            "spacing-order",
            f"spacing: {x:g}, {y:g}, {z:g} looks like z, y, x [B4]; the "
            "challenge's order is x, y, z beside arrays that are z, y, x",
            "turn it round if the slices are the coarse axis",
        )
