"""Images with labels to challenge npz: one case file and one truth file each, and a table of all.

A case that cannot be converted is refused with the reason and the others go on; what is written
under OUT is ``cases/``, ``truth/`` and ``conversion.csv``, a row for every case, refused ones too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_splits.boxes import TIGHT, BoxRule, prompt_boxes
from data_splits.casefile import Origin, origin_keys, write_npz
from data_splits.errors import SourceError
from data_splits.geometry import Grid, move, oriented
from data_splits.intensity import Rule, default_rule, to_eight_bit
from data_splits.labels import SMALL_OBJECTS, LabelTable, SmallObjects, prepare
from data_splits.pairing import Job
from data_splits.readers import read_image, read_labels
from data_splits.readers.coco import read_coco_labels
from data_splits.sources import SourceImage, SourceLabels, digest_of


@dataclass(frozen=True)
class Settings:
    """What holds for all cases of one conversion."""

    rule: Rule | None = None
    """None: by modality (``intensity.default_rule``)."""
    orientation: str = "acquired"
    instances: tuple[str, ...] = ()
    remove: tuple[int, ...] = ()
    small: SmallObjects = SMALL_OBJECTS["keep"]
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of values, over those that a file states."""
    margin_slices: int | None = None
    """Keep only the slices from the first to the last with labels and this many on either side;
    None keeps all. What is kept is always one piece."""
    always_3d: bool = False
    """Whether one slice is a volume, and no picture."""
    boxes: BoxRule = TIGHT
    seed: int = 0
    series_uid: str = ""


@dataclass(frozen=True)
class Converted:
    """What became of one job; a row of ``conversion.csv``."""

    case: str
    status: str
    """``ok`` or ``refused``."""
    reason: str = ""
    dims: str = ""
    modality: str = ""
    shape: str = ""
    spacing_xyz_mm: str = ""
    orientation: str = ""
    n_objects: int = 0
    dropped_voxels: int = 0
    source_format: str = ""
    source_sha256: str = ""
    image: str = ""
    labels: str = ""
    notes: str = ""
    group: str = ""
    source: str = ""
    licence: str = ""
    redistributable: str = ""


def convert_case(job: Job, settings: Settings, out: Path) -> Converted:
    """Make one case; raises SourceError with the reason where it cannot be."""
    image = read_image(job.image, settings.series_uid)
    if image.grid is not None:
        image.grid.require_orthogonal()
    found = _labels_of(job, image)
    modality = job.modality or image.modality
    if modality is None:
        raise SourceError(f"{job.image.name}: expected --modality: the file does not tell it")
    flat = image.grid is None or (image.grid.shape_zyx[0] == 1 and not settings.always_3d)
    rule = settings.rule or default_rule(modality, 2 if flat else 3)
    greys = to_eight_bit(image, rule)
    labels, table, dropped = _prepared(found, settings, job)
    target, greys, labels = _placed(image, greys, labels, settings, flat)
    if flat and greys.ndim == 2:
        greys = np.repeat(greys[..., None], 3, axis=2)  # (H, W, 3)
    name = f"{'2D' if flat else '3D'}Box_{modality}_{job.name}"
    origin = Origin(
        image.format, job.image.name, digest_of(image.files), image.series_uid, image.grid, target
    )
    _write(out, name, greys, labels, table, origin, settings, flat)
    return Converted(
        case=name,
        status="ok",
        dims="2D" if flat else "3D",
        modality=modality,
        shape=" ".join(str(n) for n in greys.shape),
        spacing_xyz_mm=""
        if target is None
        else " ".join(f"{v:.6g}" for v in target.spacing_xyz_mm),
        orientation="" if target is None else target.orientation,
        n_objects=len(table.values),
        dropped_voxels=dropped,
        source_format=image.format,
        source_sha256=origin.sha256,
        notes="; ".join((*image.notes, *(found.notes if found else ()))),
        **_of_job(job),
    )


def refused(job: Job, reason: str) -> Converted:
    """The row of a job that was not done."""
    return Converted(job.name, "refused", reason, modality=job.modality, **_of_job(job))


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def _of_job(job: Job) -> dict[str, Any]:
    return {
        "image": job.image.name,
        "labels": ";".join(path.name for path in job.labels),
        "group": job.group or job.name,
        "source": job.source,
        "licence": job.licence,
        "redistributable": job.redistributable,
    }


def _labels_of(job: Job, image: SourceImage) -> SourceLabels | None:
    if not job.labels:
        return None
    if job.coco_picture is not None:
        height, width = image.pixels.shape[:2]
        return read_coco_labels(job.labels[0], job.coco_picture, (height, width))
    return read_labels(job.labels, image)


def _prepared(
    found: SourceLabels | None, settings: Settings, job: Job
) -> tuple[NDArray[np.unsignedinteger] | None, LabelTable, int]:
    if found is None:
        return None, LabelTable((), ()), 0
    labels, table, dropped = prepare(
        found.labels,
        {**found.names, **settings.names},
        instances=settings.instances,
        remove=settings.remove,
        small=settings.small,
    )
    if not table.values:
        after = f" after {dropped} voxels of small objects were dropped" if dropped else ""
        names = ", ".join(path.name for path in job.labels)
        raise SourceError(f"{names}: expected at least one labelled voxel, found none{after}")
    return labels, table, dropped


def _placed(
    image: SourceImage,
    greys: NDArray[np.uint8],
    labels: NDArray[np.unsignedinteger] | None,
    settings: Settings,
    flat: bool,
) -> tuple[Grid | None, NDArray[np.uint8], NDArray[np.unsignedinteger] | None]:
    """Both arrays in the wanted orientation, and their grid; of a flat one without its depth."""
    if image.grid is None:
        return None, greys, labels
    target = image.grid if flat else oriented(image.grid, settings.orientation)
    greys = np.asarray(move(greys, image.grid, target, what="image"), np.uint8)
    if labels is not None:
        kind = labels.dtype
        labels = np.asarray(move(labels, image.grid, target)).astype(kind, copy=False)
        if settings.margin_slices is not None and not flat:
            seen = np.flatnonzero(labels.any(axis=(1, 2)))
            first = max(int(seen[0]) - settings.margin_slices, 0)
            last = min(int(seen[-1]) + settings.margin_slices, len(labels) - 1)
            target = target.cropped(first, last)
            greys, labels = greys[first : last + 1], labels[first : last + 1]
    if flat:
        greys = greys[0]
        labels = None if labels is None else labels[0]
    return target, greys, labels


def _write(
    out: Path,
    name: str,
    greys: NDArray[np.uint8],
    labels: NDArray[np.unsignedinteger] | None,
    table: LabelTable,
    origin: Origin,
    settings: Settings,
    flat: bool,
) -> None:
    if "/" in name or name.startswith("."):
        raise SourceError(f"{name}: expected a name that can be a file's")
    spacing: dict[str, NDArray[Any]] = {}
    if origin.grid is not None and not flat:
        spacing = {"spacing": origin.grid.spacing_xyz_mm}
    boxes = np.zeros((0, 4 if flat else 6), np.int64)
    if labels is not None:
        generator = np.random.default_rng([settings.seed, *name.encode()])
        boxes = prompt_boxes(labels, settings.boxes, generator)
    keys = origin_keys(origin)
    write_npz(out / "cases" / f"{name}.npz", {"imgs": greys, "boxes": boxes, **spacing, **keys})
    if labels is not None:
        named = {
            "label_names": np.array(table.names, np.str_),
            "label_values": np.array(table.values, np.int64),
        }
        write_npz(out / "truth" / f"{name}.npz", {"gts": labels, **spacing, **named, **keys})


def read_names(path: Path) -> dict[int, str]:
    """Names of label values from a JSON: {"1": "liver"}, {"liver": 1}, or nnU-Net's dataset.json.

    Raises ValueError for anything else.
    """
    loaded = json.loads(path.read_text())
    if isinstance(loaded, dict) and isinstance(loaded.get("labels"), dict):
        loaded = loaded["labels"]
    if not isinstance(loaded, dict):
        raise ValueError("expected a JSON object of names and numbers")
    names = {}
    for key, value in loaded.items():
        number, name = (key, value) if str(key).isdigit() else (value, key)
        names[int(number)] = str(name)
    return names
