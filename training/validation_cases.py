"""What a model is asked about when it is validated: the cases as they are, slices of volumes as
pictures, or pictures spoilt as their modality spoils them."""

import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.corruption import corrupt
from training.errors import ConfigError
from training.recipe import ValidateConfig
from training.store import StoredCase

LEAST_PIXELS = 30
"""Smallest object of a slice that is asked about as a picture."""


def asked_cases(cases: Iterable[StoredCase], config: ValidateConfig) -> list[StoredCase]:
    """What of a split is asked about.

    Raises:
        ConfigError: ``config.slices`` is negative, or there is nothing to be asked about.
    """
    if config.slices < 0:
        raise ConfigError(f"slices: expected 0 or more, found {config.slices}")
    asked = [case for case in cases if case.info.dims in config.dims]
    if config.slices:
        asked = [part for case in asked for part in slice_cases(case, config.slices)]
    if config.corrupted:
        asked = [corrupted_case(case, config.seed) for case in asked if not case.is_volume]
    if not asked:
        raise ConfigError(f"dims: expected cases of {config.dims} in {config.on}, found none")
    return asked


def slice_cases(case: StoredCase, count: int) -> list[StoredCase]:
    """At most ``count`` slices of a volume as pictures of its modality, spread evenly over those
    that show something; labels are numbered anew, objects below :data:`LEAST_PIXELS` left out.

    For modalities with few pictures.  Of a picture: none.
    """
    if not case.is_volume:
        return []
    shown = []
    for z, labels in enumerate(np.asarray(case.gts)):
        numbers, counts = np.unique(labels, return_counts=True)
        kept = numbers[(numbers > 0) & (counts >= LEAST_PIXELS)]
        if len(kept):
            shown.append((z, kept))
    spread = np.linspace(0, len(shown) - 1, min(count, len(shown)))
    return [slice_case(case, *shown[int(i)]) for i in spread]


def slice_case(case: StoredCase, z: int, kept: NDArray[np.integer]) -> StoredCase:
    """Slice ``z`` of a volume as a picture, the labels ``kept`` (sorted) numbered 1..K."""
    labels = np.asarray(case.gts[z])
    places = np.searchsorted(kept, labels).clip(max=len(kept) - 1)
    truth = np.where(kept[places] == labels, places + 1, 0).astype(np.uint16)
    name = f"{Path(case.info.file).stem}_z{z:03d}.npz"
    info = replace(case.info, file=name, dims="2D")
    return StoredCase(info, np.asarray(case.imgs[z]), truth, (1.0, 1.0))


def corrupted_case(case: StoredCase, seed: int) -> StoredCase:
    """A picture spoilt once as its modality spoils them: how says ``seed`` and the file's name, so
    that it does not depend on the other cases."""
    picture = np.asarray(case.imgs)
    coloured = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    rng = np.random.default_rng([seed, zlib.crc32(case.info.file.encode())])
    spoilt = corrupt(coloured, case.info.modality, rng)
    return StoredCase(case.info, spoilt, case.gts, case.spacing_mm)
