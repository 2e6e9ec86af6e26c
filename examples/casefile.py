"""Case and truth files that are the same to the last byte whenever they hold the same arrays."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can hold; NumPy writes the clock's."""


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Compressed npz with members in the given order, written to a temporary name and renamed."""
    temporary = path.with_name(path.name + ".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            member = zipfile.ZipInfo(f"{key}.npy", _FIXED_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, buffer.getvalue())
    os.replace(temporary, path)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tight_boxes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Row i holds the box of label i + 1: (N, 4) or (N, 6), x before y before z, both ends inside.

    [x_min, y_min, x_max, y_max] or [x_min, y_min, z_min, x_max, y_max, z_max]. Labels are 1..N.
    """
    rows = []
    for label in range(1, int(labels.max()) + 1):
        where = np.nonzero(labels == label)
        if where[0].size == 0:
            raise ValueError(f"labels must run 1..{int(labels.max())}, found none with {label}")
        axes = where[::-1]
        rows.append([int(axis.min()) for axis in axes] + [int(axis.max()) for axis in axes])
    return np.array(rows, dtype=np.int64)
