"""Weights of sixteen bits: what is stored is what torch computes with, and nothing else changes."""

import copy

import numpy as np
import pytest

from tests.training.conftest import TINY, answers_of, tiny_network
from training.recipe import ExportConfig, ModelConfig

NETWORK = ModelConfig(**TINY)

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")


@pytest.fixture
def network():
    """A small network whose batch norms have seen something."""
    return tiny_network(5)


def test_folding_changes_no_answer_and_leaves_no_batch_norm(network):
    from training.half_weights import fold_batch_norms

    before = answers_of(network)
    fold_batch_norms(network)
    after = answers_of(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    for old, new in zip(before[1:], after[1:], strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5 * float(old.abs().max()))


def test_rounding_moves_large_tensors_to_half_numbers_and_leaves_the_others(network):
    from training.half_weights import STORED_WHOLE, fold_batch_norms, round_to_half

    fold_batch_norms(network)
    before = copy.deepcopy(network.state_dict())
    round_to_half(network)
    moved = 0
    for name, value in network.named_parameters():
        if value.numel() >= STORED_WHOLE:
            assert torch.equal(value, value.half().float())
            moved += not torch.equal(value, before[name])
        else:
            assert torch.equal(value, before[name])
    assert moved


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_bundle_of_half_weights_weighs_half_and_is_checked_against_the_rounded_network(
    network, tmp_path, format
):
    from training.export import run_graph, write_bundle

    sizes, logits = {}, {}
    for weights in ("f32", "f16"):
        folder = tmp_path / weights
        config = ExportConfig(weights=weights, format=format)
        rounded = write_bundle(network.state_dict(), NETWORK, folder, config)
        image, embedding, expected = answers_of(rounded)
        files = [p for p in folder.iterdir() if p.suffix in (".onnx", ".bin")]
        sizes[weights] = sum(p.stat().st_size for p in files)
        suffix = ".onnx" if format == "onnx" else ".xml"
        found = run_graph(folder / f"encoder{suffix}", {"image": image.numpy()})
        scale = float(embedding.abs().max())
        np.testing.assert_allclose(found, embedding.numpy(), atol=1e-4 * scale)
        logits[weights] = expected.numpy()
    assert sizes["f16"] < 0.6 * sizes["f32"]
    assert np.abs(logits["f16"] - logits["f32"]).max() > 0  # rounding is not a word only


def test_only_weights_are_stored_in_sixteen_bits(network, tmp_path):
    from training.export import write_bundle
    from training.half_weights import STORED_WHOLE

    write_bundle(network.state_dict(), NETWORK, tmp_path / "b", ExportConfig())
    for name in ("encoder", "decoder"):
        graph = onnx.load(tmp_path / "b" / f"{name}.onnx").graph
        kinds = {t.data_type for t in graph.initializer if np.prod(t.dims) >= STORED_WHOLE}
        assert onnx.TensorProto.FLOAT16 in kinds and onnx.TensorProto.FLOAT not in kinds
        small = [t for t in graph.initializer if 0 < np.prod(t.dims) < STORED_WHOLE]
        assert not any(t.data_type == onnx.TensorProto.FLOAT16 for t in small)
        onnx.checker.check_model(onnx.load(tmp_path / "b" / f"{name}.onnx"))


def test_whole_weights_again_give_the_same_answers(network, tmp_path):
    from training.export import run_graph, write_bundle
    from training.half_weights import store_whole

    rounded = write_bundle(network.state_dict(), NETWORK, tmp_path / "b", ExportConfig())
    path = tmp_path / "b" / "encoder.onnx"
    image, _, _ = answers_of(rounded)
    before, small = run_graph(path, {"image": image.numpy()}), path.stat().st_size
    store_whole(path)
    assert path.stat().st_size > 1.8 * small
    graph = onnx.load(path).graph
    weights = {t.name: t.data_type for t in graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in weights.values()
    assert not any(n.op_type == "Cast" and n.input[0] in weights for n in graph.node)
    np.testing.assert_array_equal(run_graph(path, {"image": image.numpy()}), before)
