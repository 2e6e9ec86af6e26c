"""Cases of a split as plain arrays on disk, ready to be mapped into memory."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_splits.split import SplitCase


@dataclass(frozen=True)
class StoredCase:
    """One labelled case: ``imgs`` (H, W, 3) or (D, H, W) uint8, ``gts`` (H, W) or (D, H, W) uint16,
    labels 1..K."""

    info: SplitCase
    imgs: NDArray[np.uint8]
    gts: NDArray[np.uint16]
    spacing_mm: tuple[float, ...]
    """3D: z, y, x; 2D: ones."""

    @property
    def is_volume(self) -> bool:
        """Whether the case is 3D."""
        return self.gts.ndim == 3


def write_store(cases: Iterable[tuple[SplitCase, Path]], store_dir: Path) -> int:
    """Write every (case, npz path) to ``store_dir``; returns how many."""
    store_dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (info, path) in enumerate(cases):
        with np.load(path) as npz:
            np.save(store_dir / f"{number:05d}.imgs.npy", npz["imgs"])
            np.save(store_dir / f"{number:05d}.gts.npy", npz["gts"].astype(np.uint16))
            spacing = tuple(npz["spacing"][::-1]) if "spacing" in npz.files else (1.0, 1.0)
        rows.append({**vars(info), "number": number, "spacing_mm": " ".join(map(str, spacing))})
    with (store_dir / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def read_store(store_dir: Path, split: str) -> list[StoredCase]:
    """The cases of one split, their arrays mapped, not read."""
    cases = []
    with (store_dir / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            number, spacing = int(row.pop("number")), row.pop("spacing_mm")
            if row["split"] == split:
                imgs = np.load(store_dir / f"{number:05d}.imgs.npy", mmap_mode="r")
                gts = np.load(store_dir / f"{number:05d}.gts.npy", mmap_mode="r")
                spacing_mm = tuple(float(s) for s in spacing.split())
                cases.append(StoredCase(SplitCase(**row), imgs, gts, spacing_mm))
    return cases
