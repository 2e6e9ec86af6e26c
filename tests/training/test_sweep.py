"""Sweeps: one setting of a bundle, several values, the same cases and boxes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from training.errors import TrainingError
from training.recipe import SweepConfig
from training.store import read_store
from training.sweep import paired_t, sweep, sweep_table, with_setting
from training.validate import CaseAccuracy

BUNDLE = Path(__file__).resolve().parents[2] / "inference" / "bundle"


def row(dsc: float, ellipse: float, modality: str = "CT") -> CaseAccuracy:
    return CaseAccuracy("f", "2D", modality, "s", "g", 1, dsc, float("nan"), ellipse, float("nan"))


def test_a_setting_changes_in_every_model_of_a_copy(tmp_path):
    before = (BUNDLE / "bundle.json").read_text()
    folder = with_setting(BUNDLE, "volume.threshold", 0.25, tmp_path / "b")
    models = json.loads((folder / "bundle.json").read_text())["models"]
    assert len(models) > 1
    assert all(m["volume"]["threshold"] == 0.25 and m["threshold"] == -0.6 for m in models.values())
    assert (BUNDLE / "bundle.json").read_text() == before


def test_the_tight_rule_is_swept_where_there_is_one(tmp_path):
    content = json.loads((BUNDLE / "bundle.json").read_text())
    for model in content["models"].values():
        model["tight"] = {"told": "never", "gap": 0.1, "threshold": -0.6}
    (tmp_path / "with").mkdir()
    (tmp_path / "with" / "bundle.json").write_text(json.dumps(content))
    folder = with_setting(tmp_path / "with", "tight.gap", 0.25, tmp_path / "b")
    models = json.loads((folder / "bundle.json").read_text())["models"]
    assert all(m["tight"] == {"told": "never", "gap": 0.25, "threshold": -0.6}
               for m in models.values())  # fmt: skip
    del content["models"]["general"]["tight"]
    (tmp_path / "with" / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(TrainingError, match="general: expected a model with tight, found none"):
        with_setting(tmp_path / "with", "tight.gap", 0.25, tmp_path / "c")
    content["models"]["general"]["tight"] = None
    (tmp_path / "with" / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(TrainingError, match="general: expected a model with tight, found none"):
        with_setting(tmp_path / "with", "tight.gap", 0.25, tmp_path / "d")


def test_every_value_sees_the_same_cases_and_boxes(full_store):
    config = SweepConfig(values=(-1e6, 1e6), modalities=("Ultrasound",), loosen=0.05)
    rows = sweep(BUNDLE, read_store(full_store, "val"), config)
    filled, empty = rows[-1e6], rows[1e6]
    assert len(filled) == 3 and [r.ellipse_dsc for r in filled] == [r.ellipse_dsc for r in empty]
    assert all(r.dsc == 0 for r in empty)
    assert all(0 < r.dsc < 1 for r in filled)  # the whole box, which is no disc


def test_t_is_scipys():
    model, ellipse = np.random.default_rng(0).uniform(0, 1, (2, 9))
    rows = [row(a, b) for a, b in zip(model, ellipse, strict=True)]
    assert paired_t(rows) == pytest.approx(stats.ttest_rel(model, ellipse).statistic)


def test_t_of_too_little_is_nan():
    assert np.isnan(paired_t([row(0.9, 0.5)]))
    assert np.isnan(paired_t([row(0.75, 0.5), row(0.5, 0.25)]))


def test_the_table_by_hand():
    rows = {
        0.0: [row(0.5, 0.25), row(0.75, 0.25), row(0.25, 0.5, "MR")],
        1.0: [row(1.0, 0.25), row(0.5, 0.25), row(0.75, 0.5, "MR")],
    }
    assert sweep_table(rows, "threshold").splitlines() == [
        "| | modality | cases | ellipse | threshold 0 | threshold 1 |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| 2D | CT | 2 | 0.2500 | 0.6250 (3.0) | 0.7500 (2.0) |",
        "| 2D | MR | 1 | 0.5000 | 0.2500 (nan) | 0.7500 (nan) |",
        "| 2D | mean over modalities | | | 0.4375 | 0.7500 |",
    ]


def test_what_cannot_be_swept_is_said(full_store):
    cases = read_store(full_store, "val")
    with pytest.raises(TrainingError, match="key: expected one of threshold, .*, found region"):
        sweep(BUNDLE, cases, SweepConfig(key="region"))
    with pytest.raises(TrainingError, match="expected validation cases of these modalities"):
        sweep(BUNDLE, cases, replace(SweepConfig(), modalities=("PET",)))
