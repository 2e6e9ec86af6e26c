"""Experts answer only where they win on validation."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from inference.bundle_file import read_bundle
from tests.training.conftest import TINY
from training.errors import TrainingError
from training.recipe import (
    AdoptConfig,
    DeviceConfig,
    ExpertsConfig,
    ExportConfig,
    FinetuneConfig,
    ModelConfig,
)
from training.validate import CaseAccuracy

TUNING = FinetuneConfig(
    steps=2, images_per_step=1, regions_per_image=1, warmup_steps=1, frozen_blocks=-1,
    decoder_rate=1e-3, device=DeviceConfig(device="cpu", threads=1, workers=0),
)  # fmt: skip


def row(dsc, group="g", modality="CT", dims="3D"):
    return CaseAccuracy("f", dims, modality, "toy", group, 1, dsc, 0.0, 0.5, 0.0)


def judged(before, after, **values):
    from training.experts import judge

    config = ExpertsConfig(**{"least_gain": 0.01, "least_groups": 2} | values)
    return judge("volumes", "CT", before, after, config)


def test_an_expert_that_wins_is_kept():
    before = [row(0.5, "a"), row(0.7, "b"), row(0.1, modality="MR")]
    verdict = judged(before, [row(0.6, "a"), row(0.7, "b"), row(0.0, modality="MR")])
    assert verdict.kept and (verdict.cases, verdict.groups) == (2, 2)
    assert (verdict.general_dsc, verdict.expert_dsc) == (0.6, 0.65)


@pytest.mark.parametrize(
    ("after", "values", "reason"),
    [
        ([0.505, 0.705], {}, r"gain \+0\.0050, 0\.01 asked for"),
        ([0.4, 0.7], {}, "loses in 3D"),
        ([0.9, 0.9], {"least_groups": 3}, "2 validation groups, 3 asked for"),
    ],
)
def test_an_expert_that_does_not_is_refused_with_its_reason(after, values, reason):
    before = [row(0.5, "a"), row(0.7, "b")]
    verdict = judged(before, [row(after[0], "a"), row(after[1], "b")], **values)
    assert not verdict.kept
    assert re.search(reason, verdict.reason)


def test_a_gain_in_pictures_does_not_pay_for_a_loss_in_volumes():
    before = [row(0.5, "a"), row(0.5, "b", dims="2D")]
    assert judged(before, [row(0.49, "a"), row(0.9, "b", dims="2D")]).reason == "loses in 3D"


def test_a_modality_without_cases_is_refused():
    verdict = judged([], [], least_groups=1)
    assert not verdict.kept and verdict.cases == 0


@pytest.fixture(scope="module")
def general(full_store, tmp_path_factory):
    """A general run of random weights and its bundle, CT on a model with other settings."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from training.configuration import write_config
    from training.export import write_bundle
    from training.model import PromptedSegmenter

    folder = tmp_path_factory.mktemp("general")
    network = ModelConfig(**TINY)
    torch.manual_seed(1)
    weights = PromptedSegmenter(network).state_dict()
    torch.save({"average": weights, "step": 1}, folder / "last.pt")
    write_config(replace(TUNING, model=network), folder / "config.toml")
    export = ExportConfig(ellipse_priors={"CT": 3.0}, tolerance=1e-2)
    write_bundle(weights, network, folder / "bundle", export)
    return folder


def test_experts_are_trained_judged_and_composed(general, full_store, tmp_path, monkeypatch):
    from training import experts

    monkeypatch.setattr(experts, "ExportConfig", lambda: ExportConfig(tolerance=1e-2))
    scores = {"general": {"CT": 0.5, "Ultrasound": 0.6}, "expert": {"CT": 0.8, "Ultrasound": 0.5}}
    judge_bundle = iter(["general", "expert"] * 2)

    def validated(segmenter, cases, with_nsd):
        who = next(judge_bundle)
        segmenter.bundle.verify()
        return [row(scores[who][c.info.modality], c.info.group, c.info.modality, c.info.dims)
                for c in cases]  # fmt: skip

    monkeypatch.setattr(experts, "validate", validated)
    config = ExpertsConfig(
        groups={"volumes": ("CT",), "sound": ("Ultrasound",)}, least_groups=2, finetune=TUNING
    )
    out = tmp_path / "out"
    verdicts = experts.train_experts(
        full_store, general, general / "bundle", tmp_path / "runs", out, config
    )
    assert [(v.modality, v.kept) for v in verdicts] == [("CT", True), ("Ultrasound", False)]
    bundle = read_bundle(out)
    bundle.verify()
    assert bundle.routing["CT"] == "volumes-ellipse-3" and "Ultrasound" not in bundle.routing
    expert, before = (
        bundle.models["volumes-ellipse-3"],
        read_bundle(general / "bundle").models["ellipse-3"],
    )
    assert replace(expert, encoder="", decoder="") == replace(before, encoder="", decoder="")
    assert expert.decoder == "volumes-decoder.onnx" != before.decoder
    assert expert.encoder == before.encoder == "encoder.onnx"  # kept, so stored once
    assert not (out / "sound-decoder.onnx").exists()
    said = json.loads((out / "bundle.json").read_text())["experts"]
    assert [v["kept"] for v in said] == [True, False]
    assert not list(tmp_path.glob(".*"))  # nothing half-written


def test_a_modality_has_one_expert(general, full_store, tmp_path):
    from training.experts import train_experts

    config = ExpertsConfig(groups={"a": ("CT",), "b": ("MR", "CT")})
    with pytest.raises(TrainingError, match="expected each modality once, found CT twice"):
        train_experts(full_store, general, general / "bundle", tmp_path, tmp_path / "o", config)


def bundle_of_network(folder, seed, **sizes):
    from tests.training.conftest import tiny_network
    from training.export import write_bundle

    network = tiny_network(seed, **sizes)
    write_bundle(network.state_dict(), network.config, folder, ExportConfig(tolerance=1e-2))
    return folder


def with_one_model_for_volumes(bundle, folder):
    shutil.copytree(bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    content["routing"]["3D"] = "general"
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def test_another_model_is_adopted_where_it_wins_with_its_own_regions(
    general, full_store, tmp_path, monkeypatch
):
    from training import experts

    other, asked = bundle_of_network(tmp_path / "other", 2, region_size=16), []

    def validated(segmenter, cases, with_nsd):
        asked.append({c.info.dims for c in cases})
        dsc = 0.5 + 0.1 * len(asked)
        return [row(dsc, c.info.group, c.info.modality, "2D") for c in cases]

    monkeypatch.setattr(experts, "validate", validated)
    pictures = with_one_model_for_volumes(general / "bundle", tmp_path / "pictures")
    for least, won in ((2, True), (9, False)):
        out = tmp_path / f"out-{least}"
        config = AdoptConfig(name="seen", least_groups=least)
        verdicts = experts.adopt(full_store, pictures, other, out, config)
        assert [(v.modality, v.kept) for v in verdicts] == [("Ultrasound", won)]
        assert len(json.loads((out / "bundle.json").read_text())["experts"]) == 1
        bundle = read_bundle(out)
        bundle.verify()
        assert ("Ultrasound" in bundle.routing) == won == (out / "seen-decoder.onnx").exists()
        if won:
            spec, before = (bundle.models[n] for n in (bundle.routing["Ultrasound"], "general"))
            assert (spec.region.side, before.region.side) == (16, 32)
            assert replace(spec, encoder="", decoder="", region=None) == replace(
                before, encoder="", decoder="", region=None
            )
    assert asked == [{"2D"}] * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out-2", "out-9", "pictures"]


def test_a_bundle_without_a_general_model_of_regions_is_not_adopted(general, full_store, tmp_path):
    from training.experts import adopt

    other = tmp_path / "other"
    other.mkdir()
    content = json.loads((general / "bundle" / "bundle.json").read_text())
    content["models"] = {"sam": content["models"]["general"]}
    (other / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(
        TrainingError, match="other: expected a model general of regions, found sam"
    ):
        adopt(full_store, general / "bundle", other, tmp_path / "out", AdoptConfig())
    assert not (tmp_path / "out").exists()


def test_volumes_are_judged_too_where_the_routing_would_change_them(
    general, full_store, tmp_path, monkeypatch
):
    from training import experts

    asked = []

    def validated(segmenter, cases, with_nsd):
        asked.append({c.info.dims for c in cases})
        return [row(0.5, c.info.group, c.info.modality, c.info.dims) for c in cases]

    monkeypatch.setattr(experts, "validate", validated)
    other = bundle_of_network(tmp_path / "other", 2)
    experts.adopt(full_store, general / "bundle", other, tmp_path / "out", AdoptConfig())
    assert asked == [{"2D", "3D"}] * 2


def test_a_second_adoption_replaces_nothing(general, tmp_path):
    from training.experts import compose

    first, second = (bundle_of_network(tmp_path / f"n{seed}", seed) for seed in (2, 3))
    content = json.loads((general / "bundle" / "bundle.json").read_text())
    compose(general / "bundle", {"plain": first}, {"plain": ["Fundus"]}, tmp_path / "one")
    (tmp_path / "one" / "bundle.json").write_text(
        json.dumps({**json.loads((tmp_path / "one" / "bundle.json").read_text()), "cost": 1})
    )
    compose(tmp_path / "one", {"plain": second}, {"plain": ["MR", "Fundus"]}, tmp_path / "two")
    one, two = read_bundle(tmp_path / "one"), read_bundle(tmp_path / "two")
    two.verify()
    for file, digest in one.sha256.items():
        assert two.sha256[file] == digest
    assert {n: two.models[n] for n in one.models} == dict(one.models)
    answering = {m: two.sha256[two.models[two.model_for(m)].decoder] for m in ("Fundus", "MR")}
    assert set(answering.values()) == {read_bundle(second).sha256["decoder.onnx"]}
    assert "cost" not in json.loads((tmp_path / "two" / "bundle.json").read_text())
    assert content == json.loads((general / "bundle" / "bundle.json").read_text())


def test_a_model_that_sees_pictures_otherwise_is_not_adopted(general, tmp_path):
    from training.experts import compose

    other = bundle_of_network(tmp_path / "other", 2, input_size=128)
    with pytest.raises(TrainingError, match="other: input_size: expected 64, found 128"):
        compose(general / "bundle", {"x": other}, {"x": ["MR"]}, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def test_graphs_of_two_files_are_refused(general, tmp_path):
    from training.bundle_record import add_graph
    from training.errors import RecordError

    with pytest.raises(RecordError, match=r"decoder\.xml: expected an ONNX graph"):
        add_graph(tmp_path, "decoder.xml", general / "bundle", "x")
