"""DSC and NSD of masks and of label maps.

One policy for empty masks, everywhere: both empty is agreement and scores 1.0; one empty and the
other not scores 0.0. (DeepMind's surface-distance gives NaN for both empty, the organisers' script
NaN or a crash; NaN cannot be averaged and hides the case.)

Differences from the organisers' script, whose own numbers `official` gives beside these: labels are
those present in the truth and not 1..max; a 2D mask has a contour and is not a slab one voxel
thick; the spacing is in the order of the array's axes; NSD is not set to zero where DSC is at most
0.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.distances import distances_of_pair
from evaluation.metrics.instances import InstanceScore, Labels, match_instances
from evaluation.metrics.label_boxes import hull_of, label_boxes
from evaluation.metrics.surface import (
    Mask,
    overlap_of_pair,
    overlap_of_slabs,
    overlap_surfaces,
    pair_surfaces,
)

TOLERANCE = 2.0
"""Tolerance of NSD: mm in 3D, pixels in 2D (bowang-lab/MedSAM@LiteMedSAM,
compute_metrics.py:67)."""


@dataclass(frozen=True)
class LabelScore:
    """One label of the truth against the same label of the prediction.

    Counts are pixels or voxels; surfaces are contour lengths (2D, pixels) or areas (3D, mm^2),
    `within` the part at most the tolerance away from the other surface. Any later metric of overlap
    can be computed from these.
    """

    label: int
    dsc: float
    nsd: float
    truth_voxels: int
    predicted_voxels: int
    overlap_voxels: int
    truth_surface: float
    predicted_surface: float
    truth_surface_within: float
    predicted_surface_within: float
    iou: float
    hd95: float | None = None
    """95th percentile of the Hausdorff distance, unless not asked for; infinite when one of the
    masks is empty. In mm, in 2D in pixels."""
    assd: float | None = None
    """Average symmetric surface distance, likewise."""
    nsd_official: float | None = None
    """NSD as the organisers' script measures it (a slab in 2D, the stored spacing in 3D), before
    its gate and its rounding; none unless asked for."""


@dataclass(frozen=True)
class CaseScore:
    """Means over the labels present in the truth, and what the prediction has besides.

    Labels that only the prediction has do not enter the means (each would be a row of zeros for a
    label that nobody asked for); they are reported as false positives. A truth without labels
    scores 1.0 when the prediction has none either and 0.0 otherwise.
    """

    dsc: float
    nsd: float
    labels: tuple[LabelScore, ...]
    false_positive_labels: tuple[int, ...]
    false_positive_voxels: int
    instances: InstanceScore
    """Labels as objects whose numbers mean nothing."""


def dice(truth: Mask, prediction: Mask) -> float:
    """Dice similarity 2|A and B| / (|A| + |B|); 1.0 when both are empty, 0.0 when one is."""
    if truth.shape != prediction.shape:
        raise ValueError(f"masks must have one shape, found {truth.shape} and {prediction.shape}")
    overlap = int(np.count_nonzero(truth & prediction))
    return _dice(overlap, int(np.count_nonzero(truth)), int(np.count_nonzero(prediction)))


def surface_dice(
    truth: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Normalised surface distance (NSD): the share of both surfaces within the tolerance of the
    other.

    Masks of two or three dimensions, `spacing_mm` in the order of their axes. 1.0 when both are
    empty,
    0.0 when one is. Definition: Nikolov et al., arXiv 1809.04430.
    """
    return overlap_surfaces(truth, prediction, spacing_mm, tolerance_mm).surface_dice


def score_case(
    truth_labels: Labels,
    predicted_labels: Labels,
    spacing_mm: Sequence[float],
    tolerance_mm: float = TOLERANCE,
    *,
    official_spacing_mm: Sequence[float] | None = None,
    distances: bool = False,
) -> CaseScore:
    """Score a label map against the truth, label by label.

    Labels are the positive values present in the truth, of any integer type and with any gaps. Both
    arrays have one shape; `spacing_mm` is in the order of their axes, ones for pixels. With
    `official_spacing_mm`, the three numbers that the organisers' script uses, labels get an
    `nsd_official`, and with `distances` HD95 and ASSD, which cost more than all the rest.
    """
    if truth_labels.shape != predicted_labels.shape:
        raise ValueError(
            f"label maps must have one shape, found {truth_labels.shape} and "
            f"{predicted_labels.shape}"
        )
    truth_boxes, predicted_boxes = label_boxes(truth_labels), label_boxes(predicted_labels)
    labels = []
    for label, truth_box in truth_boxes.items():
        box = hull_of(truth_box, predicted_boxes.get(label, truth_box))
        labels.append(
            _score_label(
                label, truth_labels[box] == label, predicted_labels[box] == label, spacing_mm,
                tolerance_mm, official_spacing_mm, distances,
            )
        )  # fmt: skip
    extra = {
        label: int(np.count_nonzero(predicted_labels[box] == label))
        for label, box in predicted_boxes.items()
        if label not in truth_boxes
    }
    truth_voxels = {label.label: label.truth_voxels for label in labels}
    predicted_voxels = extra | {
        label.label: label.predicted_voxels for label in labels if label.predicted_voxels
    }
    instances = match_instances(
        truth_labels, predicted_labels, truth_boxes, truth_voxels, predicted_voxels
    )
    extra_voxels = sum(extra.values())
    if not labels:
        agreed = 0.0 if extra else 1.0
        return CaseScore(agreed, agreed, (), tuple(extra), extra_voxels, instances)
    return CaseScore(
        dsc=math.fsum(label.dsc for label in labels) / len(labels),
        nsd=math.fsum(label.nsd for label in labels) / len(labels),
        labels=tuple(labels),
        false_positive_labels=tuple(extra),
        false_positive_voxels=extra_voxels,
        instances=instances,
    )


def _score_label(
    label: int,
    truth: Mask,
    prediction: Mask,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    official_spacing_mm: Sequence[float] | None,
    distances: bool,
) -> LabelScore:
    pair = pair_surfaces(truth, prediction)
    surfaces = overlap_of_pair(pair, spacing_mm, tolerance_mm)
    official = None
    if official_spacing_mm is not None:
        if truth.ndim == 2:
            official = overlap_of_slabs(pair, tolerance_mm).surface_dice
        elif tuple(official_spacing_mm) == tuple(spacing_mm):
            official = surfaces.surface_dice
        else:
            official = overlap_of_pair(pair, official_spacing_mm, tolerance_mm).surface_dice
    far = distances_of_pair(pair, spacing_mm) if distances else None
    sizes = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    overlap = int(np.count_nonzero(truth & prediction))
    return LabelScore(
        label=label,
        dsc=_dice(overlap, *sizes),
        nsd=surfaces.surface_dice,
        truth_voxels=sizes[0],
        predicted_voxels=sizes[1],
        overlap_voxels=overlap,
        truth_surface=surfaces.truth,
        predicted_surface=surfaces.prediction,
        truth_surface_within=surfaces.truth_within,
        predicted_surface_within=surfaces.prediction_within,
        iou=overlap / (sum(sizes) - overlap),
        hd95=None if far is None else far.hausdorff_mm(),
        assd=None if far is None else far.average_mm,
        nsd_official=official,
    )


def _dice(overlap: int, truth: int, prediction: int) -> float:
    if truth + prediction == 0:
        return 1.0
    return 2 * overlap / (truth + prediction)
