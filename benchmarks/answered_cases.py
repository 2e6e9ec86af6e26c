"""What an agreement run leaves in its folder: the cases, and the published program's masks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIXEL_BAR = 0.999
"""Least part of a case's pixels with the same label."""


def answered_cases(work: Path) -> Iterator[tuple[Path, NDArray[np.generic]]]:
    """Every case that the published program answered, and its mask; the others are told."""
    for path in sorted((work / "cases").glob("*.npz")):
        masks = work / "masks" / path.name
        if not masks.exists():
            print(f"  {path.stem}: no answer of the published program")
            continue
        with np.load(masks) as file:
            yield path, file["segs"]
