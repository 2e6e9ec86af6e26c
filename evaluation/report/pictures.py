"""Pictures of cases: the image as PNG, box and contours as SVG paths over it.

The contours run along the edges of pixels, so that they show the mask itself, and they are vectors:
sharp at any size and switched on and off by the page.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.errors import DatasetError, ScoreError
from evaluation.metrics.label_maps import Labels
from evaluation.progress import Progress
from evaluation.report.drawing import TEAM_COLOURS
from evaluation.report.grid import ScoreGrid
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.labelmaps import Truth, read_mask, read_truth

logger = logging.getLogger(__name__)

IMAGE_SIZE = 384
"""Pixels on the longer side of an embedded image; smaller ones stay as they are."""

CONTOUR_SIZE = 640
"""Pixels on the longer side of the grid that contours are drawn on."""

PICTURE_BYTES = 5_000_000
"""All pictures together: the page stays below 10 MB with the largest challenge in it."""

COLOURS = 128
"""Palette of an embedded colour image: a third of the bytes of true colour, and good to look at."""


@dataclass(frozen=True)
class Box:
    """A prompt in pixels of the picture, far edges included."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class CasePicture:
    """One case drawn; paths are in pixels of the original image."""

    case: str
    modality: str
    dimensions: int
    role: str
    """worst, best, median or only case of its kind; empty for one more of the bad ones."""
    width: int
    height: int
    place: str
    """Which slice of a volume; empty for an image."""
    png: str
    """Base64."""
    boxes: tuple[Box, ...]
    truth_path: str
    team_paths: dict[str, str]
    """By team; a team without a readable mask is absent."""

    @property
    def size(self) -> int:
        """Bytes in the page, about."""
        return len(self.png) + len(self.truth_path) + sum(map(len, self.team_paths.values()))


def draw_cases(
    grid: ScoreGrid, folders: Sequence[Path], cases: Path, truth: Path, limit: int
) -> tuple[CasePicture, ...]:
    """Draw up to `limit` cases; one that cannot be drawn is left out with a warning.

    `folders` are those of the teams, in the order of the grid. Contours are drawn of as many teams
    as there are colours, the first ones, and no more pictures than fit into PICTURE_BYTES.
    """
    chosen = choose_cases(grid, limit)
    shown = list(zip(grid.teams, folders, strict=True))[:TEAM_COLOURS]
    pictures: list[CasePicture] = []
    size = 0
    with Progress("pictures", len(chosen)) as progress:
        for choice in chosen:
            is_ok = grid.ok[:, grid.cases.index(choice.case)]
            masks = {  # what lies there of a case that failed or was not run is no answer to it
                team: TeamFolder(folder).mask(choice.case)
                for (team, folder), good in zip(shown, is_ok[: len(shown)], strict=True)
                if good
            }
            try:
                picture = draw_case(choice, cases, truth, masks)
            except (DatasetError, ScoreError) as error:
                logger.warning("report: no picture: %s", error)
            else:
                size += picture.size
                if size > PICTURE_BYTES:
                    logger.warning("report: %d of %d pictures fit", len(pictures), len(chosen))
                    break
                pictures.append(picture)
            progress.advance()
    return tuple(sorted(pictures, key=lambda p: (p.dimensions, p.modality, p.case)))


@dataclass(frozen=True)
class Choice:
    """A case to draw."""

    case: str
    modality: str
    dimensions: int
    role: str
    """worst, best, median or only case of its kind; empty for one more of the bad ones."""


def choose_cases(grid: ScoreGrid, limit: int) -> list[Choice]:
    """Take the worst, the best, the median and then the next worst of each kind of case in turn.

    A kind is a modality in 2D or 3D; cases are compared by the teams' mean DSC.
    """
    scored = np.flatnonzero(np.isfinite(grid.dsc).any(axis=0))
    mean = dict(zip(scored.tolist(), grid.dsc[:, scored].mean(axis=0).tolist(), strict=True))
    kinds: dict[tuple[str, int], list[int]] = {}
    for case in sorted(mean, key=lambda index: (mean[index], index)):
        kind = grid.modalities[grid.modality[case]], int(grid.dimensions[case])
        kinds.setdefault(kind, []).append(case)
    queues = []
    for (modality, dimensions), found in sorted(kinds.items()):
        roles = {found[0]: "worst" if len(found) > 1 else "only case"}
        roles.setdefault(found[-1], "best")
        roles.setdefault(found[len(found) // 2], "median")
        roles |= {case: "" for case in found if case not in roles}
        queues.append([Choice(grid.cases[c], modality, dimensions, r) for c, r in roles.items()])
    turns = [queue[turn] for turn in range(len(mean)) for queue in queues if turn < len(queue)]
    return turns[:limit]


def draw_case(choice: Choice, cases: Path, truth: Path, masks: dict[str, Path]) -> CasePicture:
    """Draw one case; of a volume, the middle one of the slices that hold truth."""
    name = f"{choice.case}.npz"
    labels = read_truth(truth / name, cases / name)
    image, boxes = _read_case(cases / name)
    level = _middle_slice(labels)
    grid = labels.labels.shape[-2:]
    pixels = image if level is None else image[level]
    if pixels.shape[:2] != grid:
        raise DatasetError(f"{choice.case}: imgs must be {grid} as the truth, found {image.shape}")
    paths = {}
    for team, path in masks.items():
        try:
            paths[team] = contour_path(_slice(read_mask(path, labels.labels.shape), level))
        except ScoreError:
            continue
    return CasePicture(
        case=choice.case,
        modality=choice.modality,
        dimensions=choice.dimensions,
        role=choice.role,
        width=grid[1],
        height=grid[0],
        place="" if level is None else f"slice {level + 1} of {len(labels.labels)}",
        png=base64.b64encode(encode_png(pixels)).decode("ascii"),
        boxes=_visible_boxes(boxes, level),
        truth_path=contour_path(_slice(labels.labels, level)),
        team_paths=paths,
    )


def contour_path(labels: Labels) -> str:
    """SVG path along the pixel edges where the label changes; empty for an empty map.

    A large map is thinned to every n-th pixel first; coordinates stay those of the full map.
    """
    step = -(-max(labels.shape) // CONTOUR_SIZE)
    padded = np.pad(labels[::step, ::step].astype(np.int64), 1)
    upright = padded[1:-1, :-1] != padded[1:-1, 1:]  # (H, W+1)
    level = padded[:-1, 1:-1] != padded[1:, 1:-1]  # (H+1, W)
    parts = [f"M{x * step} {y * step}v{n * step}" for x, y, n in _runs(upright.T)]
    parts += [f"M{x * step} {y * step}h{n * step}" for y, x, n in _runs(level)]
    return "".join(parts)


def encode_png(pixels: NDArray[np.generic]) -> bytes:
    """PNG of an image (H, W) or (H, W, 1|3|4) of any numeric type, made small enough to embed."""
    if pixels.dtype != np.uint8:
        finite = np.nan_to_num(pixels.astype(np.float64))
        low, high = np.percentile(finite, (0.5, 99.5))
        pixels = np.clip((finite - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels[..., None]
    if (colours == colours[..., :1]).all():
        picture = Image.fromarray(np.ascontiguousarray(colours[..., 0]))
    else:
        picture = Image.fromarray(np.ascontiguousarray(colours))
    picture.thumbnail((IMAGE_SIZE, IMAGE_SIZE))
    if picture.mode == "RGB":
        picture = picture.quantize(COLOURS)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Row, start and length of every run of true values along the rows."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), (ends - starts).tolist(), strict=True))


def _read_case(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            boxes = archive["boxes"] if "boxes" in archive.files else np.zeros((0, 4))
            return archive["imgs"], np.atleast_2d(np.asarray(boxes, dtype=np.float64))
    except Exception as error:  # what a broken file raises is no closed set
        raise DatasetError(f"{path}: expected a case with imgs, found: {error}") from error


def _middle_slice(truth: Truth) -> int | None:
    """The middle one of the slices with truth, the middle slice of an empty truth, None in 2D."""
    if truth.labels.ndim == 2:
        return None
    used = np.flatnonzero(truth.labels.any(axis=(1, 2)))
    return int(used[len(used) // 2]) if used.size else len(truth.labels) // 2


def _slice(labels: Labels, level: int | None) -> Labels:
    return labels if level is None else labels[level]


def _visible_boxes(boxes: NDArray[np.float64], level: int | None) -> tuple[Box, ...]:
    """Boxes of an image, or those of a volume that hold the slice; both ends belong to a box."""
    if boxes.size == 0 or boxes.shape[1] != (4 if level is None else 6):
        return ()
    if level is not None:
        boxes = boxes[(boxes[:, 2] <= level) & (level <= boxes[:, 5])][:, [0, 1, 3, 4]]
    return tuple(
        Box(x_min, y_min, x_max - x_min + 1, y_max - y_min + 1)
        for x_min, y_min, x_max, y_max in boxes.tolist()
    )
