"""Which image goes with which labels: by file name, or as a table says."""

import csv
from collections.abc import Sequence
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
    labels is refused: a folder that is half paired is most often a wrong suffix.
    """
    found = {
        stem_of(p).removesuffix(image_suffix): p
        for p in sorted(images.iterdir())
        if is_source(p) and stem_of(p).endswith(image_suffix)
    }
    if not found:
        raise UsageError(f"{images}: expected images (*{image_suffix}.*), found none")
    if labels is None:
        return [Job(name, path, (), modality) for name, path in found.items()]
    answers = {
        stem_of(p).removesuffix(label_suffix): p
        for p in sorted(labels.iterdir())
        if stem_of(p).endswith(label_suffix) and not p.name.startswith(".")
    }
    missing = [name for name in found if name not in answers]
    if missing:
        shown = ", ".join(missing[:3])
        raise UsageError(
            f"{labels}: expected labels for each of {len(found)} images, found none for "
            f"{len(missing)} ({shown}); see --image-suffix, --label-suffix, --table"
        )
    return [Job(name, path, (answers[name],), modality) for name, path in found.items()]


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
        with table.open(newline="") as stream:
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
