"""Scores of label maps whose numbers mean nothing: cells, nuclei, lesions.

Objects of truth and prediction are matched one to one, as many pairs as possible with an IoU of at
least the threshold and among those the ones with the largest IoU; then F1 over all objects and DSC
over the matches, as in the 2025 follow-up (JunMa11/CVPR-MedSegFMCompetition, CVPR25_text_eval.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from evaluation.metrics.surface import Box

Labels = NDArray[np.integer[Any]]
"""A label map, (H, W) or (D, H, W); 0 is background."""

IOU_THRESHOLD = 0.5
"""Of a match; above it nothing has two partners, so that only exact ties are ever to be settled."""

_MAX_COUNTED_LABEL = 65535
"""Up to this label votes are counted in one pass, above it by sorting."""


@dataclass(frozen=True)
class InstanceScore:
    """F1 = 2 matches / (objects of truth + objects of prediction); 1.0 without any object."""

    f1: float
    dsc: float | None
    """Mean over the matches; none without a match."""
    matches: int


def match_instances(
    truth_labels: Labels,
    predicted_labels: Labels,
    truth_boxes: Mapping[int, Box],
    truth_voxels: Mapping[int, int],
    predicted_voxels: Mapping[int, int],
) -> InstanceScore:
    """Match the objects of two label maps; boxes and sizes are those of every label present."""
    total = len(truth_voxels) + len(predicted_voxels)
    if total == 0:
        return InstanceScore(1.0, None, 0)
    overlaps: dict[tuple[int, int], int] = {}
    for label, box in truth_boxes.items():
        inside = predicted_labels[box][truth_labels[box] == label]
        for other, votes in _majorities(inside):
            union = truth_voxels[label] + predicted_voxels[other] - votes
            if votes >= IOU_THRESHOLD * union:
                overlaps[label, other] = votes
    dice = [
        2 * overlaps[pair] / (truth_voxels[pair[0]] + predicted_voxels[pair[1]])
        for pair in _best_pairs(overlaps, truth_voxels, predicted_voxels)
    ]
    mean_dice = math.fsum(dice) / len(dice) if dice else None
    return InstanceScore(2 * len(dice) / total, mean_dice, len(dice))


def _majorities(values: Labels) -> Iterator[tuple[int, int]]:
    """Labels that at least half of the values have; only those can reach the threshold."""
    if values.max() <= _MAX_COUNTED_LABEL:
        counts = np.bincount(values)
        labels = np.arange(counts.size)
    else:
        labels, counts = np.unique(values, return_counts=True)
    for index in np.flatnonzero(2 * counts >= values.size):
        if labels[index] > 0:
            yield int(labels[index]), int(counts[index])


def _best_pairs(
    overlaps: Mapping[tuple[int, int], int],
    truth_voxels: Mapping[int, int],
    predicted_voxels: Mapping[int, int],
) -> list[tuple[int, int]]:
    """One partner each; the assignment problem only where an exact tie leaves a choice."""
    truths = sorted({truth for truth, _ in overlaps})
    predictions = sorted({prediction for _, prediction in overlaps})
    if len(truths) == len(predictions) == len(overlaps):
        return sorted(overlaps)
    gains = np.zeros((len(truths), len(predictions)))
    for (truth, prediction), votes in overlaps.items():
        union = truth_voxels[truth] + predicted_voxels[prediction] - votes
        share = votes / union / (2 * min(gains.shape))  # a match weighs more than all shares
        gains[truths.index(truth), predictions.index(prediction)] = 1 + share
    rows, columns = linear_sum_assignment(gains, maximize=True)
    pairs = [(truths[i], predictions[j]) for i, j in zip(rows, columns, strict=True)]
    return [pair for pair in pairs if pair in overlaps]
