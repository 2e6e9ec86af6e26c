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
from evaluation.metrics.instances import Labels
from evaluation.progress import Progress
from evaluation.report.data import ReportData, is_scored
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.labelmaps import Truth, read_mask, read_truth
from evaluation.scoring.score_tables import ScoreRow

logger = logging.getLogger(__name__)

IMAGE_SIZE = 384
"""Pixels on the longer side of an embedded image; smaller ones stay as they are."""

CONTOUR_SIZE = 640
"""Pixels on the longer side of the grid that contours are drawn on."""

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


def draw_cases(data: ReportData, cases: Path, truth: Path, limit: int) -> tuple[CasePicture, ...]:
    """Draw up to `limit` cases; one that cannot be drawn is left out with a warning."""
    chosen = choose_cases(data.rows, limit)
    folders = {team.name: TeamFolder(team.folder) for team in data.teams}
    pictures = []
    with Progress("pictures", len(chosen)) as progress:
        for row in chosen:
            try:
                masks = {team: folder.mask(row.case) for team, folder in folders.items()}
                pictures.append(draw_case(row, cases, truth, masks))
            except (DatasetError, ScoreError) as error:
                logger.warning("report: no picture: %s", error)
            progress.advance()
    return tuple(sorted(pictures, key=lambda picture: (picture.modality, picture.case)))


def choose_cases(rows: Sequence[ScoreRow], limit: int) -> list[ScoreRow]:
    """Take the worst, the best, the middle and then the next worst of each kind of case in turn.

    A kind is a modality in 2D or 3D; cases are compared by the teams' mean DSC. One row a case.
    """
    dsc: dict[str, list[float]] = {}
    sample: dict[str, ScoreRow] = {}
    for row in filter(is_scored, rows):
        dsc.setdefault(row.case, []).append(row.dsc or 0.0)
        sample[row.case] = row
    kinds: dict[tuple[str, int | None], list[str]] = {}
    for case in sorted(sample, key=lambda name: (sum(dsc[name]) / len(dsc[name]), name)):
        kinds.setdefault((sample[case].modality, sample[case].dimensions), []).append(case)
    queues = []
    for _, names in sorted(kinds.items()):
        first = dict.fromkeys([names[0], names[-1], names[len(names) // 2], *names])
        queues.append(list(first))
    turns = [queue[turn] for turn in range(len(sample)) for queue in queues if turn < len(queue)]
    return [sample[case] for case in turns[:limit]]


def draw_case(row: ScoreRow, cases: Path, truth: Path, masks: dict[str, Path]) -> CasePicture:
    """Draw one case; of a volume, the middle one of the slices that hold truth."""
    labels = read_truth(truth / f"{row.case}.npz", cases / f"{row.case}.npz")
    image, boxes = _read_case(cases / f"{row.case}.npz")
    level = _middle_slice(labels)
    grid = labels.labels.shape[-2:]
    pixels = image if level is None else image[level]
    if pixels.shape[:2] != grid:
        raise DatasetError(f"{row.case}: imgs must be {grid} as the truth is, found {image.shape}")
    paths = {}
    for team, path in masks.items():
        try:
            paths[team] = contour_path(_slice(read_mask(path, labels.labels.shape), level))
        except ScoreError:
            continue
    return CasePicture(
        case=row.case,
        modality=row.modality,
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
    except (OSError, ValueError, KeyError, EOFError) as error:
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
