"""``show``: a contact sheet of cases with boxes, truth and masks, as one PNG or as an HTML page.

A picture is one tile; a volume three: its axial, coronal and sagittal planes (of the array: z, y
and x) through the middle of its largest object, with voxels in their true proportions. Boxes are
thin, the truth's outlines solid, the masks' dotted white; label i of boxes and truth has one
colour everywhere.
"""

import argparse
import base64
import html
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from tqdm import tqdm

from data_splits.casefile import read_npz
from data_splits.errors import DataError, SourceError, UsageError, one_line
from data_splits.findings import Arrays, is_volume

TILE_PX = 320
CAPTION_PX = 18
COLUMNS = 3

COLOURS = (
    (0, 240, 255), (255, 225, 0), (255, 70, 230), (90, 255, 90), (255, 140, 40), (110, 150, 255),
)  # fmt: skip
"""Of label 1, 2, ...; begins again after the last. No red: fundus and mucosa are red."""

LEGEND = "Thin: box. Solid: truth. Dotted white: mask. Label i has one colour everywhere."

_BACKGROUND = (24, 24, 24)

_PLANES = ("axial (z)", "coronal (y)", "sagittal (x)")


@dataclass(frozen=True)
class Plane:
    """One tile's content."""

    title: str
    picture: NDArray[np.uint8]
    """(H, W, 3)."""
    boxes: NDArray[np.float64]
    """(N, 4) of those that meet the plane."""
    rows: NDArray[np.int64]
    """Which box each is."""
    truth: NDArray[Any] | None
    mask: NDArray[Any] | None
    aspect: float = 1.0
    """Height of a pixel by its width."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``show``."""
    parser.add_argument("cases", type=Path, metavar="CASES", help="folder of npz, or one file")
    parser.add_argument("--truth", type=Path, help="folder of npz with gts")
    parser.add_argument("--masks", type=Path, help="folder of npz with segs")
    parser.add_argument("--out", type=Path, required=True, help="sheet.png or sheet.html")
    parser.add_argument("--most", type=int, default=60, metavar="N", help="cases on a sheet")


def execute(args: argparse.Namespace) -> int:
    """Write the sheet; 1 when some case could not be drawn."""
    if args.out.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"--out: expected .png or .html, found {args.out.name}")
    for flag, folder in (("--truth", args.truth), ("--masks", args.masks)):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{flag}: expected a folder, found none: {folder}")
    paths = [args.cases] if args.cases.is_file() else sorted(args.cases.glob("*.npz"))
    if not paths:
        raise UsageError(f"{args.cases}: expected cases (*.npz), found none")
    strips, bad = [], 0
    for path in tqdm(paths[: args.most], desc="cases", disable=not sys.stderr.isatty()):
        try:
            planes = planes_of(path, args.truth, args.masks)
            strips.append((path.stem, [draw(plane) for plane in planes]))
        except (DataError, ValueError, IndexError) as error:
            bad += 1
            tqdm.write(f"refused: {path.name}: {one_line(error)}", file=sys.stderr)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_name(f".{args.out.name}.partial")
    if args.out.suffix.lower() == ".png":
        sheet_of(strips).save(partial, "PNG")
    else:
        partial.write_text(page_of(strips))
    partial.replace(args.out)
    print(f"{len(strips)} of {len(paths)} cases drawn on {args.out}, {bad} refused")
    return 1 if bad else 0


def planes_of(path: Path, truth: Path | None, masks: Path | None) -> list[Plane]:
    """What to draw of a case: one plane, or three."""
    case = read_npz(path)
    if "imgs" not in case:
        raise SourceError(f"expected key imgs, found {', '.join(case) or 'none'}")
    gts = case.get("gts") if truth is None else _labels(truth / path.name, "gts")
    segs = None if masks is None else _labels(masks / path.name, "segs")
    imgs = case["imgs"]
    boxes = np.asarray(case.get("boxes", np.zeros((0, 4))), np.float64)
    boxes = boxes.reshape(-1, 6 if is_volume(case) else 4)
    shape = imgs.shape if is_volume(case) else imgs.shape[:2]
    for labels, key in ((gts, "gts"), (segs, "segs")):
        if labels is not None and labels.shape != shape:
            raise SourceError(f"{key}: expected shape {shape}, found {labels.shape}")
    if not is_volume(case):
        rows = np.arange(len(boxes))
        return [Plane(path.stem, _colour(imgs), boxes, rows, gts, segs)]
    return _three_planes(path.stem, case, boxes, gts, segs)


def draw(plane: Plane) -> Image.Image:
    """A tile with caption."""
    height, width = plane.picture.shape[:2]
    scale = TILE_PX / max(height * plane.aspect, width)
    size = (max(1, round(width * scale)), max(1, round(height * plane.aspect * scale)))
    pixels = np.array(Image.fromarray(plane.picture).resize(size, Image.Resampling.BICUBIC))
    for labels, dotted in ((plane.truth, False), (plane.mask, True)):
        if labels is not None:
            _outline(pixels, labels, size, dotted)
    tile = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), _BACKGROUND)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    across, down = size[0] / width, size[1] / height
    for row, (x_min, y_min, x_max, y_max) in zip(plane.rows, plane.boxes, strict=True):
        low = (x_min * across, y_min * down)
        high = (min((x_max + 1) * across, size[0]) - 1, min((y_max + 1) * down, size[1]) - 1)
        if low[0] <= high[0] and low[1] <= high[1]:
            pen.rectangle((low, high), outline=COLOURS[int(row) % len(COLOURS)])
    tile.paste(picture, ((TILE_PX - size[0]) // 2, CAPTION_PX))
    ImageDraw.Draw(tile).text((4, 3), plane.title[:52], fill=(235, 235, 235))
    return tile


def sheet_of(strips: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """All tiles on one picture: a volume's three in one line, pictures side by side."""
    lines: list[list[Image.Image]] = []
    open_line = False  # of pictures, with room for more
    for _, tiles in strips:
        if len(tiles) > 1:
            lines.append(list(tiles))
            open_line = False
        elif open_line and len(lines[-1]) < COLUMNS:
            lines[-1] += tiles
        else:
            lines.append(list(tiles))
            open_line = True
    height = TILE_PX + CAPTION_PX
    sheet = Image.new("RGB", (COLUMNS * TILE_PX, max(1, len(lines)) * height), _BACKGROUND)
    for line, tiles in enumerate(lines):
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (column * TILE_PX, line * height))
    return sheet


def page_of(strips: Sequence[tuple[str, Sequence[Image.Image]]]) -> str:
    """One HTML file that needs nothing else."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>cases</title>"
        "<style>body{background:#181818;color:#eee;font:14px sans-serif}"
        "figure{display:inline-block;margin:6px}</style><body>"
        f"<p>{LEGEND}</p>"
    ]
    for name, tiles in strips:
        parts.append(f"<figure><figcaption>{html.escape(name)}</figcaption>")
        for index, tile in enumerate(tiles):
            stream = io.BytesIO()
            tile.save(stream, "PNG")
            data = base64.b64encode(stream.getvalue()).decode()
            alt = html.escape(name if len(tiles) == 1 else f"{name}, {_PLANES[index]}")
            parts.append(f'<img alt="{alt}" src="data:image/png;base64,{data}">')
        parts.append("</figure>")
    return "\n".join([*parts, "</body></html>\n"])


def _three_planes(
    name: str,
    case: Arrays,
    boxes: NDArray[np.float64],
    gts: NDArray[Any] | None,
    segs: NDArray[Any] | None,
) -> list[Plane]:
    imgs = case["imgs"]
    centre = _centre(imgs.shape, boxes, gts)
    spacing = case.get("spacing_zyx_mm")
    if spacing is None:
        spacing = np.asarray(case.get("spacing", np.ones(3)), np.float64)[::-1]
    planes = []
    for axis, title in enumerate(_PLANES):
        down, across = (a for a in range(3) if a != axis)  # z, y, x
        x, y, z = 2 - across, 2 - down, 2 - axis  # columns of the boxes
        meets = (boxes[:, z] <= centre[axis]) & (centre[axis] <= boxes[:, z + 3])
        flat = boxes[meets][:, [x, y, x + 3, y + 3]]
        cut = [None if a is None else a.take(centre[axis], axis) for a in (gts, segs)]
        picture = _colour(imgs.take(centre[axis], axis))
        where = f"{name}  {title} {centre[axis] + 1} of {imgs.shape[axis]}"
        aspect = float(spacing[down] / spacing[across])
        plane = Plane(where, picture, flat, np.flatnonzero(meets), cut[0], cut[1], aspect)
        planes.append(_head_up(plane) if axis else plane)
    return planes


def _head_up(plane: Plane) -> Plane:
    """Coronal and sagittal planes with z upwards, as they are looked at."""
    height = len(plane.picture)
    boxes = plane.boxes.copy()
    boxes[:, [1, 3]] = height - 1 - plane.boxes[:, [3, 1]]
    turned = [None if a is None else a[::-1] for a in (plane.truth, plane.mask)]
    picture = np.ascontiguousarray(plane.picture[::-1])
    return Plane(plane.title, picture, boxes, plane.rows, turned[0], turned[1], plane.aspect)


def _centre(
    shape: tuple[int, ...], boxes: NDArray[np.float64], gts: NDArray[Any] | None
) -> tuple[int, ...]:
    """z, y, x: a voxel of the largest object near its middle, else of the largest box."""
    if gts is not None and gts.any():
        counts = np.bincount(gts.ravel())
        counts[0] = 0
        inside = np.argwhere(gts == counts.argmax())
        middle = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
        return tuple(int(v) for v in middle)
    if len(boxes):
        largest = boxes[np.prod(boxes[:, 3:] - boxes[:, :3] + 1, axis=1).argmax()]
        middle = ((largest[:3] + largest[3:]) / 2)[::-1]
        return tuple(int(np.clip(v, 0, n - 1)) for v, n in zip(middle, shape, strict=True))
    return tuple(n // 2 for n in shape)


def _outline(
    pixels: NDArray[np.uint8], labels: NDArray[Any], size: tuple[int, int], dotted: bool
) -> None:
    """Draw the edges of labels (H, W) into ``pixels``."""
    rows = np.minimum(np.arange(size[1]) * labels.shape[0] // size[1], labels.shape[0] - 1)
    columns = np.minimum(np.arange(size[0]) * labels.shape[1] // size[0], labels.shape[1] - 1)
    large = labels[rows[:, None], columns[None]]
    for label in np.unique(large[large > 0]):
        mask = large == label
        edge = mask & ~ndimage.binary_erosion(mask, iterations=1 if dotted else 2, border_value=0)
        if dotted:
            y, x = np.indices(edge.shape)
            edge &= (x + y) % 6 < 3
        pixels[edge] = (255, 255, 255) if dotted else COLOURS[(int(label) - 1) % len(COLOURS)]


def _colour(picture: NDArray[Any]) -> NDArray[np.uint8]:
    plane = np.clip(picture, 0, 255).astype(np.uint8)
    if plane.ndim == 3:
        plane = plane[:, :, :3] if plane.shape[2] >= 3 else plane[:, :, 0]
    return plane if plane.ndim == 3 else np.repeat(plane[..., None], 3, axis=2)


def _labels(path: Path, key: str) -> NDArray[Any] | None:
    if not path.is_file():
        return None
    arrays = read_npz(path)
    if key not in arrays:
        raise SourceError(f"{path.name}: expected key {key}, found {', '.join(arrays) or 'none'}")
    return arrays[key]
