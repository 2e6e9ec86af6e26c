"""Cases of a split as plain arrays on disk, ready to be mapped into memory."""

import contextlib
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from data_splits.split import SplitCase
from inference.whole_file import replace_whole
from training.errors import TrainingError

_INDEX = "index.csv"


@dataclass(frozen=True)
class StoredCase:
    """One labelled case: ``imgs`` (H, W, 3) or (D, H, W) uint8, ``gts`` (H, W) or (D, H, W) uint16,
    labels 1..K."""

    info: SplitCase
    imgs: NDArray[np.uint8]
    gts: NDArray[np.uint16]
    spacing_mm: tuple[float, ...]
    """3D: z, y, x; 2D: ones."""

    @property
    def is_volume(self) -> bool:
        """Whether the case is 3D."""
        return self.gts.ndim == 3


def write_store(
    cases: Iterable[tuple[SplitCase, Path]], store_dir: Path, truth: Path | None = None
) -> int:
    """Write every (case, npz path) to ``store_dir``, in place of a store that is there; returns how
    many.

    The index goes first and comes last, and arrays are replaced, not overwritten: what was not
    written to its end is no store, and a training goes on with those that it has mapped.

    ``truth``: folder of the files' namesakes that have ``gts``, where they do not.

    Raises:
        TrainingError: there is no case, or one lacks its file or an array, or has labels other than
            0 to K.
    """
    listed = list(cases)
    if not listed:
        raise TrainingError("split: expected cases of the sides asked for, found none")
    for _, path in listed:  # before anything is replaced
        if not path.is_file():
            raise TrainingError(f"{path}: expected the npz of a case, found no such file")
    store_dir.mkdir(parents=True, exist_ok=True)
    (store_dir / _INDEX).unlink(missing_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*vars(listed[0][0]), "number", "spacing_mm"])
    writer.writeheader()
    for number, (info, path) in enumerate(listed):
        spacing = _write_case(info, path, truth, store_dir / f"{number:05d}")
        writer.writerow({**vars(info), "number": number, "spacing_mm": spacing})
    replace_whole(store_dir / _INDEX, lambda to: to.write_text(text.getvalue(), newline=""), ".csv")
    return len(listed)


def _write_case(info: SplitCase, path: Path, truth: Path | None, place: Path) -> str:
    """Write one case's arrays; returns its spacing."""
    with contextlib.ExitStack() as opened:
        case = labelled = opened.enter_context(_opened(path))
        if truth is not None and "gts" not in case.files:
            labelled = opened.enter_context(_opened(truth / info.file))
        imgs, gts = _array(info, case, "imgs"), _array(info, labelled, "gts")
        spacing = tuple(case["spacing"][::-1]) if "spacing" in case.files else (1.0, 1.0)
    labels = np.unique(gts)
    labels = labels[labels != 0]
    is_whole = gts.dtype.kind in "biu" or (gts.dtype.kind == "f" and (gts == np.rint(gts)).all())
    if not is_whole or not np.array_equal(labels, np.arange(1, len(labels) + 1)):
        found = f"{', '.join(map(str, labels[:8]))} ({gts.dtype})"
        raise TrainingError(
            f"{info.file}: gts: expected labels from 1 on without gaps, found {found}"
        )
    for kind, array in (("imgs", imgs), ("gts", gts.astype(np.uint16))):
        path = place.with_name(f"{place.name}.{kind}.npy")
        replace_whole(path, partial(np.save, arr=array), ".npy")
    return " ".join(map(str, spacing))


def _opened(path: Path) -> NpzFile:
    try:
        found: NpzFile = np.load(path)
    except (OSError, ValueError, BadZipFile) as error:
        raise TrainingError(f"{path}: expected the npz of a case, found: {error}") from None
    return found


def _array(info: SplitCase, source: NpzFile, key: str) -> NDArray[Any]:
    if key not in source.files:
        found = ", ".join(source.files) or "none"
        raise TrainingError(f"{info.file}: expected the array {key}, found {found}")
    try:
        array: NDArray[Any] = source[key]
    except (OSError, ValueError, BadZipFile) as error:
        raise TrainingError(f"{info.file}: {key}: expected an array, found: {error}") from None
    return array


def read_store(store_dir: Path, split: str) -> list[StoredCase]:
    """The cases of one split, their arrays mapped, not read.

    Raises:
        TrainingError: there is no store.
    """
    cases = []
    try:
        with (store_dir / _INDEX).open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise TrainingError(f"{store_dir}: expected a store, found: {error.strerror}") from None
    for row in rows:
        number, spacing = int(row.pop("number")), row.pop("spacing_mm")
        if row["split"] == split:
            imgs = np.load(store_dir / f"{number:05d}.imgs.npy", mmap_mode="r")
            gts = np.load(store_dir / f"{number:05d}.gts.npy", mmap_mode="r")
            spacing_mm = tuple(float(s) for s in spacing.split())
            cases.append(StoredCase(SplitCase(**row), imgs, gts, spacing_mm))
    return cases
