"""A run of the network that answers whole boxes, and its way into a bundle."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import inference
from inference.bundle_file import read_bundle
from tests.training.conftest import TINY_VOLUMES
from training.errors import CheckpointError
from training.recipe import (
    DeviceConfig,
    ExportConfig,
    VolumeExportConfig,
    VolumeModelConfig,
    VolumesConfig,
)

SHORT = VolumesConfig(
    steps=4,
    images_per_step=2,
    warmup_steps=2,
    log_every=2,
    checkpoint_every=2,
    model=VolumeModelConfig(**TINY_VOLUMES),
    device=DeviceConfig(device="cpu", threads=1, workers=0),
)


def run(store, folder, config=SHORT, **options):
    import torch

    from training.finetune_volumes import finetune_volumes

    return torch.load(finetune_volumes(store, folder, config, **options), weights_only=True)


def same(first, second, part):
    import torch

    return all(torch.equal(v, second[part][k]) for k, v in first[part].items())


@pytest.fixture(scope="module")
def whole(full_store, tmp_path_factory):
    """A run without interruption, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(full_store, folder), folder


def test_a_run_that_was_stopped_ends_with_the_same_weights(
    whole, full_store, tmp_path, monkeypatch
):
    from training.optimisation import Run

    advance = Run.advance

    def cut(self, spread, batch, number):
        if number == 3:
            raise KeyboardInterrupt
        return advance(self, spread, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "advance", cut)
        with pytest.raises(KeyboardInterrupt):
            run(full_store, tmp_path)
    gone_on = run(full_store, tmp_path)
    assert same(whole[0], gone_on, "model") and same(whole[0], gone_on, "average")


def test_it_learns_what_is_bright(full_store, tmp_path):
    config = replace(SHORT, steps=40, images_per_step=4, warmup_steps=5, log_every=10, rate=5e-3)
    run(full_store, tmp_path, config)
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert losses[-1] < 0.7 * losses[0]


def test_mixed_precision_trains(full_store, tmp_path):
    config = replace(SHORT, device=replace(SHORT.device, precision="bf16"))
    state = run(full_store, tmp_path, config)
    assert not [k for k, v in state["average"].items() if not v.isfinite().all()]


def test_a_run_may_begin_with_another_s_weights_but_not_with_another_network_s(
    whole, full_store, tmp_path
):
    last = whole[1] / "last.pt"
    fresh, begun = (
        run(full_store, tmp_path / name, replace(SHORT, steps=1), start_from=start)
        for name, start in (("fresh", None), ("begun", last))
    )
    assert not same(fresh, begun, "model")
    other = replace(SHORT, model=replace(SHORT.model, stem=4))
    with pytest.raises(CheckpointError, match="expected this network"):
        run(full_store, tmp_path / "b", other, start_from=last)


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
    """The shipped bundle with the run's network beside its graphs."""
    pytest.importorskip("onnx")
    from training.export_volumes import export_volumes

    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export_volumes(
        whole[1], inference.bundle.DEFAULT_BUNDLE, folder, VolumeExportConfig(threshold=-0.25)
    )
    return folder


def test_every_model_of_the_bundle_then_answers_volumes_by_the_network(exported):
    bundle, before = read_bundle(exported), read_bundle(inference.bundle.DEFAULT_BUNDLE)
    bundle.verify()
    assert set(bundle.sha256) == {*before.sha256, "volume.onnx"}
    for name, spec in bundle.models.items():
        assert spec.volume_region is not None
        assert (spec.volume_region.grid, spec.volume_region.threshold) == ((8, 16, 16), -0.25)
        pictures = replace(before.models[name], volume_region=None, overlap="higher-logit")
        assert replace(spec, volume_region=None) == pictures
    content = json.loads((exported / "bundle.json").read_text())
    assert content["version"] == VolumeExportConfig().version
    assert not {"accuracy", "cost", "precision_costs"} & set(content)  # of another bundle
    record = content["volume_training"]
    assert record["steps_done"] == 4 and record["config"]["model"]["stem"] == 8


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_graph_gives_torchs_numbers(exported, whole, engine):
    import torch

    from training.export_volumes import random_region
    from training.finetune_volumes import volume_rule
    from training.volume_model import VolumeNetwork

    network = VolumeNetwork(SHORT.model).eval()
    network.load_state_dict(whole[0]["average"])
    asked = random_region(volume_rule(SHORT.model))
    with torch.no_grad():
        expected = network(**asked).numpy()
    graph = inference.load(exported, engine, threads=1).model(is_volume=True).volume_graph
    found = graph.run({k: v.numpy() for k, v in asked.items()})[0]
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())  # halves


def test_a_volume_is_answered(exported):
    volume = np.full((9, 40, 40), 30, np.uint8)
    volume[2:7, 10:30, 12:28] = 200
    labels = inference.load(exported, threads=1).segment_volume(volume, [[12, 10, 2, 27, 29, 6]])
    assert labels.shape == volume.shape and not labels[:2].any() and not labels[7:].any()


def rule_of(bundle):
    return bundle.models[bundle.routing["default"]].volume_region


def test_another_bundles_network_may_be_taken_over(exported, tmp_path):
    from training.export_volumes import export_volumes

    shipped = inference.bundle.DEFAULT_BUNDLE
    export_volumes(exported, shipped, tmp_path / "out", VolumeExportConfig(threshold=0.5))
    found, source = read_bundle(tmp_path / "out"), read_bundle(exported)
    found.verify()
    assert found.sha256 == source.sha256
    assert rule_of(found) == replace(rule_of(source), threshold=0.5)
    old, new = (
        json.loads((f / "bundle.json").read_text())["volume_training"]
        for f in (exported, tmp_path / "out")
    )
    assert old == new


def test_volumes_may_be_walked_by_another_bundles_model(exported, tmp_path):
    from tests.training.conftest import tiny_network
    from training.export import write_bundle
    from training.export_volumes import export_volumes

    for name, seed in (("pictures", 1), ("walks", 2)):
        network = tiny_network(seed)
        network.encoder.load_state_dict(tiny_network(1).encoder.state_dict())
        write_bundle(network.state_dict(), network.config, tmp_path / name, ExportConfig())
    export_volumes(exported, tmp_path / "pictures", tmp_path / "out", walks=tmp_path / "walks")
    made, walks = read_bundle(tmp_path / "out"), read_bundle(tmp_path / "walks")
    made.verify()
    assert set(made.sha256) == {"encoder.onnx", "decoder.onnx", "walk-decoder.onnx", "volume.onnx"}
    assert made.sha256["walk-decoder.onnx"] == walks.sha256["decoder.onnx"]
    spec = made.models[made.model_for("MR", is_volume=True)]
    assert (spec.encoder, spec.decoder) == ("encoder.onnx", "walk-decoder.onnx")
    assert spec.volume_region == rule_of(made)
    assert made.models[made.model_for("MR")].decoder == "decoder.onnx"


def without_rule(bundle, folder, rule):
    shutil.copytree(bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    for spec in content["models"].values():
        del spec[rule]
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def test_volumes_are_not_walked_by_a_model_of_whole_pictures(exported, tmp_path):
    from training.export_volumes import export_volumes

    whole = without_rule(exported, tmp_path / "whole", "region")
    with pytest.raises(CheckpointError, match="whole: expected a model of regions"):
        export_volumes(exported, exported, tmp_path / "out", walks=whole)
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]  # nothing half-written


def test_a_bundle_without_a_network_of_volumes_is_no_source(exported, tmp_path):
    from training.export_volumes import export_volumes

    bare = without_rule(exported, tmp_path / "bare", "volume_region")
    with pytest.raises(CheckpointError, match="expected a bundle with volume_region"):
        export_volumes(bare, exported, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["bare"]  # nothing half-written either


def test_a_bundle_has_no_checkpoints_to_choose_from(exported, tmp_path):
    from training.export_volumes import export_volumes

    with pytest.raises(CheckpointError, match="expected a run with --checkpoint, found a bundle"):
        export_volumes(exported, exported, tmp_path / "out", checkpoint=tmp_path / "last.pt")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    from training.export_volumes import export_volumes

    (tmp_path / "last.pt").touch()
    with pytest.raises(CheckpointError, match="expected a run's folder with config.toml"):
        export_volumes(tmp_path, inference.bundle.DEFAULT_BUNDLE, tmp_path / "out")
