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

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.distances import distances_of_pair
from evaluation.metrics.instances import InstanceScore, match_instances
from evaluation.metrics.label_maps import LabelMap, Labels, hulls, map_labels, overlaps
from evaluation.metrics.label_surfaces import measure_surfaces, overlap_surfaces
from evaluation.metrics.surface import Mask, check_shapes, pair_surfaces

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
    check_shapes(truth, prediction)
    overlap = int(np.count_nonzero(truth & prediction))
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(prediction))
    return 2 * overlap / total if total else 1.0


def surface_dice(
    truth: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Normalised surface distance (NSD): the share of both surfaces within the tolerance of the
    other.

    Masks of two or three dimensions, `spacing_mm` in the order of their axes. 1.0 when both are
    empty,
    0.0 when one is. Definition: Nikolov et al., arXiv 1809.04430.
    """
    return float(overlap_surfaces(truth, prediction, spacing_mm, tolerance_mm).surface_dice[0])


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
    check_shapes(truth_labels, predicted_labels)
    return score_maps(
        map_labels(truth_labels),
        map_labels(predicted_labels),
        spacing_mm,
        tolerance_mm,
        official_spacing_mm=official_spacing_mm,
        distances=distances,
    )


def score_maps(
    truth: LabelMap,
    prediction: LabelMap,
    spacing_mm: Sequence[float],
    tolerance_mm: float = TOLERANCE,
    *,
    official_spacing_mm: Sequence[float] | None = None,
    distances: bool = False,
) -> CaseScore:
    """Score two label maps that are already read, such as a truth that many teams share."""
    shared = overlaps(truth, prediction)
    labels = _score_labels(
        truth, prediction, shared, spacing_mm, tolerance_mm, official_spacing_mm, distances
    )
    known = set(truth.labels)
    extra = [place for place, label in enumerate(prediction.labels) if label not in known]
    agreed = 0.0 if extra else 1.0  # where the truth has no label
    return CaseScore(
        dsc=math.fsum(label.dsc for label in labels) / len(labels) if labels else agreed,
        nsd=math.fsum(label.nsd for label in labels) / len(labels) if labels else agreed,
        labels=labels,
        false_positive_labels=tuple(prediction.labels[place] for place in extra),
        false_positive_voxels=int(prediction.voxels[extra].sum()),
        instances=match_instances(truth, prediction, shared),
    )


def _score_labels(
    truth: LabelMap,
    prediction: LabelMap,
    shared: NDArray[np.int64],
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    official_spacing_mm: Sequence[float] | None,
    distances: bool,
) -> tuple[LabelScore, ...]:
    """Every label of the truth against the same label of the prediction."""
    numbers = truth.labels
    places = prediction.places_of(numbers)
    boxes = hulls(truth, prediction, places)
    surfaces, official = measure_surfaces(
        truth, prediction, numbers, boxes, tuple(spacing_mm), tolerance_mm,
        None if official_spacing_mm is None else tuple(official_spacing_mm),
    )  # fmt: skip
    overlap = _overlap_voxels(shared, places)
    predicted_voxels = prediction.sizes_of(numbers)
    total = truth.voxels + predicted_voxels
    columns = {
        "dsc": 2 * overlap / total,
        "nsd": surfaces.surface_dice,
        "truth_voxels": truth.voxels,
        "predicted_voxels": predicted_voxels,
        "overlap_voxels": overlap,
        "truth_surface": surfaces.truth,
        "predicted_surface": surfaces.prediction,
        "truth_surface_within": surfaces.truth_within,
        "predicted_surface_within": surfaces.prediction_within,
        "iou": overlap / (total - overlap),
    }
    if official is not None:
        columns["nsd_official"] = official.surface_dice
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    scores = [
        LabelScore(label=label, **dict(zip(columns, row, strict=True)))
        for label, row in zip(numbers, rows, strict=True)
    ]
    if not distances:
        return tuple(scores)
    return tuple(
        _with_distances(score, truth.array[box], prediction.array[box], spacing_mm)
        for score, box in zip(scores, boxes, strict=True)
    )


def _overlap_voxels(shared: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of every label of the truth with the one at `places` of the prediction."""
    overlap = np.zeros(len(places), np.int64)
    same = places[shared[:, 0]] == shared[:, 1]
    overlap[shared[same, 0]] = shared[same, 2]
    return overlap


def _with_distances(
    score: LabelScore, truth: Labels, prediction: Labels, spacing_mm: Sequence[float]
) -> LabelScore:
    pair = pair_surfaces(truth == score.label, prediction == score.label)
    found = distances_of_pair(pair, spacing_mm)
    return dataclasses.replace(score, hd95=found.hausdorff_mm(), assd=found.average_mm)
