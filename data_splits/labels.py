"""Labels as the challenge wants them: 1..N without gaps, countable ones split, small ones dropped.

Components touch at a face, edge or corner (26 neighbours in 3D, 8 in 2D), and of two labels are two
(``cc3d``, as ``pre_CT_MR.py``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

from data_splits.errors import SourceError
from data_splits.intensity import look_up, value_counts
from data_splits.sources import label_type

Labels = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class SmallObjects:
    """Which components are dropped."""

    voxels: int = 0
    """Fewer than this in the whole volume (3D only)."""
    slice_pixels: int = 0
    """Fewer than this in one slice, after that; in a picture, in the picture."""


SMALL_OBJECTS: Mapping[str, SmallObjects] = {
    "keep": SmallObjects(),
    "challenge": SmallObjects(1000, 100),
    "2025": SmallObjects(100, 10),
}
"""``challenge``: the thresholds of 2024; ``2025``: pre_CT_MR.py since commit 8223bb7."""


@dataclass(frozen=True)
class LabelTable:
    """What stands for what: row i is label i + 1."""

    values: tuple[int, ...]
    """The number in the source."""
    names: tuple[str, ...]


def prepare(
    labels: Labels,
    names: Mapping[int, str],
    *,
    instances: Collection[str] = (),
    remove: Collection[int] = (),
    small: SmallObjects = SMALL_OBJECTS["keep"],
) -> tuple[Labels, LabelTable, int]:
    """Labels 1..N, what each was, and how many voxels were dropped as small objects.

    ``instances`` holds the values or names of labels whose components are objects of their own, or
    ``all``; ``remove`` the values that become background. N follows the order of the values, and
    of the components of one value in the array.
    """
    present = present_values(labels)
    kept = [v for v in present if v not in remove]
    split = _chosen(kept, names, instances)
    labels, origin = _numbered(labels, present, kept)
    if split:
        labels, origin = _split(labels, origin, split)
    before = int(np.count_nonzero(labels)) if small != SmallObjects() else 0
    if small != SmallObjects():
        labels = drop_small(labels, small)
        dropped = before - int(np.count_nonzero(labels))
        left = present_values(labels)
        origin = [origin[v - 1] for v in left]
        labels, _ = _numbered(labels, left, left)
    else:
        dropped = 0
    labels = labels.astype(label_type(len(origin)), copy=False)
    table = LabelTable(tuple(origin), tuple(names.get(v, "") for v in origin))
    return labels, table, dropped


def present_values(labels: Labels) -> list[int]:
    """Labels above 0 that occur, ascending."""
    if labels.dtype.itemsize <= 2:
        found = np.flatnonzero(value_counts(labels))
    else:
        found = np.unique(labels)
    return [int(v) for v in found if v > 0]


def drop_small(labels: Labels, small: SmallObjects) -> Labels:
    """Labels without the components that are too small, in 3D and then in each slice."""
    kept = np.array(labels, copy=True, order="C")
    if kept.ndim == 3 and small.voxels > 1:
        kept = cc3d.dust(kept, threshold=small.voxels, connectivity=26, in_place=True)
    if small.slice_pixels > 1:
        for plane in kept if kept.ndim == 3 else [kept]:
            if plane.any():
                plane[...] = cc3d.dust(plane.copy(), threshold=small.slice_pixels, connectivity=8)
    return kept


def _chosen(values: list[int], names: Mapping[int, str], wanted: Collection[str]) -> set[int]:
    """Values that ``wanted`` means by number or name; SourceError for one that does not occur in
    the names nor can be a number."""
    if "all" in wanted:
        return set(values)
    chosen = set()
    for word in wanted:
        named = {v for v, name in names.items() if name == word}
        if not named and not word.isdigit():
            known = ", ".join(sorted(set(names.values()))) or "no names"
            raise SourceError(
                f"instances: expected a label's number or name, found {word}: {known}"
            )
        chosen |= named or {int(word)}
    return chosen & set(values)


def _numbered(labels: Labels, present: list[int], kept: list[int]) -> tuple[Labels, list[int]]:
    """Labels 1.. for the kept values in their order, and those values."""
    if present == kept == list(range(1, len(kept) + 1)):
        return labels, kept
    if labels.dtype.itemsize <= 2:
        table = np.zeros(1 << (8 * labels.dtype.itemsize), label_type(len(kept)))
        table[kept] = np.arange(1, len(kept) + 1)
        return np.asarray(look_up(table, labels), table.dtype), kept
    order = np.array([0, *kept], np.int64)
    place = np.searchsorted(order, labels)
    place[place == len(order)] = 0
    place[order[place] != labels] = 0
    return place.astype(label_type(len(kept))), kept


def _split(labels: Labels, origin: list[int], split: set[int]) -> tuple[Labels, list[int]]:
    """Components of the chosen values as labels of their own."""
    connectivity: Literal[8, 26] = 26 if labels.ndim == 3 else 8
    result = np.zeros(labels.shape, np.uint32)
    new_origin: list[int] = []
    for index, value in enumerate(origin):
        mask = labels == index + 1
        if value not in split:
            new_origin.append(value)
            result[mask] = len(new_origin)
            continue
        parts, count = cc3d.connected_components(
            np.ascontiguousarray(mask), connectivity=connectivity, return_N=True
        )
        result[mask] = parts[mask].astype(np.uint32) + len(new_origin)
        new_origin += [value] * int(count)
    return result, new_origin
