"""Takes a mask out of a folder that a stranger's program wrote.

Only a regular file ``<case>.npz`` counts, looked up without following links; whatever else lies in
the folder is ignored (challenge.md 6.C, C10). The file is copied, never moved: the copy belongs to
the harness, and no link or open handle of the submission leads to it.
"""

import math
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from evaluation.dataset import Header, read_header
from evaluation.errors import (
    MissingOutputError,
    OutputError,
    TooLargeError,
    UnknownLabelsError,
    WrongShapeError,
    WrongTypeError,
)

MASK_KEY = "segs"
"""Key of the label map in an output file."""

_COPY_BLOCK = 1 << 20


@dataclass(frozen=True)
class Expected:
    """What a mask must be like."""

    shape: tuple[int, ...] | None = None
    """(H, W) or (D, H, W); None where any will do."""
    labels: int | None = None
    """The highest label: the number of boxes. None where any will do."""


def take_mask(
    outputs: Path, case: str, target: Path, limit_bytes: int, expected: Expected | None = None
) -> int:
    """Copy the mask of ``case`` from ``outputs`` to ``target`` and return its size in bytes.

    ``target`` appears whole or not at all. Raises OutputError, or the one of its children that
    says what is wrong, when there is no such file or it is not to be trusted.
    """
    descriptor = _open_regular(outputs, f"{case}.npz", limit_bytes)
    part = target.with_name(f".{target.name}.part")
    try:
        size = _copy(descriptor, part, f"{case}.npz", limit_bytes)
        check_mask(part, f"{case}.npz", expected or Expected())
        os.replace(part, target)
        sync_folder(target.parent)
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)
    return size


def check_mask(path: Path, name: str, expected: Expected) -> None:
    """Raise OutputError unless ``path`` is an npz file with one plain array ``segs`` as expected.

    The values are read only once the header has declared the expected shape, and block by block,
    so that a zip bomb costs neither memory nor disk.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist()]
            found = [member for member in members if member in (MASK_KEY, f"{MASK_KEY}.npy")]
            if len(found) != 1:
                keys = ", ".join(members[:5]) or "nothing"
                raise OutputError(f"{name}: expected {MASK_KEY} once, found {keys}")
            with archive.open(found[0]) as member:
                header = read_header(member)
            _check_header(header, name, expected)
            if expected.shape is not None:
                with archive.open(found[0]) as member:
                    lowest, highest = _extremes(member, header)
                _check_values(lowest, highest, name, expected)
    except OutputError:
        raise
    # what a stranger's bytes make zipfile, zlib and the npy reader raise is no closed set
    except Exception as error:
        raise OutputError(f"{name}: expected an npz file, found: {error}") from error


def _check_header(header: Header, name: str, expected: Expected) -> None:
    shape, dtype = header
    if dtype.hasobject:
        raise OutputError(f"{name}: {MASK_KEY} must be numbers, found pickled objects")
    if expected.shape is None:
        return
    if dtype.kind not in "biu":
        raise WrongTypeError(f"{name}: {MASK_KEY} must be integer, found {dtype}")
    if shape != expected.shape:
        raise WrongShapeError(f"{name}: {MASK_KEY} must be {expected.shape}, found {shape}")


def _check_values(lowest: int, highest: int, name: str, expected: Expected) -> None:
    if lowest < 0:
        raise WrongTypeError(f"{name}: {MASK_KEY} must be 0 or above, found {lowest}")
    if expected.labels is not None and highest > expected.labels:
        raise UnknownLabelsError(
            f"{name}: {MASK_KEY} must be 0 to {expected.labels}, one label a box, found {highest}"
        )


def _extremes(member: IO[bytes], header: Header) -> tuple[int, int]:
    """Return the lowest and the highest value of an npy stream, read to its very end."""
    shape, dtype = header
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        np.lib.format.read_array_header_1_0(member)
    else:
        np.lib.format.read_array_header_2_0(member)
    left, lowest, highest = math.prod(shape) * dtype.itemsize, 0, 0
    while left:
        block = member.read(min(left, _COPY_BLOCK))
        left -= len(block)
        if not block or len(block) % dtype.itemsize:
            raise OutputError(f"{MASK_KEY} ends {left} bytes before its declared end")
        values = np.frombuffer(block, dtype)
        lowest, highest = min(lowest, int(values.min())), max(highest, int(values.max()))
    if member.read(1):  # the read that makes zipfile compare the checksum, too
        raise OutputError(f"{MASK_KEY} goes on after its declared end")
    return lowest, highest


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_regular(outputs: Path, name: str, limit_bytes: int) -> int:
    """Return a descriptor of the regular file ``name`` in ``outputs``; follows no link."""
    try:
        folder = os.open(outputs, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise OutputError(f"outputs folder: expected a folder, found: {error.strerror}") from error
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise OutputError(f"{name}: expected a regular file, found {_kind(found.st_mode)}")
        # O_NONBLOCK: a pipe that took the file's place since the look above cannot block us
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        others = sorted(os.listdir(folder))[:5]
        seen = ", ".join(others) or "nothing"
        raise MissingOutputError(f"expected {name} in the outputs, found {seen}") from None
    except OSError as error:
        raise OutputError(f"{name}: cannot be opened: {error.strerror}") from error
    finally:
        os.close(folder)
    try:
        _check_file(os.fstat(descriptor), name, limit_bytes)
    except OutputError:
        os.close(descriptor)
        raise
    return descriptor


def _check_file(found: os.stat_result, name: str, limit_bytes: int) -> None:
    """Raise OutputError for an opened output file that is not to be trusted."""
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"{name}: expected a regular file, found {_kind(found.st_mode)}")
    if found.st_nlink != 1:
        links = found.st_nlink
        raise OutputError(f"{name}: expected a file of its own, found {links} hard links to it")
    if found.st_size > limit_bytes:
        raise TooLargeError(f"{name}: expected at most {limit_bytes} bytes, found {found.st_size}")


def _copy(descriptor: int, part: Path, name: str, limit_bytes: int) -> int:
    """Copy an open file to ``part``, flushed; the limit holds even if the file still grows."""
    size = 0
    with part.open("wb") as target:
        while block := os.read(descriptor, _COPY_BLOCK):
            size += len(block)
            if size > limit_bytes:
                raise TooLargeError(f"{name}: expected at most {limit_bytes} bytes, found more")
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    return size


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a special file")
