"""Cases made up to try a submission on: two ordinary ones, and odd ones that challenges hold."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Boxes = list[list[int]]

ORDINARY = ("2DBox_US_ordinary", "3DBox_CT_ordinary")

MENDING = {
    "2DBox_US_tiny": "pad small images before the encoder; never divide by a side's length",
    "2DBox_Microscopy_300boxes": "write uint16: in uint8 label 256 becomes 0; decode in batches",
    "3DBox_CT_one-slice": "do not take a volume for a picture: decide by the boxes' columns",
    "3DBox_MR_long-thin": "resize by the longer side and pad; check sides below one patch",
    "2DBox_US_no-boxes": "write an empty mask when boxes has no rows",
}
"""Odd case -> what usually mends a failure on it."""


def write_cases(folder: Path) -> None:
    """Write all of them, with seeded noise as pictures."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    grid = [[8 * (i % 20), 8 * (i // 20), 8 * (i % 20) + 6, 8 * (i // 20) + 6] for i in range(300)]
    _write(folder, ORDINARY[0], _picture(rng, (200, 240)), [[40, 50, 120, 110], [130, 20, 220, 90]])
    _write(folder, ORDINARY[1], _noise(rng, (12, 96, 112)), [[20, 24, 2, 70, 80, 9]])
    _write(folder, "2DBox_US_tiny", _picture(rng, (7, 5)), [[1, 1, 3, 5]])
    _write(folder, "2DBox_Microscopy_300boxes", _picture(rng, (128, 168)), grid)
    _write(folder, "3DBox_CT_one-slice", _noise(rng, (1, 64, 64)), [[10, 12, 0, 40, 50, 1]])
    _write(folder, "3DBox_MR_long-thin", _noise(rng, (90, 24, 9)), [[1, 4, 5, 7, 20, 85]])
    _write(folder, "2DBox_US_no-boxes", _picture(rng, (64, 64)), [])


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def _picture(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.uint8]:
    return np.repeat(_noise(rng, shape)[..., None], 3, axis=2)  # (H, W, 3)


def _write(folder: Path, name: str, image: NDArray[np.uint8], boxes: Boxes) -> None:
    columns = 6 if name.startswith("3D") else 4
    arrays: dict[str, NDArray[np.generic]] = {
        "imgs": image,
        "boxes": np.array(boxes, np.int64).reshape(-1, columns),
    }
    if columns == 6:
        arrays["spacing"] = np.array([0.8, 0.8, 2.5])
    with (folder / f"{name}.npz").open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
