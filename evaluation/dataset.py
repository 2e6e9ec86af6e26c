"""Cases of a folder: names, modalities, dimensions, digests.

A case is one ``<case>.npz`` with ``imgs``, ``boxes`` and, in 3D, ``spacing``; ``gts`` may lie in
the same file or in a file of the same name elsewhere. Names only supply the modality. Whether a
case is 2D or 3D is decided by its arrays: the official scripts go by the prefix and treat
``CT_AMOS_1.npz`` as 2D (compute_metrics.py:56) or as 3D (team seno).
"""

import hashlib
import io
import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from evaluation.errors import DatasetError, instead_of_folder

UNKNOWN_MODALITY = "Unknown"
"""Modality of a case whose name holds none of the spellings below."""

MODALITY_SPELLINGS: tuple[tuple[str, str], ...] = (
    ("OCT", r"oct"),
    ("CT", r"ct(?![a-z])"),
    ("MR", r"mri?(?![a-z])"),
    ("PET", r"pet(?![a-z])|petct"),
    ("Ultrasound", r"us(?![a-z])|ultra"),
    ("X-Ray", r"x-?ray|cxr|xr(?![a-z])"),
    ("Dermoscopy", r"derm"),
    ("Endoscopy", r"endo"),
    ("Fundus", r"fundus"),
    ("Microscopy", r"micro"),
    ("Mammography", r"mamm"),
)
"""Modality and how a part of a name that means it begins, in the order in which they are tried.

All spellings seen in the challenge's data and in its participants' code; OCT comes before CT, as
it holds it.
"""

_PREFIX = re.compile(r"^[23]d(box|scribble)?_", re.IGNORECASE)
_DIGEST_BLOCK = 1 << 20
_HEADER_BYTES = 12 + 10_000  # magic, version, length; numpy.lib.format's max_header_size
_REPORTED_FAULTS = 5

Header = tuple[tuple[int, ...], np.dtype[np.generic]]
"""Shape and type of an array as its npy header declares them."""


@dataclass(frozen=True)
class Case:
    """One input file: what to run, and what its result is filed under."""

    name: str
    """File name without ``.npz``; masks, logs and records carry it."""
    path: Path
    modality: str
    dimensions: int
    """2 or 3."""
    has_truth: bool
    """Whether the file holds ``gts``, which no submission may see."""
    shape: tuple[int, ...]
    """Of the image without colours, (H, W) or (D, H, W): the shape that a mask must have."""
    boxes: int | None
    """How many boxes it has; None without ``boxes``."""


def read_cases(folder: Path) -> list[Case]:
    """Return the cases of ``folder`` by name; every ``*.npz`` directly in it is one.

    Raises DatasetError when there is none or when any cannot be read: a run over half a dataset
    is worse than none.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: expected a folder of cases, found {instead_of_folder(folder)}"
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".npz")
    if not paths:
        raise DatasetError(f"{folder}: expected cases (*.npz), found none")
    cases, faults = [], []
    for path in paths:
        try:
            path.name.encode()
            cases.append(read_case(path))
        except UnicodeEncodeError:
            faults.append(f"{path.name!r}: expected a name in UTF-8")
        except DatasetError as error:
            faults.append(str(error))
    if faults:
        shown = "; ".join(faults[:_REPORTED_FAULTS])
        raise DatasetError(f"{folder}: {len(faults)} of {len(paths)} cases cannot be used: {shown}")
    return cases


def read_case(path: Path) -> Case:
    """Return the case in ``path`` after a look at its headers; no pixel is read."""
    headers = array_headers(path)
    if "imgs" not in headers:
        raise DatasetError(f"{path.name}: expected key imgs, found {', '.join(headers) or 'none'}")
    image = headers["imgs"][0]
    boxes = headers["boxes"][0] if "boxes" in headers else None
    dimensions = dimensions_of(image, boxes)
    return Case(
        name=path.stem,
        path=path,
        modality=modality_of(path.stem),
        dimensions=dimensions,
        has_truth="gts" in headers,
        shape=image[:dimensions],
        boxes=None if boxes is None else math.prod(boxes[:-1]),
    )


def modality_of(name: str) -> str:
    """Return the modality that a case's name states, or ``Unknown``.

    The first part after a ``2DBox_`` or ``3DBox_`` prefix decides; the other parts are asked only
    if it says nothing.
    """
    parts = _PREFIX.sub("", name).split("_")
    for part in parts:
        for modality, spelling in MODALITY_SPELLINGS:
            if re.match(spelling, part, re.IGNORECASE):
                return modality
    return UNKNOWN_MODALITY


def dimensions_of(image_shape: tuple[int, ...], boxes_shape: tuple[int, ...] | None) -> int:
    """Return 2 or 3 from the shapes of ``imgs`` and ``boxes``.

    Boxes of four numbers are 2D, of six 3D. Without them an image of rank 3 is 2D if its last
    axis can be colours.
    """
    if boxes_shape and boxes_shape[-1] in (4, 6):
        return 2 if boxes_shape[-1] == 4 else 3
    if len(image_shape) == 3 and image_shape[-1] not in (1, 3, 4):
        return 3
    return 2


def array_headers(path: Path) -> dict[str, Header]:
    """Return shape and type of each array in an npz file, reading nothing but headers.

    Raises DatasetError when the file is no zip, is truncated or crafted, or holds the same key
    twice.
    """
    headers: dict[str, Header] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key in headers:
                    raise DatasetError(f"{path.name}: expected key {key} once, found it twice")
                with archive.open(info) as member:
                    headers[key] = read_header(member)
    except DatasetError:
        raise
    # what a stranger's bytes make zipfile, zlib and the npy reader raise is no closed set
    except Exception as error:
        raise DatasetError(f"{path.name}: expected an npz file, found: {error}") from error
    return headers


def read_header(member: IO[bytes]) -> Header:
    """Return shape and type from the start of an npy stream; raises ValueError when it is none.

    No more than the longest header that NumPy accepts is read, whatever the stream announces.
    """
    stream = io.BytesIO(member.read(_HEADER_BYTES))
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, dtype


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_DIGEST_BLOCK):
            digest.update(block)
    return digest.hexdigest()
