"""The worst cases, drawn: picture, truth, box and what the model made of it.

Only cases whose terms allow redistribution are drawn; the others are named in words by the card.
The pictures are for looking at and stay out of the repository: write them to a folder that git
ignores (``build/``).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

import inference
from inference.modality import modality_of
from inference.segment import Segmenter
from training.store import StoredCase, read_store
from training.validate import CaseAccuracy, read_accuracy, tight_boxes

log = logging.getLogger(__name__)

SHOWN_SIDE = 480
"""Longest side of a drawn picture, pixels."""

TRUTH, FOUND, BOX = (60, 220, 60), (255, 60, 60), (255, 220, 0)
"""Colours of outlines and boxes."""


def worst(rows: Sequence[CaseAccuracy], count: int) -> list[CaseAccuracy]:
    """The ``count`` lowest DSC, at most two of a source, so that they show different things."""
    seen: dict[tuple[str, str], int] = {}
    chosen = []
    for row in sorted(rows, key=lambda r: (r.dsc, r.file)):
        key = (row.dims, row.source)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 2:
            chosen.append(row)
    return chosen[:count]


def draw_failures(bundle: Path, store_dir: Path, csv: Path, out: Path, count: int) -> list[Path]:
    """Draw the worst ``count`` cases of ``csv`` that may be shown; returns the files written."""
    cases = {c.info.file: c for split in ("val", "test") for c in read_store(store_dir, split)}
    rows = [r for r in read_accuracy(csv) if r.file in cases]
    may_show = [r for r in rows if cases[r.file].info.redistributable == "yes"]
    segmenter = inference.load(bundle, precision="f32")
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for row in worst(may_show, count):
        path = out / f"{Path(row.file).stem}.png"
        draw_case(segmenter, cases[row.file]).save(path)
        log.info("%s: DSC %.3f", path.name, row.dsc)
        paths.append(path)
    return paths


def draw_case(segmenter: Segmenter, case: StoredCase) -> Image.Image:
    """Picture, or the slice of a volume where truth and model differ most, with outlines: truth
    green, model red, boxes yellow."""
    truth = np.asarray(case.gts)
    boxes = tight_boxes(truth)
    run = segmenter.segment_volume if case.is_volume else segmenter.segment
    found = run(np.asarray(case.imgs), boxes, modality=modality_of(Path(case.info.file).name))
    picture: NDArray[Any] = np.asarray(case.imgs)
    if case.is_volume:
        z = int((found != truth).sum((1, 2)).argmax())
        picture = np.repeat(picture[z][:, :, None], 3, axis=2)
        truth, found = truth[z], found[z]
        boxes = boxes[(boxes[:, 2] <= z) & (z <= boxes[:, 5])][:, [0, 1, 3, 4]]
    scale = SHOWN_SIDE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    shown = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size)).copy()
    for labels, colour in ((truth, TRUTH), (found, FOUND)):
        named = Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
        shown[outlines(np.asarray(named))] = colour
    image = Image.fromarray(shown)
    draw = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in (boxes * scale).tolist():
        draw.rectangle((x0, y0, x1 + scale, y1 + scale), outline=BOX)
    return image


def outlines(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of an object beside another label."""
    low = ndimage.minimum_filter(labels, size=3)
    high = ndimage.maximum_filter(labels, size=3)
    return np.asarray((low != high) & (labels > 0))
