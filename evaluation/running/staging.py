"""Folders for one run of one case, and what a submission may see of the case.

Fresh folders, by default, that nothing outlives. The official script keeps inputs and outputs from
case to case, so that submissions cache compiled models there and only the first case pays
(challenge.md 6.C, C1); kept folders do the same and tell what was found there.
"""

import logging
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluation.dataset import Case
from evaluation.running.carried_state import LeftFile, find_left_files

logger = logging.getLogger(__name__)

TRUTH_KEYS = ("gts",)
"""Arrays of a case file that no submission may see."""


@dataclass(frozen=True)
class Folders:
    """The folders of one run of one case; only ``inputs`` holds something, the one file."""

    inputs: Path
    outputs: Path
    work: Path
    """For the runner's own needs, such as a working directory."""
    left: tuple[LeftFile, ...] | None = None
    """What earlier cases left, in folders that are kept; None in fresh ones."""


@contextmanager
def staged_case(case: Case, work: Path) -> Iterator[Path]:
    """Yield a file with all of the case but its truth; made once for all teams, then removed."""
    if not case.has_truth:
        yield case.path
        return
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=work))
    try:
        yield write_without_truth(case.path, folder / case.path.name)
    finally:
        remove_tree(folder)


def write_without_truth(source: Path, target: Path) -> Path:
    """Copy an npz file without its truth; arrays keep their bytes and their kind of compression."""
    hidden = {*TRUTH_KEYS, *(f"{key}.npy" for key in TRUTH_KEYS)}
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as shown:
        for info in given.infolist():
            if info.filename in hidden:
                continue
            copy = zipfile.ZipInfo(info.filename, info.date_time)
            copy.compress_type, copy.file_size = info.compress_type, info.file_size
            with given.open(info) as reader, shown.open(copy, "w") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
    return target


@contextmanager
def fresh_folders(work: Path, file: Path, owner: tuple[int, int] | None) -> Iterator[Folders]:
    """Yield new folders with a copy of ``file`` as the only input; they are removed in any event.

    The outputs folder is given to ``owner`` (uid, gid) where we may do that, and is otherwise open
    to all.
    """
    with empty_folders(work, owner) as folders:
        shutil.copyfile(file, folders.inputs / file.name)
        (folders.inputs / file.name).chmod(0o644)
        yield folders


@contextmanager
def empty_folders(work: Path, owner: tuple[int, int] | None) -> Iterator[Folders]:
    """Yield new folders without any input; see fresh_folders."""
    work.mkdir(parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="run-", dir=work))
    try:
        yield _make_folders(base, owner)
    finally:
        remove_tree(base)


@contextmanager
def kept_folders(base: Path, file: Path) -> Iterator[Folders]:
    """Yield the folders of all cases below ``base``; only the case's own two files go away again.

    Both are open to all, as the organisers' ``chmod -R 777`` makes them.
    """
    folders = Folders(base / "inputs", base / "outputs", base / "work")
    for folder in (base, folders.inputs, folders.outputs):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
    names = [folders.inputs / file.name, folders.outputs / file.name]
    _remove_files(names)  # of a harness that was killed in this case
    left = (*find_left_files(folders.inputs.parent),)
    try:
        shutil.copyfile(file, folders.inputs / file.name)
        (folders.inputs / file.name).chmod(0o644)
        yield Folders(folders.inputs, folders.outputs, folders.work, left)
    finally:
        _remove_files(names)


def _remove_files(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)


def _make_folders(base: Path, owner: tuple[int, int] | None) -> Folders:
    folders = Folders(base / "inputs", base / "outputs", base / "work")
    for folder in (folders.inputs, folders.outputs, folders.work):
        folder.mkdir()
        folder.chmod(0o755)
    _hand_over(folders.outputs, owner)
    return folders


def _hand_over(outputs: Path, owner: tuple[int, int] | None) -> None:
    if owner == (os.geteuid(), os.getegid()):
        return
    if owner is not None and os.geteuid() == 0:
        os.chown(outputs, *owner)
    else:
        outputs.chmod(0o777)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it, also where a submission took our permissions away."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        # closed to us, or deeper than Python can walk; neither command follows links
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(folder)], check=False, capture_output=True)
    if folder.exists():
        logger.warning("%s: could not be removed", folder)
