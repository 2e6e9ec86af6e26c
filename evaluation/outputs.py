"""Takes a mask out of a folder that a stranger's program wrote.

Only a regular file ``<case>.npz`` counts, looked up without following links; whatever else lies in
the folder is ignored (challenge.md 6.C, C10). The file is copied, never moved: the copy belongs to
the harness, and no link or open handle of the submission leads to it.
"""

import os
import stat
import zipfile
from pathlib import Path

from evaluation.dataset import read_header
from evaluation.errors import MissingOutputError, OutputError

MASK_KEY = "segs"
"""Key of the label map in an output file."""

_COPY_BLOCK = 1 << 20


def take_mask(outputs: Path, case: str, target: Path, limit_bytes: int) -> int:
    """Copy the mask of ``case`` from ``outputs`` to ``target`` and return its size in bytes.

    ``target`` appears whole or not at all. Raises OutputError when there is no such file or it is
    not to be trusted. The values in the mask are the scorer's business, not looked at here.
    """
    descriptor = _open_regular(outputs, f"{case}.npz", limit_bytes)
    part = target.with_name(f".{target.name}.part")
    try:
        size = _copy(descriptor, part, f"{case}.npz", limit_bytes)
        check_mask(part, f"{case}.npz")
        os.replace(part, target)
        sync_folder(target.parent)
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)
    return size


def check_mask(path: Path, name: str) -> None:
    """Raise OutputError unless ``path`` is an npz file with one plain array ``segs``.

    Only the array's header is read, so a zip bomb costs nothing here.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist()]
            found = [member for member in members if member in (MASK_KEY, f"{MASK_KEY}.npy")]
            if len(found) != 1:
                keys = ", ".join(members[:5]) or "nothing"
                raise OutputError(f"{name}: expected {MASK_KEY} once, found {keys}")
            with archive.open(found[0]) as member:
                _, dtype = read_header(member)
    except OutputError:
        raise
    # what a stranger's bytes make zipfile, zlib and the npy reader raise is no closed set
    except Exception as error:
        raise OutputError(f"{name}: expected an npz file, found: {error}") from error
    if dtype.hasobject:
        raise OutputError(f"{name}: {MASK_KEY} must be numbers, found pickled objects")


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
    problem = _problem(os.fstat(descriptor), limit_bytes)
    if problem:
        os.close(descriptor)
        raise OutputError(f"{name}: {problem}")
    return descriptor


def _problem(found: os.stat_result, limit_bytes: int) -> str:
    """Return what is wrong with an opened output file, or nothing."""
    if not stat.S_ISREG(found.st_mode):
        return f"expected a regular file, found {_kind(found.st_mode)}"
    if found.st_nlink != 1:
        return f"expected a file of its own, found {found.st_nlink} hard links to it"
    if found.st_size > limit_bytes:
        return f"expected at most {limit_bytes} bytes, found {found.st_size}"
    return ""


def _copy(descriptor: int, part: Path, name: str, limit_bytes: int) -> int:
    """Copy an open file to ``part``, flushed; the limit holds even if the file still grows."""
    size = 0
    with part.open("wb") as target:
        while block := os.read(descriptor, _COPY_BLOCK):
            size += len(block)
            if size > limit_bytes:
                raise OutputError(f"{name}: expected at most {limit_bytes} bytes, found more")
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    return size


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a special file")
