"""One setting of a bundle, several values, on validation: how thresholds and priors are chosen.

Only settings that need no training: bundle.json is changed in a copy, the graphs are the same.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

import inference
from inference.bundle_file import bundle_content
from training.errors import TrainingError
from training.recipe import SweepConfig
from training.store import StoredCase
from training.validate import CaseAccuracy, accuracy_summary, loosened, validate

Rows = dict[float, list[CaseAccuracy]]
"""Value of the setting to the accuracy of every case, in the same order."""

SETTINGS = (
    "threshold",
    "ellipse_prior",
    "tight.gap",
    "tight.threshold",
    "volume.threshold",
    "volume.ellipsoid_prior",
)
"""Keys of a model in bundle.json that a sweep may change."""


def sweep(bundle: Path, cases: Sequence[StoredCase], config: SweepConfig) -> Rows:
    """Accuracy of ``bundle`` with each value of ``config.key`` in all its models.

    Boxes are the same for every value (``config.loosen``, ``config.seed``).

    Raises:
        TrainingError: the key is none of :data:`SETTINGS` or of a rule that the bundle does not
            have, or no case is left.
    """
    if config.key not in SETTINGS:
        raise TrainingError(f"key: expected one of {', '.join(SETTINGS)}, found {config.key}")
    kept = [
        c
        for c in cases
        if c.info.dims in config.dims
        and (not config.modalities or c.info.modality in config.modalities)
    ]
    if not kept:
        raise TrainingError("store: expected validation cases of these modalities, found none")
    rows: Rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for value in config.values:
            changed = with_setting(bundle, config.key, value, Path(scratch) / str(value))
            dice = np.random.default_rng(config.seed)
            boxes = loosened(dice, config.loosen) if config.loosen else None
            rows[value] = validate(
                inference.load(changed, precision="f32"), kept, boxes, with_nsd=False
            )
    return rows


def with_setting(bundle: Path, key: str, value: float, folder: Path) -> Path:
    """A copy of ``bundle`` at ``folder`` with ``key`` (dotted) of every model set to ``value``.

    Raises:
        TrainingError: the key is of the tight rule, which a model does not have.
    """
    shutil.copytree(bundle, folder)
    content = bundle_content(folder)
    *parents, last = key.split(".")
    for name, model in content["models"].items():
        if "tight" in parents and model.get("tight") is None:
            raise TrainingError(f"{bundle}: {name}: expected a model with tight, found none")
        table = model
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def paired_t(rows: Sequence[CaseAccuracy]) -> float:
    """Student's paired t of a model's DSC over the ellipse's; nan with fewer than two cases or
    where all differences are alike."""
    model, ellipse = np.array([[r.dsc, r.ellipse_dsc] for r in rows]).T
    if len(rows) < 2 or np.ptp(model - ellipse) == 0:
        return float("nan")
    return float(stats.ttest_rel(model, ellipse).statistic)


def sweep_table(rows: Rows, key: str) -> str:
    """Markdown: one row a (dims, modality), one column a value: mean DSC, and in brackets the
    paired t over the inscribed ellipse; at the end the means over modalities."""
    summaries = {value: accuracy_summary(found) for value, found in rows.items()}
    first = next(iter(summaries.values()))
    lines = [
        f"| | modality | cases | ellipse | {' | '.join(f'{key} {v:g}' for v in rows)} |",
        f"| --- | --- | ---: | ---: |{' ---: |' * len(rows)}",
    ]
    for dims, modality in ((d, m) for d, table in first.items() for m in table if m != "mean"):
        of = first[dims][modality]
        cells = []
        for value, found in rows.items():
            members = [r for r in found if (r.dims, r.modality) == (dims, modality)]
            score = summaries[value][dims][modality]["dsc"]
            cells.append(f"{score:.4f} ({paired_t(members):.1f})")
        counts = f"{of['cases']:.0f} | {of['ellipse_dsc']:.4f}"
        lines.append(f"| {dims} | {modality} | {counts} | {' | '.join(cells)} |")
    for dims in first:
        cells = [f"{summary[dims]['mean']['dsc']:.4f}" for summary in summaries.values()]
        lines.append(f"| {dims} | mean over modalities | | | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
