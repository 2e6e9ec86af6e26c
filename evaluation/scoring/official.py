"""The organisers' score, to the digit: bowang-lab/MedSAM@LiteMedSAM, evaluation/compute_metrics.py.

What it does that `metrics` does not: labels are 1..max of the truth, and one that neither map holds
makes DSC NaN; NSD is 0.0 unless DSC > 0.2, so also where DSC is NaN; a 2D mask is a slab one voxel
thick; the spacing of a volume is used in the stored order x, y, z on axes z, y, x; both numbers are
rounded to four decimals; a case is 3D when its name begins with 3D. Whether the container failed it
does not ask: a mask that is there is scored.

Where it would crash, and with it the whole evaluation, the score is that of its next version
(JunMa11/CVPR-MedSegFMCompetition: labels present in the truth, a missing mask is an empty one,
spacing from the input file, 0.0 for everything that still raises) and a remark says so. As run with
NumPy 1.26; with NumPy 2 it crashes on every empty mask.
"""

from __future__ import annotations

import dataclasses
import enum
import math

import numpy as np

from evaluation.metrics.label_maps import Labels
from evaluation.metrics.label_scores import CaseScore
from evaluation.scoring.labelmaps import Truth

DICE_GATE = 0.2
"""NSD is only computed where the DSC of the case is larger (compute_metrics.py:62)."""

DECIMALS = 4
"""Of both numbers (compute_metrics.py:84)."""

VOLUME_PREFIX = "3D"
"""Names of volumes begin so (compute_metrics.py:56)."""


@dataclasses.dataclass(frozen=True)
class OfficialScore:
    """DSC and NSD of a case as the script prints them; DSC can be NaN."""

    dsc: float
    nsd: float
    remark: str = ""
    """Why the script would have crashed, or empty."""


def official_score(
    case: str, truth: Truth, prediction: Labels | None, score: CaseScore, fault: str = ""
) -> OfficialScore:
    """Turn the labels of a case, which have an `nsd_official`, into the script's two numbers.

    `prediction` is what the script would compare, none where it cannot; `fault` says why.
    """
    if prediction is None:
        return OfficialScore(0.0, 0.0, fault)
    crash, where = _crash(case, truth)
    if where is not _Crash.AT_ONCE:
        dice, surface_dice = _published_labels(score)
        mean = float(np.mean(dice)) if dice else math.nan  # NumPy's summation decides at the gate
        if where is _Crash.NOWHERE or not mean > DICE_GATE:
            nsd = float(np.mean(surface_dice)) if mean > DICE_GATE else 0.0
            return OfficialScore(_rounded(mean), _rounded(nsd))
    if not score.labels or not _next_version_scores(case, truth):
        return OfficialScore(0.0, 0.0, crash)
    return OfficialScore(
        _rounded(float(np.mean([label.dsc for label in score.labels]))),
        _rounded(float(np.mean([label.nsd_official or 0.0 for label in score.labels]))),
        crash,
    )


class _Crash(enum.Enum):
    NOWHERE = enum.auto()
    AT_ONCE = enum.auto()
    AT_NSD = enum.auto()


def _crash(case: str, truth: Truth) -> tuple[str, _Crash]:
    """Why and where the script crashes on a truth."""
    is_volume, named_volume = truth.labels.ndim == 3, case.startswith(VOLUME_PREFIX)
    if named_volume and not is_volume:
        return f"plane case whose name begins with {VOLUME_PREFIX}", _Crash.AT_ONCE
    if named_volume and truth.spacing_origin != "truth":
        return "no spacing in the truth file", _Crash.AT_ONCE
    if truth.labels.dtype == np.uint64:
        return "truth of type uint64, of which the script makes a float", _Crash.AT_ONCE
    if is_volume and not named_volume:
        return f"volume whose name does not begin with {VOLUME_PREFIX}", _Crash.AT_NSD
    return "", _Crash.NOWHERE


def _next_version_scores(case: str, truth: Truth) -> bool:
    """Whether the next version gets through: it takes spacings from the truth or input file."""
    if truth.labels.ndim == 2:
        return not case.startswith(VOLUME_PREFIX)
    return truth.spacing_origin != "assumed"


def _published_labels(score: CaseScore) -> tuple[list[float], list[float]]:
    """DSC and NSD of every label 1..max; NaN stands for all that neither map holds."""
    largest = score.labels[-1].label if score.labels else 0
    values = {label.label: (label.dsc, label.nsd_official or 0.0) for label in score.labels}
    values |= {label: (0.0, 0.0) for label in score.false_positive_labels if label <= largest}
    if len(values) < largest:
        return [math.nan], [math.nan]
    return [values[label][0] for label in sorted(values)], [
        values[label][1] for label in sorted(values)
    ]


def _rounded(value: float) -> float:
    return float(np.round(value, DECIMALS))
