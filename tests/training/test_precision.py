"""Quantisation: its controlling score, the cases it sees, and a bundle that it made smaller."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import inference
from inference.bundle import DEFAULT_BUNDLE
from inference.bundle_file import read_bundle
from tests.conftest import draw_objects
from training.errors import TrainingError
from training.recipe import QuantiseConfig

ROOT = Path(__file__).resolve().parents[2]


def test_the_score_is_the_dice_on_the_decoders_grid():
    from training.precision import grid_dice

    target = np.zeros((3, 4, 4), np.float32)
    target[0, :2], target[1, :2] = 1, 1  # 8 of 16 pixels; the third is empty
    right, half = np.where(target[:1], 1.0, -1.0), -np.ones((1, 4, 4))
    half[0, :1] = 1  # 4 pixels, all inside: 2 * 4 / (4 + 8)
    empty = -np.ones((1, 4, 4))
    assert grid_dice([right, half, empty], target, 0) == pytest.approx((1 + 8 / 12 + 1) / 3)
    assert grid_dice([right - 1.5], target[:1], 0) == 0
    assert grid_dice([right - 1.5], target[:1], -0.6) == 1


def test_boxes_of_a_volume_are_asked_about_with_their_objects_in_the_cells(full_store):
    from training.precision import box_questions, volume_score
    from training.store import read_store

    spec = read_bundle(DEFAULT_BUNDLE).models["general"]
    picture, volume = (
        next(c for c in read_store(full_store, "val") if c.is_volume == wanted)
        for wanted in (False, True)
    )
    assert box_questions(picture, spec.volume_region) == []
    items = box_questions(volume, spec.volume_region)
    ((asked, target),) = items  # a ball in its box
    assert asked["crops"].shape == (1, 2, 24, 64, 64) and target.shape == (1, 24, 64, 64)
    inside = (np.abs(np.repeat(np.repeat(asked["place"][0, :3], 2, 2), 2, 3)) < 1).all(0)
    assert target[0][~inside].max() < 0.5  # nothing outside
    assert (target > 0.5).sum() / inside.sum() == pytest.approx(np.pi / 6, abs=0.1)
    assert asked["crops"][0, 0][target[0] > 0.9].min() > asked["crops"][0, 0][0, 0, 0]
    assert volume_score(0.5, lambda _: target, items) == [1]
    assert volume_score(0.5, lambda _: 1 - target, items)[0] < 0.1


def test_few_cases_are_of_every_modality(full_store):
    from training.precision import some
    from training.store import read_store

    cases = read_store(full_store, "train")
    chosen = some(cases, 4, np.random.default_rng(0))
    assert sorted(c.info.dims for c in chosen) == ["2D", "2D", "3D", "3D"]
    again = some(cases, 4, np.random.default_rng(0))
    assert [c.info.file for c in chosen] == [c.info.file for c in again]


def test_each_precision_is_compared_with_float32(full_store, monkeypatch):
    from training import precision
    from training.store import read_store
    from training.validate import CaseAccuracy

    given = iter([0.9, 0.8999, 0.7])

    def validated(segmenter, cases, with_nsd):
        dsc = next(given)
        return [CaseAccuracy("f", "2D", "CT", "s", "g", 1, dsc, 0.0, 0.0, 0.0) for _ in cases]

    monkeypatch.setattr(precision, "validate", validated)
    cases = read_store(full_store, "val")[:2]
    costs = precision.precision_costs(DEFAULT_BUNDLE, cases, DEFAULT_BUNDLE)
    assert costs["cases"] == 2 and isinstance(costs["bf16_native"], bool)
    assert costs["f32"] == {"2D": {"dsc": 0.9, "loss": 0.0}}
    assert costs["bf16"]["2D"]["loss"] == 0.0001
    assert costs["int8"]["2D"] == {"dsc": 0.7, "loss": 0.2}
    assert json.loads(json.dumps(costs)) == costs


def test_a_bundle_without_regions_is_refused(full_store, tmp_path):
    from training.precision import quantise

    content = json.loads((DEFAULT_BUNDLE / "bundle.json").read_text())
    for spec in content["models"].values():
        spec["region"], spec["tight"], spec["overlap"] = None, None, "smaller-box"
    for file in content["files"]:
        (tmp_path / file).touch()
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(TrainingError, match="expected ONNX graphs that answer in regions"):
        quantise(tmp_path, full_store, tmp_path / "out", QuantiseConfig())


def test_an_int8_bundle_is_smaller_whole_and_runs(full_store, tmp_path):
    from training.half_weights import store_whole

    """In the other engine too; NNCF warns of its own accord, so in a process of its own."""
    pytest.importorskip("nncf")
    line = [sys.executable, "-m", "training", "quantise", "--store", str(full_store)]
    line += ["--bundle", str(tmp_path / "f32"), "--out", str(tmp_path / "int8")]
    line += ["--calibration-cases", "2", "--validation-cases", "2", "--max-drop", "1"]
    shutil.copytree(DEFAULT_BUNDLE, tmp_path / "f32")
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    bundle = read_bundle(tmp_path / "int8")
    bundle.verify()
    general = bundle.models[bundle.routing["default"]]  # experts stay as they are
    for name in (general.encoder, general.decoder, general.volume_region.graph):
        store_whole(tmp_path / "f32" / name)  # the bundle's weights are of sixteen bits
        sizes = [(tmp_path / kind / name).stat().st_size for kind in ("int8", "f32")]
        assert sizes[0] < 0.4 * sizes[1]
    image, box = draw_objects((50, 70, 3), [(10, 12, 45, 40)], 0), [(10, 12, 45, 40)]
    masks = [
        inference.load(tmp_path / kind, threads=1).segment(image, box) for kind in ("f32", "int8")
    ]
    assert (masks[0] != masks[1]).mean() < 0.05 and masks[1].any()
    said = json.loads((tmp_path / "int8" / "bundle.json").read_text())
    assert said["precision"] == "int8" and said["precision_costs"]["cases"] == 5
