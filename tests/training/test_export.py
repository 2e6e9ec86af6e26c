"""A checkpoint becomes a bundle that ``inference`` runs and that gives torch's numbers."""

import json

import numpy as np
import pytest

import inference
from inference.bundle import read_bundle
from tests.conftest import draw_objects
from tests.training.conftest import info_of


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle of random weights, and the network it was made of."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from data_splits.split import write_split
    from training.export import export_bundle
    from training.finetune import REGION
    from training.model import ModelConfig, PromptedSegmenter

    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    model = PromptedSegmenter(ModelConfig(region_size=REGION.side)).eval()
    torch.save({"average": model.state_dict(), "step": 7}, folder / "last.pt")
    (folder / "config.json").write_text('{"steps": 7}')
    write_split(
        [info_of("a", "2D"), info_of("b", "3D"), info_of("c", "2D", "test")], folder / "s.csv"
    )
    export_bundle(folder, folder / "bundle", folder / "s.csv")
    return folder / "bundle", model


def test_the_bundle_is_whole_and_says_what_it_was_trained_on(exported):
    bundle = read_bundle(exported[0])
    bundle.verify()
    training = json.loads((exported[0] / "bundle.json").read_text())["training"]
    assert training["steps_done"] == 7 and training["config"] == {"steps": 7}
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
    found = loaded.encoder.run({"image": image})
    np.testing.assert_allclose(found, embedding, atol=1e-3 * float(embedding.abs().max()))
    found = loaded.decoder.run({"embedding": embedding.numpy(), **asked})
    np.testing.assert_allclose(found, logits, atol=1e-3 * float(logits.abs().max()))


def test_inference_runs_it(exported):
    image = draw_objects((50, 70, 3), [(10, 12, 45, 40)], 0)
    labels = inference.load(exported[0], threads=2).segment(image, [(10, 12, 45, 40)])
    assert labels.shape == (50, 70)


def test_the_measured_accuracy_is_recorded_beside_the_rest(exported):
    from training.export import record_accuracy

    before = json.loads((exported[0] / "bundle.json").read_text())
    record_accuracy(exported[0], {"2D": {"mean": {"dsc": 0.9}}})
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
        export_graph(Restless(), {"x": torch.ones(1, 2)}, tmp_path / "g.onnx", "y", ())
