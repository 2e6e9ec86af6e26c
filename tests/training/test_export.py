"""A checkpoint becomes a bundle that ``inference`` runs and that gives torch's numbers."""

import json

import numpy as np
import pytest

import inference
from inference.bundle_file import read_bundle
from tests.conftest import draw_objects
from tests.training.conftest import TINY, info_of
from training.errors import CheckpointError, TrainingError
from training.recipe import ExportConfig, FinetuneConfig, ModelConfig
from training.store import read_store


@pytest.fixture(scope="module")
def exported(full_store, tmp_path_factory):
    """A bundle of random weights, and the network it was made of."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from data_splits.split import write_split
    from training.configuration import write_config
    from training.export import export_bundle
    from training.model import PromptedSegmenter
    from training.recipe import FinetuneConfig

    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    model = PromptedSegmenter().eval()
    torch.save({"average": model.state_dict(), "step": 7}, folder / "last.pt")
    write_config(FinetuneConfig(steps=7), folder / "config.toml")
    lines = [{"step": s, "loss": 8.0 - s, "seconds": 2.0 * s} for s in range(1, 8)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_split(
        [info_of("a", "2D"), info_of("b", "3D"), info_of("c", "2D", "test")], folder / "s.csv"
    )
    (folder / "bundle").mkdir()
    (folder / "bundle" / "stale.onnx").touch()
    export_bundle(folder, folder / "bundle", folder / "s.csv", cases=read_store(full_store, "val"))
    return folder / "bundle", model


def test_the_bundle_is_whole_and_says_what_it_was_trained_on(exported):
    bundle = read_bundle(exported[0])
    bundle.verify()
    training = json.loads((exported[0] / "bundle.json").read_text())["training"]
    assert training["steps_done"] == 7 and training["config"]["steps"] == 7
    assert training["seconds"] == 14 and training["checkpoint"] == "last.pt"
    assert [source["cases"] for source in training["sources"]] == [1, 1]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_its_graphs_give_torchs_numbers(exported, engine):
    import torch

    folder, model = exported
    loaded = inference.load(folder, engine, threads=2).model()
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 256, 256)).astype(np.float32)
    asked = {
        "crops": np.random.default_rng(1).uniform(0, 1, (1, 4, 96, 96)).astype(np.float32),
        "regions": np.array([[20, 30, 120, 110]], np.float32),
        "boxes": np.array([[30, 40, 110, 100]], np.float32),
        "context": np.array([[1, 0.5]], np.float32),
    }
    with torch.no_grad():
        embedding = model.encoder(torch.from_numpy(image))
        logits = model.decoder(embedding, **{k: torch.from_numpy(v) for k, v in asked.items()})
    found = loaded.encoder.run({"image": image})[0]
    np.testing.assert_allclose(found, embedding, atol=1e-3 * float(embedding.abs().max()))
    found = loaded.decoder.run({"embedding": embedding.numpy(), **asked})[0]
    np.testing.assert_allclose(found, logits, atol=1e-3 * float(logits.abs().max()))


def test_it_keeps_the_log_and_the_configuration_of_its_run(exported):
    from training.configuration import read_config

    folder = exported[0]
    assert read_config(FinetuneConfig, folder / "training_config.toml") == FinetuneConfig(steps=7)
    lines = [json.loads(x) for x in (folder / "training_log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [7, 6, 5, 4, 3, 2, 1]
    assert not (folder / "stale.onnx").exists()
    assert [p for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def test_the_bundle_says_how_near_torch_it_is_on_real_cases(exported):
    numerics = json.loads((exported[0] / "bundle.json").read_text())["numerics"]
    assert (numerics["cases"], numerics["objects"]) == (5, 5)
    for engine in ("openvino", "onnxruntime"):
        assert 0 < numerics[engine]["largest_relative_difference"] < 1e-3
        assert numerics[engine]["pixels_changed"] < 1e-2


def test_other_weights_than_the_graphs_are_found_out(exported, full_store):
    import torch

    from training.model import PromptedSegmenter
    from training.numerics import compare

    torch.manual_seed(4)
    other = PromptedSegmenter().eval()
    with pytest.raises(TrainingError, match="expected torch's logits on real cases to 0.001"):
        compare(other, exported[0], read_store(full_store, "val")[:1], 1e-4)


def test_inference_runs_it(exported):
    image = draw_objects((50, 70, 3), [(10, 12, 45, 40)], 0)
    labels = inference.load(exported[0], threads=2).segment(image, [(10, 12, 45, 40)])
    assert labels.shape == (50, 70)


def test_the_measured_accuracy_is_recorded_beside_the_rest(exported):
    from training.bundle_record import record

    before = json.loads((exported[0] / "bundle.json").read_text())
    record(exported[0], "accuracy", {"2D": {"mean": {"dsc": 0.9}}})
    after = json.loads((exported[0] / "bundle.json").read_text())
    assert after == {**before, "accuracy": {"2D": {"mean": {"dsc": 0.9}}}}
    assert read_bundle(exported[0]).name == before["name"]


def test_a_graph_with_other_numbers_is_never_written_silently(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from training.export import export_graph

    class Restless(torch.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(RuntimeError, match="expected torch's numbers"):
        export_graph(Restless(), {"x": torch.ones(1, 2)}, tmp_path / "g.onnx", ["y"], ())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small run whose network has an IoU head; a folder with its best and its last checkpoint."""
    torch = pytest.importorskip("torch")
    from training.configuration import write_config
    from training.model import PromptedSegmenter

    folder = tmp_path_factory.mktemp("tiny")
    network = ModelConfig(**TINY, iou_head=True)
    torch.manual_seed(0)
    weights = PromptedSegmenter(network).state_dict()
    torch.save({"average": weights, "step": 9}, folder / "last.pt")
    torch.save({"average": weights, "step": 5}, folder / "best.pt")
    write_config(FinetuneConfig(model=network), folder / "config.toml")
    return folder


LOOSE = {"tolerance": 1e-2}


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_iou_head_leaves_the_graph_usable(tiny, tmp_path, kind):
    from training.export import export_bundle

    export_bundle(tiny, tmp_path / "b", config=ExportConfig(format=kind, **LOOSE))
    bundle = read_bundle(tmp_path / "b")
    bundle.verify()
    suffixes = {".onnx"} if kind == "onnx" else {".xml", ".bin"}
    assert {p.suffix for p in (tmp_path / "b").iterdir()} == {*suffixes, ".json", ".jsonl", ".toml"}
    image = draw_objects((50, 70, 3), [(10, 12, 45, 40)], 0)
    labels = inference.load(tmp_path / "b", threads=1).segment(image, [(10, 12, 45, 40)])
    assert labels.shape == (50, 70)


def test_the_best_weights_are_exported_unless_others_are_named(tiny, tmp_path):
    from training.export import export_bundle

    for checkpoint, steps in ((None, 5), (tiny / "last.pt", 9)):
        config = ExportConfig(**LOOSE)
        export_bundle(tiny, tmp_path / "b", config=config, checkpoint=checkpoint)
        training = json.loads((tmp_path / "b" / "bundle.json").read_text())["training"]
        assert training["steps_done"] == steps


def test_a_checkpoint_of_another_network_leaves_the_old_bundle(tiny, tmp_path):
    import torch

    from training.export import export_bundle

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bundle.json").write_text("old")
    torch.save({"average": {"x": torch.ones(1)}, "step": 1}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt: expected this network's weights"):
        export_bundle(tiny, tmp_path / "b", checkpoint=tmp_path / "x.pt")
    assert (tmp_path / "b" / "bundle.json").read_text() == "old"


def test_runs_of_the_first_version_are_still_exported(tiny, tmp_path):
    from training.export import run_config

    old = {"steps": 40, "images_per_step": 12, "threads": 2, "workers": 1, "seed": 5}
    (tmp_path / "config.json").write_text(json.dumps(old))
    found = run_config(tmp_path)
    assert (found.steps, found.seed, found.device.threads) == (40, 5, 2)
    with pytest.raises(CheckpointError, match=r"expected a run's folder with config\.toml"):
        run_config(tiny / "nowhere")


@pytest.mark.parametrize("spoil", ["a statistic", "a weight beyond sixteen bits"])
def test_what_is_no_number_is_not_exported(tmp_path, spoil):
    from tests.training.conftest import tiny_network
    from training.export import write_bundle

    network = tiny_network(0)
    weights = network.state_dict()
    if spoil == "a statistic":
        weights["decoder.stem.1.running_var"][0] = float("nan")
    else:
        weights["decoder.head.weight"][:] = 1e5
    with pytest.raises(RuntimeError, match="expected torch's numbers to .*, found nan"):
        write_bundle(weights, network.config, tmp_path / "bundle", ExportConfig())
    assert not (tmp_path / "bundle" / "bundle.json").exists()
