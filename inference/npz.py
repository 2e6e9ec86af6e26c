"""npz files, the challenge's archives of arrays: read one array at a time within declared limits,
written with one.

isal (Intel's ISA-L) inflates and deflates several times faster than zlib; where it is not installed
zlib does it.  It costs 3 ms to import, so small arrays are left to zlib.
"""

import contextlib
import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import CaseError

MAX_IMAGE_BYTES = 4 << 30
"""Largest picture that a case may declare: one of more than 4 GiB cannot be segmented in the
challenge's 8 GB anyway."""

MAX_BOXES = 100_000
"""Most boxes of one case."""

_LIMIT_BYTES = {
    "imgs": MAX_IMAGE_BYTES,
    "scribbles": MAX_IMAGE_BYTES,
    "boxes": MAX_BOXES * 6 * 16,
    "spacing": 1 << 10,
}
"""What each array may declare; 16 bytes is the widest number."""

ACCELERATED_BYTES = 3 << 20
"""Arrays from this size on are worth the import of isal."""

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # differs in the names of record fields only
}
"""By version of the npy format."""

_LOCAL_HEADER_BYTES = 30
"""Of a member of a zip file, before its name and extra field, whose lengths are its last words."""


def write_array(path: Path, key: str, array: NDArray[np.generic]) -> None:
    """An npz with one array.

    Raises:
        OSError: it cannot be written; something may be left of it.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
            deflate = _deflate(array.nbytes)
            if deflate is not zlib and hasattr(member, "_compressor"):
                member._compressor = deflate.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def read_arrays(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, NDArray[np.generic]]:
    """The named arrays of an npz, each checked before a byte of it is allocated; an optional one
    that cannot be used is left out."""
    if path.exists() and not path.is_file():
        raise CaseError("expected a file, found a folder or a device")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            keys = {name.removesuffix(".npy") for name in archive.namelist()}
            if "boxes" not in keys and "scribbles" in keys:
                required = tuple("scribbles" if key == "boxes" else key for key in required)
            missing = [key for key in required if key not in keys]
            if missing:
                found = ", ".join(sorted(keys)[:8]) or "none"
                raise CaseError(f"{missing[0]}: expected this key, found only {found}")
            for key in required:
                arrays[key] = _read_array(archive, key)
            for key in keys.intersection(optional):
                with contextlib.suppress(CaseError):
                    arrays[key] = _read_array(archive, key)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise CaseError(f"expected a readable npz (zip) file, found: {error}") from error
    except OSError as error:
        raise CaseError(f"expected a readable file, found: {error.strerror or error}") from error
    return arrays


def _read_array(archive: zipfile.ZipFile, key: str) -> NDArray[np.generic]:
    """One npy member; refuses pickles and over-large declarations by its header alone."""
    with archive.open(f"{key}.npy") as member:
        try:
            version = np.lib.format.read_magic(member)
            shape, fortran, dtype = _HEADER_READERS[version](member)
        except Exception as error:  # numpy evaluates the header's text: whatever that raises
            raise CaseError(f"{key}: expected an npy array, found: {error}") from error
        check_kind(key, dtype)
        size = dtype.itemsize
        for extent in shape:
            size *= int(extent)
        if size > _LIMIT_BYTES[key] or min(shape, default=0) < 0:
            found = f"{size} declared (shape {shape})"
            raise CaseError(f"{key}: expected at most {_LIMIT_BYTES[key]} bytes, found {found}")
        begin, data = member.tell(), b""
        deflate = _deflate(size)
        info = archive.getinfo(f"{key}.npy")
        if deflate is not zlib and info.compress_type == zipfile.ZIP_DEFLATED:
            data = _inflated(archive, info, begin + size, deflate)
        else:
            begin, data = 0, member.read(size)
    if len(data) < begin + size:
        raise CaseError(f"{key}: expected {size} bytes of data, found {max(len(data) - begin, 0)}")
    values = np.frombuffer(data, dtype, size // dtype.itemsize, begin)
    return values.reshape(shape, order="F" if fortran else "C")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int, deflate: Any) -> bytes:
    """The first ``count`` bytes of a deflated member, or fewer where it has not as many.

    Raises:
        zlib.error, BadZipFile: what is there is not what was once packed.
    """
    with open(str(archive.filename), "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with content, memoryview(content) as view:
        start = info.header_offset + _LOCAL_HEADER_BYTES
        start += sum(struct.unpack_from("<2H", view, start - 4))
        with view[start : start + info.compress_size] as packed:
            try:
                data: bytes = deflate.decompressobj(-zlib.MAX_WBITS).decompress(packed, count)
            except deflate.error as error:
                raise zlib.error(f"{info.filename}: {error}") from error
    if len(data) == info.file_size and deflate.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
    return data


def _deflate(size: int) -> Any:
    """The module that inflates and deflates arrays of ``size`` bytes: isal's or zlib."""
    if size < ACCELERATED_BYTES:
        return zlib
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


def check_kind(key: str, dtype: np.dtype[np.generic]) -> None:
    """Raise CaseError for anything but real numbers."""
    if dtype.hasobject:
        raise CaseError(f"{key}: expected numbers, found pickled Python objects (refused)")
    if dtype.kind not in "buif":
        raise CaseError(f"{key}: expected real numbers, found {dtype}")
