"""Draw every demo case with its boxes (thin) and truth outlines (thick) on one sheet.

    python examples/contact_sheet.py OUT.png

A volume is shown at the slice on which most of its objects, then most of their voxels, are seen.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

TILE_PX = 384
CAPTION_PX = 28
COLUMNS = 4
COLOURS = [
    (0, 240, 255), (255, 225, 0), (255, 70, 230), (90, 255, 90), (255, 140, 40), (110, 150, 255),
]  # fmt: skip
"""Colour of label 1, 2, ...; begins again after the last. No red: fundus and mucosa are red."""


def shown_slice(labels: NDArray[Any]) -> int:
    """Index of the slice of a (D, H, W) label map that shows most objects, then most voxels."""
    return max(
        range(len(labels)),
        key=lambda z: (np.unique(labels[z]).size, int(np.count_nonzero(labels[z]))),
    )


def outlined(picture: NDArray[np.uint8], labels: NDArray[Any], boxes: NDArray[Any]) -> Image.Image:
    """A tile: the (H, W, 3) picture enlarged to fit, with truth outlines and (N, 4) boxes."""
    height, width = labels.shape
    scale = TILE_PX / max(height, width)
    size = (round(width * scale), round(height * scale))
    pixels = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    large = np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    for label in np.unique(large[large > 0]):
        mask = large == label
        edge = mask & ~ndimage.binary_erosion(mask, iterations=2, border_value=0)
        pixels[edge] = COLOURS[(int(label) - 1) % len(COLOURS)]
    tile = Image.fromarray(pixels)
    draw = ImageDraw.Draw(tile)
    for row, box in enumerate(boxes):
        if not np.any(labels == row + 1):
            continue
        x_min, y_min, x_max, y_max = (float(value) * scale for value in box)
        corner = (min(x_max + scale, size[0]) - 1, min(y_max + scale, size[1]) - 1)
        draw.rectangle(((x_min, y_min), corner), outline=COLOURS[row % len(COLOURS)])
    return tile


def tile_of(folder: Path, row: dict[str, str]) -> Image.Image:
    """The tile of one row of cases.csv with its caption."""
    name = row["case"] + ".npz"
    with np.load(folder / "cases" / name) as case, np.load(folder / "truth" / name) as truth:
        picture, boxes, labels = case["imgs"], case["boxes"], truth["gts"]
    where = ""
    if labels.ndim == 3:
        z = shown_slice(labels)
        where = f", slice {z} of {len(labels)}"
        picture, labels = np.repeat(picture[z][..., None], 3, axis=2), labels[z]
        boxes = boxes[:, [0, 1, 3, 4]]
    tile = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), (24, 24, 24))
    tile.paste(outlined(picture, labels, boxes), (0, CAPTION_PX))
    draw = ImageDraw.Draw(tile)
    draw.text((4, 1), row["case"], fill=(255, 255, 255))
    draw.text((4, 13), f"{row['kind']}, {row['n_objects']} objects{where}", fill=(190, 190, 190))
    return tile


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the sheet was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path, help="picture to write, for instance sheet.png")
    out: Path = parser.parse_args(argv).out
    folder = Path(__file__).resolve().parent
    with open(folder / "cases.csv", newline="", encoding="utf-8") as file:
        tiles = [tile_of(folder, row) for row in csv.DictReader(file)]
    lines = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE_PX, lines * (TILE_PX + CAPTION_PX)))
    for index, tile in enumerate(tiles):
        line, column = divmod(index, COLUMNS)
        sheet.paste(tile, (column * TILE_PX, line * (TILE_PX + CAPTION_PX)))
    sheet.save(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
