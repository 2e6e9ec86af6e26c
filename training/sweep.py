"""One setting of a bundle, several values, on validation: how thresholds and priors are chosen.

Only settings that need no training: bundle.json is changed in a copy, the graphs are the same.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import inference
from training.errors import TrainingError
from training.recipe import SweepConfig
from training.store import StoredCase
from training.validate import CaseAccuracy, loosened, validate

Rows = dict[float, list[CaseAccuracy]]
"""Value of the setting to the accuracy of every case, in the same order."""

SETTINGS = ("threshold", "ellipse_prior", "volume.threshold", "volume.ellipsoid_prior")
"""Keys of a model in bundle.json that a sweep may change."""


def sweep(bundle: Path, cases: Sequence[StoredCase], config: SweepConfig) -> Rows:
    """Accuracy of ``bundle`` with each value of ``config.key`` in all its models.

    Boxes are the same for every value (``config.loosen``, ``config.seed``).

    Raises:
        TrainingError: the key is none of :data:`SETTINGS`, or no case is left.
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
            rows[value] = validate(inference.load(changed), kept, boxes, with_nsd=False)
    return rows


def with_setting(bundle: Path, key: str, value: float, folder: Path) -> Path:
    """A copy of ``bundle`` at ``folder`` with ``key`` (dotted) of every model set to ``value``."""
    shutil.copytree(bundle, folder)
    content: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
    *parents, last = key.split(".")
    for model in content["models"].values():
        table = model
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def paired_t(rows: Sequence[CaseAccuracy]) -> float:
    """Student's paired t of a model's DSC over the ellipse's; nan with fewer than two cases or
    where all differences are alike."""
    differences = np.array([r.dsc - r.ellipse_dsc for r in rows])
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float("nan")
    deviation = float(differences.std(ddof=1))
    return float(differences.mean()) / (deviation / float(np.sqrt(len(differences))))


def sweep_table(rows: Rows, key: str) -> str:
    """Markdown: one row a (dims, modality), one column a value: mean DSC, and in brackets the
    paired t over the inscribed ellipse; at the end the means over modalities."""
    values = list(rows)
    first = rows[values[0]]
    strata = sorted({(r.dims, r.modality) for r in first})
    lines = [
        f"| | modality | cases | ellipse | {' | '.join(f'{key} {v:g}' for v in values)} |",
        f"| --- | --- | ---: | ---: |{' ---: |' * len(values)}",
    ]
    means: dict[str, list[list[float]]] = {}
    for dims, modality in strata:
        members = {
            v: [r for r in found if (r.dims, r.modality) == (dims, modality)]
            for v, found in rows.items()
        }
        scores = [float(np.mean([r.dsc for r in members[v]])) for v in values]
        means.setdefault(dims, []).append(scores)
        cells = [
            f"{s:.4f} ({paired_t(members[v]):.1f})" for s, v in zip(scores, values, strict=True)
        ]
        some = members[values[0]]
        ellipse = float(np.mean([r.ellipse_dsc for r in some]))
        lines.append(f"| {dims} | {modality} | {len(some)} | {ellipse:.4f} | {' | '.join(cells)} |")
    for dims, table in means.items():
        cells = [f"{s:.4f}" for s in np.mean(table, axis=0)]
        lines.append(f"| {dims} | mean over modalities | | | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
