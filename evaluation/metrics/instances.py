"""Scores of label maps whose numbers mean nothing: cells, nuclei, lesions.

Objects of truth and prediction are matched one to one, as many pairs as possible with an IoU of at
least the threshold and among those the ones with the largest IoU; then F1 over all objects and DSC
over the matches, as in the 2025 follow-up (JunMa11/CVPR-MedSegFMCompetition, CVPR25_text_eval.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.label_maps import LabelMap

IOU_THRESHOLD = 0.5
"""Of a match; above it nothing has two partners, so that only exact ties are ever to be settled."""


@dataclass(frozen=True)
class InstanceScore:
    """F1 = 2 matches / (objects of truth + objects of prediction); 1.0 without any object."""

    f1: float
    dsc: float | None
    """Mean over the matches; none without a match."""
    matches: int


def match_instances(
    truth: LabelMap, prediction: LabelMap, shared: NDArray[np.int64]
) -> InstanceScore:
    """Match the objects of two label maps; `shared` are their `overlaps`."""
    total = len(truth.labels) + len(prediction.labels)
    if total == 0:
        return InstanceScore(1.0, None, 0)
    truths, predictions, voxels = shared.T
    sizes = truth.voxels[truths] + prediction.voxels[predictions]
    near = np.flatnonzero(voxels >= IOU_THRESHOLD * (sizes - voxels))
    pairs = zip(truths[near].tolist(), predictions[near].tolist(), strict=True)
    shares = zip(voxels[near].tolist(), sizes[near].tolist(), strict=True)
    candidates = {pair: 2 * both / size for pair, (both, size) in zip(pairs, shares, strict=True)}
    dice = [candidates[pair] for pair in _best_pairs(candidates)]
    mean_dice = math.fsum(dice) / len(dice) if dice else None
    return InstanceScore(2 * len(dice) / total, mean_dice, len(dice))


def _best_pairs(candidates: Mapping[tuple[int, int], float]) -> list[tuple[int, int]]:
    """One partner each; the assignment problem only where an exact tie leaves a choice."""
    truths = sorted({truth for truth, _ in candidates})
    predictions = sorted({prediction for _, prediction in candidates})
    if len(truths) == len(predictions) == len(candidates):
        return sorted(candidates)
    from scipy.optimize import linear_sum_assignment  # slow to import, and hardly ever needed

    gains = np.zeros((len(truths), len(predictions)))
    for (truth, prediction), dsc in candidates.items():
        iou = dsc / (2 - dsc)
        share = iou / (2 * min(gains.shape))  # a match weighs more than all shares
        gains[truths.index(truth), predictions.index(prediction)] = 1 + share
    rows, columns = linear_sum_assignment(gains, maximize=True)
    pairs = [(truths[i], predictions[j]) for i, j in zip(rows, columns, strict=True)]
    return [pair for pair in pairs if pair in candidates]
