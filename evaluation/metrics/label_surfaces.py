"""How much of the surfaces of each label lies within the tolerance, for all labels of a case.

Elements are only counted here, by label and neighbour code; their sizes depend on the spacing and
come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.label_maps import Box, LabelMap, map_labels
from evaluation.metrics.label_stack import Plan, plan_stacks, stack_codes
from evaluation.metrics.reach import Spacing, can_grow, grow, margins_of
from evaluation.metrics.surface import (
    Codes,
    Mask,
    check_shapes,
    surface_points,
    total_sizes,
    union_box,
)
from evaluation.metrics.surfels import element_sizes

Counts = NDArray[np.int64]
"""Elements by label and neighbour code, (labels, codes)."""

_PIXELS_OF_CODE = np.array([code.bit_count() for code in range(16)])
"""How many pixels around a corner are inside, in two dimensions."""


@dataclass(frozen=True)
class SurfaceOverlap:
    """Sizes of two surfaces and of their parts within the tolerance of each other, label by label.

    Contour lengths in mm for 2D masks, areas in mm^2 for 3D ones; pixels where the spacing is one.
    An empty mask has size 0 and nothing lies within any distance of it.
    """

    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    truth_within: NDArray[np.float64]
    prediction_within: NDArray[np.float64]

    @property
    def surface_dice(self) -> NDArray[np.float64]:
        """Share of both surfaces that lies within the tolerance; 1.0 where both masks are empty."""
        total = self.truth + self.prediction
        within = self.truth_within + self.prediction_within
        return np.divide(within, total, out=np.ones_like(total), where=total > 0)


@dataclass(frozen=True)
class _Side:
    """One of the two stacks of masks: its surface, where that is and of which codes."""

    codes: Codes
    surface: Mask
    places: NDArray[np.int64]

    @classmethod
    def of(cls, plan: Plan, numbers: Sequence[int], labels: LabelMap) -> _Side:
        codes = stack_codes(plan, numbers, labels)
        surface = surface_points(codes, len(plan.shape))
        return cls(codes, surface, np.flatnonzero(surface))


def overlap_surfaces(
    truth: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> SurfaceOverlap:
    """Measure two masks of one shape, of two or three dimensions, as one label."""
    check_shapes(truth, prediction)
    first, second = (map_labels(mask.astype(np.uint8)) for mask in (truth, prediction))
    box = union_box(truth, prediction)
    return measure_surfaces(first, second, [1], [box], tuple(spacing_mm), tolerance_mm)[0]


def measure_surfaces(
    truth: LabelMap,
    prediction: LabelMap,
    numbers: Sequence[int],
    boxes: Sequence[Box],
    spacing_mm: Spacing,
    tolerance_mm: float,
    official_spacing_mm: Spacing | None = None,
) -> tuple[SurfaceOverlap, SurfaceOverlap | None]:
    """Overlap of the surfaces of labels as they are, and as the organisers' script sees them.

    `boxes` hold each of the labels `numbers` in truth and prediction. The distance of an element is
    the distance between corner points (Nikolov et al., arXiv 1809.04430); a distance equal to the
    tolerance counts as within. The second overlap, which a spacing of three numbers asks for, is
    that of slabs (2D, see `_slab_counts`) or of the same surfaces in that spacing (3D).
    """
    dims = truth.array.ndim
    if len(spacing_mm) != dims:
        raise ValueError(f"spacing must have {dims} values, found {len(spacing_mm)}")
    spacings, sizes = [spacing_mm], [element_sizes(spacing_mm)]
    slabs = official_spacing_mm is not None and dims == 2
    if slabs:
        sizes.append(slab_sizes())
    elif official_spacing_mm not in (None, spacing_mm):
        spacings.append(official_spacing_mm)
        sizes.append(element_sizes(official_spacing_mm))
    voxels = np.stack([labels.sizes_of(numbers) for labels in (truth, prediction)])
    counts = np.zeros((len(sizes), 4, len(boxes), 1 << (1 << dims)), np.int64)
    for plan in plan_stacks(boxes, _margins(spacings, tolerance_mm)):
        sides = [_Side.of(plan, numbers, labels) for labels in (truth, prediction)]
        counts[:, :, plan.labels] = _count(
            plan, sides, spacings, tolerance_mm, voxels[:, plan.labels] if slabs else None
        )
    overlaps = [_overlap(*pair) for pair in zip(counts, sizes, strict=True)]
    return overlaps[0], None if official_spacing_mm is None else overlaps[-1]


def _margins(spacings: Sequence[Spacing], tolerance_mm: float) -> list[int]:
    """Steps that are enough for all spacings; a distance transform needs but the corners around a
    mask, however many steps of a fine grid the tolerance has."""
    steps = (
        margins_of(spacing_mm, tolerance_mm)
        if can_grow(spacing_mm, tolerance_mm)
        else [1] * len(spacing_mm)
        for spacing_mm in spacings
    )
    return [max(axis) for axis in zip(*steps, strict=True)]


def _count(
    plan: Plan,
    sides: Sequence[_Side],
    spacings: Sequence[Spacing],
    tolerance_mm: float,
    voxels: Counts | None,
) -> Counts:
    """Elements of a stack in each spacing, and as slabs where `voxels` are given.

    (spacings and slabs, 4, labels, codes): truth, prediction, and the parts of both that are far
    from the other.
    """
    totals = np.stack([plan.count_codes(side.places, side.codes) for side in sides])
    found = []
    for spacing_mm in spacings:
        near = [_within(plan, side.surface, spacing_mm, tolerance_mm) for side in sides]
        found.append(_surface_counts(plan, totals, sides, near))
    if voxels is not None:
        found.append(_slab_counts(plan, totals, sides, near, voxels))
    return np.stack(found)


def slab_sizes() -> NDArray[np.float64]:
    """Areas by code of both faces of a slab one pixel thick, in square pixels.

    Every pixel has surface on both faces. They are mirror images and the nearest point of another
    slab lies on the same face, so that one decides: its codes are those with an empty upper half.
    """
    return 2 * element_sizes((1.0, 1.0, 1.0))[:16]


def _overlap(counts: Counts, sizes: NDArray[np.float64]) -> SurfaceOverlap:
    truth, prediction, far_truth, far_prediction = counts
    return SurfaceOverlap(
        truth=total_sizes(truth, sizes),
        prediction=total_sizes(prediction, sizes),
        truth_within=total_sizes(truth - far_truth, sizes),
        prediction_within=total_sizes(prediction - far_prediction, sizes),
    )


def _surface_counts(
    plan: Plan, totals: Counts, sides: Sequence[_Side], near: Sequence[Mask]
) -> Counts:
    """Add to all elements those that are far from the other surface."""
    far = [
        plan.count_codes(side.places[~close.take(side.places)], side.codes)
        for side, close in zip(sides, reversed(near), strict=True)
    ]
    return np.concatenate([totals, far])


def _slab_counts(
    plan: Plan, totals: Counts, sides: Sequence[_Side], near: Sequence[Mask], voxels: Counts
) -> Counts:
    """The same for the faces of slabs, on which every corner with a pixel inside is an element.

    A corner away from the other face is as near to it as to its edge, which is the contour: `near`
    serves here too. Every pixel has four corners, which tells how many are all inside.
    """
    all_inside = voxels - totals @ _PIXELS_OF_CODE // 4
    totals = np.concatenate([totals[..., :-1], all_inside[..., None]], axis=-1)
    faces = [side.codes != 0 for side in sides]
    far = [
        plan.count_codes(np.flatnonzero(face > (other | close)), side.codes)
        for side, face, other, close in zip(
            sides, faces, reversed(faces), reversed(near), strict=True
        )
    ]
    return np.concatenate([totals, far])


def _within(plan: Plan, points: Mask, spacing_mm: Spacing, tolerance_mm: float) -> Mask:
    """Grid points of a stack within the tolerance of points of their own label."""
    if can_grow(spacing_mm, tolerance_mm):
        return grow(points, plan.shape, spacing_mm, tolerance_mm)
    from scipy import ndimage

    near = np.zeros(plan.shape, bool)
    grid = points.reshape(plan.shape)
    for box in plan.corner_boxes():
        if grid[box].any():
            distances_mm = ndimage.distance_transform_edt(~grid[box], sampling=spacing_mm)
            near[box] = np.asarray(distances_mm) <= tolerance_mm
    return near.reshape(-1)
