"""Accuracy of a bundle on a split, through the exported graphs and the project's own metrics.

Beside the model stands the *inscribed ellipse*: what a user gets who fills each box with an ellipse
(in 3D an ellipsoid).  A model that does not beat it has learnt nothing from the picture.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

import inference
from evaluation.metrics import dice, surface_dice
from inference.modality import modality_of
from inference.overlap import painting_order
from inference.segment import Segmenter
from inference.whole_file import replace_whole
from training.errors import RecordError
from training.store import StoredCase

TOLERANCE = 2.0
"""NSD tolerance: mm in 3D, pixels in 2D (the challenge's)."""

SCORES = ("dsc", "ellipse_dsc", "nsd", "ellipse_nsd")
"""Columns of the accuracy table."""

BoxMaker = Callable[[NDArray[np.int64], tuple[int, ...]], NDArray[np.float64]]


@dataclass(frozen=True)
class CaseAccuracy:
    """Mean over the labels of one case; ``nan`` where NSD was not asked for."""

    file: str
    dims: str
    modality: str
    source: str
    group: str
    n_labels: int
    dsc: float
    nsd: float
    ellipse_dsc: float
    ellipse_nsd: float


def tight_boxes(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """(K, 2 * ndim) tight inclusive boxes of labels 1..K in x, y(, z) order.

    Raises:
        ValueError: a label below the largest is missing.
    """
    boxes = []
    for label, where in enumerate(ndimage.find_objects(labels.astype(np.int32)), 1):
        if where is None:
            raise ValueError(
                f"labels: expected 1..{labels.max()} without gaps, found none of {label}"
            )
        boxes.append([s.start for s in where[::-1]] + [s.stop - 1 for s in where[::-1]])
    return np.array(boxes, dtype=np.int64)


def loosened(rng: np.random.Generator, share: float) -> BoxMaker:
    """Boxes whose sides are moved outward by up to ``share`` of the image side (3D: in x and y
    only)."""

    def loosen(boxes: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        moved = boxes.astype(np.float64)
        n = boxes.shape[1] // 2
        for axis, size in enumerate((shape[-1], shape[-2])):
            moved[:, axis] -= np.floor(rng.uniform(0, share * size, len(boxes)))
            moved[:, axis + n] += np.floor(rng.uniform(0, share * size, len(boxes)))
            moved[:, axis] = np.clip(moved[:, axis], 0, size - 1)
            moved[:, axis + n] = np.clip(moved[:, axis + n], 0, size - 1)
        return moved

    return loosen


def ellipse_labels(boxes: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Each box filled with its inscribed ellipse (ellipsoid), smaller ones over larger."""
    labels = np.zeros(shape, np.uint32)
    n = len(shape)
    for i in painting_order(boxes, "smaller-box"):
        label, box = i + 1, boxes[i]
        window = tuple(slice(int(box[n - 1 - a]), int(box[2 * n - 1 - a]) + 1) for a in range(n))
        axes = [
            ((np.arange(s.stop - s.start) + 0.5) / (s.stop - s.start) * 2 - 1) ** 2 for s in window
        ]
        inside = sum(np.ix_(*axes)) <= 1
        labels[window][inside] = label
    return labels


def case_accuracy(
    segmenter: Segmenter, case: StoredCase, boxes_from: BoxMaker | None, with_nsd: bool
) -> CaseAccuracy:
    """Segment one case with boxes made from its truth and compare."""
    truth = np.asarray(case.gts)
    tight = tight_boxes(truth)
    boxes = tight.astype(np.float64) if boxes_from is None else boxes_from(tight, truth.shape)
    run = segmenter.segment_volume if case.is_volume else segmenter.segment
    found = run(np.asarray(case.imgs), boxes, modality=modality_of(Path(case.info.file).name))
    ellipse = ellipse_labels(boxes, truth.shape)
    scores: dict[str, list[float]] = defaultdict(list)
    for label in range(1, len(boxes) + 1):
        mask = truth == label
        for prefix, labels in (("", found), ("ellipse_", ellipse)):
            other = labels == label
            scores[f"{prefix}dsc"].append(dice(mask, other))
            nsd = (
                surface_dice(mask, other, case.spacing_mm, TOLERANCE) if with_nsd else float("nan")
            )
            scores[f"{prefix}nsd"].append(nsd)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    info = case.info
    return CaseAccuracy(
        info.file, info.dims, info.modality, info.source, info.group, len(boxes), **means
    )


def validate(
    segmenter: Segmenter,
    cases: Sequence[StoredCase],
    boxes_from: BoxMaker | None = None,
    with_nsd: bool = True,
) -> list[CaseAccuracy]:
    """Accuracy of every case, in order."""
    return [
        case_accuracy(segmenter, c, boxes_from, with_nsd) for c in tqdm(cases, "cases", delay=2)
    ]


def mean_scores(bundle: Path, cases: Sequence[StoredCase]) -> dict[str, float]:
    """DSC of a bundle with tight boxes: mean over modalities of each of 2D and 3D, and ``score``,
    the mean of those that are there."""
    summary = accuracy_summary(
        validate(inference.load(bundle, precision="f32"), cases, with_nsd=False)
    )
    means = {dims: table["mean"]["dsc"] for dims, table in summary.items()}
    return {**means, "score": float(np.mean(list(means.values())))}


def write_accuracy(rows: Iterable[CaseAccuracy], path: Path) -> None:
    """One line a case; the file appears whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(CaseAccuracy)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in asdict(row).items()}
        )
    replace_whole(path, lambda partial: partial.write_text(text.getvalue()), ".partial")


def read_accuracy(path: Path) -> list[CaseAccuracy]:
    """What :func:`write_accuracy` wrote.

    Raises:
        RecordError: a column is missing or no number.
    """
    with path.open(newline="") as file:
        try:
            return [
                CaseAccuracy(**{f.name: f.type(row[f.name]) for f in fields(CaseAccuracy)})  # type: ignore[operator]
                for row in csv.DictReader(file)
            ]
        except (KeyError, TypeError, ValueError) as error:
            names = ", ".join(f.name for f in fields(CaseAccuracy))
            raise RecordError(f"{path}: expected the columns {names}, found: {error!r}") from None


def accuracy_summary(rows: Sequence[CaseAccuracy]) -> dict[str, dict[str, dict[str, float]]]:
    """Means of the per-case scores: {dims: {modality or "mean": {score: value, "cases": n}}}."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for dims in sorted({r.dims for r in rows}):
        table = summary.setdefault(dims, {})
        for modality in sorted({r.modality for r in rows if r.dims == dims}):
            members = [r for r in rows if (r.dims, r.modality) == (dims, modality)]
            table[modality] = {
                "cases": len(members),
                "groups": len({m.group for m in members}),
                **{n: float(np.mean([getattr(m, n) for m in members])) for n in SCORES},
            }
        table["mean"] = {
            "cases": sum(m["cases"] for m in table.values()),
            "groups": len({r.group for r in rows if r.dims == dims}),
            **{n: float(np.mean([m[n] for m in table.values()])) for n in SCORES},
        }
    return {
        dims: {m: {k: round(v, 4) for k, v in s.items()} for m, s in table.items()}
        for dims, table in summary.items()
    }


def accuracy_table(rows: Sequence[CaseAccuracy]) -> str:
    """Markdown: modality means of the per-case scores, and the mean over modalities, 2D and 3D
    apart."""
    lines = [
        "| | modality | cases | groups | DSC | ellipse DSC | NSD | ellipse NSD |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for dims, table in accuracy_summary(rows).items():
        for modality, scores in table.items():
            bold = "**" if modality == "mean" else ""
            name = "mean over modalities" if modality == "mean" else modality
            values = " | ".join(f"{bold}{scores[n]:.3f}{bold}" for n in SCORES)
            counts = f"{scores['cases']:.0f} | {scores['groups']:.0f}"
            lines.append(f"| {dims} | {bold}{name}{bold} | {counts} | {values} |")
    return "\n".join(lines) + "\n"
