"""Which image goes with which labels: by file name, or as a table says."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_splits.errors import UsageError
from data_splits.readers import is_source, stem_of
from data_splits.readers.coco import read_pictures
from inference.modality import UNKNOWN, modality_of

MODALITY_WORDS = {
    "Ultrasound": "US",
    "X-Ray": "XRay",
}
"""How a modality is written in a case's name where that is not its full word; both programs read
it back (``inference/modality.py``)."""


@dataclass(frozen=True)
class Job:
    """One case to be made."""

    name: str
    """Of the case, without prefix and suffix."""
    image: Path
    labels: tuple[Path, ...] = ()
    modality: str = ""
    """Word of a case's name; empty: as the file says."""
    coco_picture: int | None = None
    group: str = ""
    source: str = ""
    licence: str = ""
    redistributable: str = ""


def modality_word(text: str) -> str:
    """The word for a case's name of any spelling that the programs read; ValueError else."""
    modality = modality_of(text)
    if modality == UNKNOWN:
        raise ValueError(f"expected a modality such as CT, MR, PET, US, XRay, found {text}")
    return MODALITY_WORDS.get(modality, modality)


def single_job(image: Path, labels: Sequence[Path], modality: str) -> Job:
    """One image and whatever labels it has."""
    return Job(stem_of(image), image, tuple(labels), modality)


def jobs_by_name(
    images: Path, labels: Path | None, modality: str, image_suffix: str, label_suffix: str
) -> list[Job]:
    """Every source in ``images`` with the entry of ``labels`` that has its name.

    The suffixes are what a name without extension ends with beside the case's own name (nnU-Net
    calls images ``case_0000.nii.gz``); files without theirs are passed over. An image without
    labels is refused: a folder that is half paired is most often a wrong suffix. So are two files
    of one name.
    """
    found = _by_name(filter(is_source, sorted(images.iterdir())), image_suffix)
    if not found:
        raise UsageError(f"{images}: expected images (*{image_suffix}.*), found none")
    if labels is None:
        return [Job(name, path, (), modality) for name, path in found.items()]
    entries = sorted(p for p in labels.iterdir() if not p.name.startswith("."))
    # a folder may be labels, a file of another kind (a note) only where nothing else is there
    answers = _by_name((p for p in entries if not _may_be_labels(p)), label_suffix, notes=True)
    answers |= _by_name(filter(_may_be_labels, entries), label_suffix)
    missing = [name for name in found if name not in answers]
    if missing:
        shown = ", ".join(missing[:3])
        raise UsageError(
            f"{labels}: expected labels for each of {len(found)} images, found none for "
            f"{len(missing)} ({shown}); see --image-suffix, --label-suffix, --table"
        )
    return [Job(name, path, (answers[name],), modality) for name, path in found.items()]


def _may_be_labels(path: Path) -> bool:
    return path.is_dir() or is_source(path)


def _by_name(paths: Iterable[Path], suffix: str, notes: bool = False) -> dict[str, Path]:
    """Paths by their case's name, which must be one's alone unless they are ``notes``."""
    found: dict[str, Path] = {}
    for path in paths:
        if not stem_of(path).endswith(suffix):
            continue
        name = stem_of(path).removesuffix(suffix)
        if name in found and not notes:
            raise UsageError(
                f"{path.parent}: expected one file of each name, found {found[name].name} and "
                f"{path.name}; see --table"
            )
        found[name] = path
    return found


def jobs_of_coco(images: Path, annotations: Path, modality: str) -> list[Job]:
    """Every picture that a COCO file names."""
    return [
        Job(Path(row.file_name).stem, images / row.file_name, (annotations,), modality, row.number)
        for row in read_pictures(annotations)
    ]


def jobs_of_table(table: Path) -> list[Job]:
    """One case a row: image, labels (several: separated by ``;``), and optionally name, modality,
    group, source, licence, redistributable. Paths are relative to the table."""
    jobs = []
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: expected a csv table, found: {error}") from error
    if not rows or "image" not in rows[0]:
        raise UsageError(f"{table}: expected a column image and a row, found {list(rows[:1])}")
    for number, row in enumerate(rows, start=2):
        row = {key: (value or "").strip() for key, value in row.items() if key}
        image = table.parent / row["image"]
        labels = tuple(table.parent / part for part in row.get("labels", "").split(";") if part)
        try:
            modality = modality_word(row["modality"]) if row.get("modality") else ""
        except ValueError as error:
            raise UsageError(f"{table}:{number}: {error}") from error
        known = [row.get(k, "") for k in ("group", "source", "licence", "redistributable")]
        jobs.append(Job(row.get("name") or stem_of(image), image, labels, modality, None, *known))
    return jobs
