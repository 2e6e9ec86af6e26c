"""Cases whose size is known, for the benchmarks of speed and memory: written once, the same every
time."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def phantom_volume(
    depth: int, side: int, objects: int
) -> tuple[NDArray[np.uint8], list[list[int]]]:
    """A noisy volume (depth, side, side) with balls as bright as their neighbours are not, and the
    box (x_min, y_min, z_min, x_max, y_max, z_max) of each; a ball spans about half the slices."""
    random = np.random.default_rng(0)
    volume = random.integers(30, 70, (depth, side, side), dtype=np.uint8)
    z, y, x = np.ogrid[:depth, :side, :side]
    boxes = []
    for i in range(objects):
        centre_z = depth // 4 + (depth // 2) * i // max(objects - 1, 1)
        half_z = min(depth // 4, 25) if depth <= 100 else depth // 12
        angle = 2 * np.pi * i / objects
        centre_y, centre_x = (int(side * (0.5 + 0.3 * f(angle))) for f in (np.sin, np.cos))
        half = side // 12
        inside = (((z - centre_z) / half_z) ** 2 + ((y - centre_y) / half) ** 2) + (
            (x - centre_x) / half
        ) ** 2 <= 1
        volume[inside] += np.uint8(90 + 10 * (i % 3))
        low = [centre_x - half, centre_y - half, centre_z - half_z]
        high = [centre_x + half, centre_y + half, min(centre_z + half_z, depth - 1)]
        boxes.append([max(v, 0) for v in low] + high)
    return volume, boxes


def write_volume(path: Path, depth: int, side: int, objects: int) -> None:
    """A case of the challenge's kind."""
    volume, boxes = phantom_volume(depth, side, objects)
    np.savez_compressed(
        path, imgs=volume, boxes=np.array(boxes, np.uint16), spacing=np.array([0.8, 0.8, 2.5])
    )


def write_picture(path: Path, height: int, width: int, objects: int) -> None:
    """A picture (height, width, 3) with bright discs and their boxes, at most 64."""
    random = np.random.default_rng(0)
    picture = random.integers(30, 70, (height, width, 3), dtype=np.uint8)
    y, x = np.ogrid[:height, :width]
    rows = 4 if objects <= 16 else 8
    half, boxes = min(height, width) // (3 * rows), []
    for i in range(objects):
        cy, cx = height * (i % rows + 1) // (rows + 1), width * (i // rows + 1) // (rows + 1)
        picture[((y - cy) / half) ** 2 + ((x - cx) / half) ** 2 <= 1] += np.uint8(90)
        boxes.append([cx - half, cy - half, cx + half, cy + half])
    np.savez_compressed(path, imgs=picture, boxes=np.array(boxes, np.uint16))


def write_bar_cases(folder: Path) -> list[Path]:
    """The three cases that the bars against the challenge's programs name: a picture as large as a
    mammogram with 4 boxes, one of microscopy's size with 50, and a CT of 100 slices with 5."""
    names = ("2DBox_Mammography_made", "2DBox_Microscopy_50boxes", "3DBox_CT_made")
    large, many, volume = paths = [folder / f"{name}.npz" for name in names]
    write_picture(large, 2604, 1726, 4)
    write_picture(many, 768, 1024, 50)
    write_volume(volume, 100, 512, 5)
    return paths
