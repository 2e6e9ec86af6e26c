"""The challenge's npz with what leads back to the scanner's grid beside its own keys.

case:   imgs, boxes, spacing (3D, x y z: the challenge's own key, in its own order)
truth:  gts, spacing, label_names (N,), label_values (N,): the source's number of label i + 1
both, where the image has a place:
        spacing_xyz_mm, spacing_zyx_mm (the order of the array's axes), origin_lps_mm,
        direction_lps (3, 3; columns: x, y, z of the index), orientation (three letters),
        source_affine_lps (4, 4), source_shape_zyx
always: source_format, source_sha256, source_name, source_series_uid

Numbers and plain text only: nothing needs unpickling.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_splits.errors import SourceError, one_line
from data_splits.geometry import Grid
from data_splits.whole_file import write_whole

COMPRESSION_LEVEL = 6
"""Of zlib: what ``np.savez_compressed`` uses."""

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip archive can hold: the same case gives the same bytes."""

_FAULTS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError)


@dataclass(frozen=True)
class Origin:
    """Where a case comes from."""

    format: str
    name: str
    sha256: str
    series_uid: str = ""
    source_grid: Grid | None = None
    grid: Grid | None = None
    """Of the case's arrays; the same voxels in another order, perhaps fewer slices."""


def origin_keys(origin: Origin) -> dict[str, NDArray[Any]]:
    """Everything of an origin as arrays."""
    keys: dict[str, NDArray[Any]] = {
        "source_format": np.array(origin.format),
        "source_name": np.array(origin.name),
        "source_sha256": np.array(origin.sha256),
        "source_series_uid": np.array(origin.series_uid),
    }
    if origin.grid is not None and origin.source_grid is not None:
        grid = origin.grid
        keys |= {
            "spacing_xyz_mm": grid.spacing_xyz_mm,
            "spacing_zyx_mm": grid.spacing_xyz_mm[::-1].copy(),
            "origin_lps_mm": grid.origin_lps_mm,
            "direction_lps": grid.direction_lps,
            "affine_lps": grid.affine_lps,
            "orientation": np.array(grid.orientation),
            "source_affine_lps": origin.source_grid.affine_lps,
            "source_shape_zyx": np.array(origin.source_grid.shape_zyx, np.int64),
        }
    return keys


def origin_of(name: str, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> Origin:
    """The origin that a case's arrays state, for a mask of ``shape`` (H, W) or (D, H, W).

    Raises SourceError where they state none.
    """
    if "source_format" not in arrays:
        raise SourceError(
            f"{name}: expected the keys source_... that convert writes, found none: "
            "the case does not say where its voxels lie"
        )
    grid = source = None
    if "source_affine_lps" in arrays:
        depth, height, width = (1, *shape) if len(shape) == 2 else shape
        grid = Grid((depth, height, width), arrays["affine_lps"])
        extents = [int(n) for n in arrays["source_shape_zyx"]]
        source = Grid((extents[0], extents[1], extents[2]), arrays["source_affine_lps"])
    text = {key: str(arrays[f"source_{key}"]) for key in ("format", "name", "sha256", "series_uid")}
    return Origin(**text, source_grid=source, grid=grid)


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays deflated; the file appears whole under its name or not at all."""

    def write(partial: Path) -> None:
        with zipfile.ZipFile(
            partial, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL
        ) as archive:
            for key, array in arrays.items():
                member = zipfile.ZipInfo(f"{key}.npy", _FIXED_TIME)
                member.compress_type = zipfile.ZIP_DEFLATED
                member.external_attr = 0o644 << 16
                with archive.open(member, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(
                        stream, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False
                    )

    write_whole(path, write)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file; refuses pickles and what is no npz."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise SourceError(f"{path.name}: expected an npz file, found a single array")
            names = archive.files
            if len(set(names)) != len(names):
                raise SourceError(f"{path.name}: expected each key once, found one twice")
            return {key: archive[key] for key in names}
    except _FAULTS as error:
        raise SourceError(
            f"{path.name}: expected a readable npz file, found: {one_line(error)}"
        ) from error
