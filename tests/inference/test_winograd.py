"""Winograd's convolutions: the same numbers as convolving, where they are used and where not."""

import numpy as np
import openvino
import pytest
from openvino import opset8 as ops

import inference.winograd
from inference.engine import EngineSettings, compile_graph
from inference.openvino_engine import read_graph
from inference.winograd import LEAST_CHANNELS, rewrite
from tests.inference.builders import bundle_of, spec_of


def convolution(picture, weights, pad=1, stride=1, dilation=1, same=False):
    both = [pad, pad]
    how = "SAME_UPPER" if same else "EXPLICIT"
    return ops.convolution(
        picture, weights, [stride, stride], both, both, [dilation, dilation], how
    )


def model_of(shape, filters, rng, halves=False, **options):
    """A model of one convolution, and its weights as float32."""
    weights = rng.normal(size=filters).astype(np.float16 if halves else np.float32)
    picture = ops.parameter(shape, np.float32, name="picture")
    stored = ops.constant(weights)
    node = convolution(picture, ops.convert(stored, "f32") if halves else stored, **options)
    node.output(0).set_names({"embedding"})
    return openvino.Model([node], [picture]), weights.astype(np.float32)


def answers(model, picture):
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    return openvino.Core().compile_model(model, "CPU", config)(picture)[0]


def convolved(picture, weights):
    """Cross-correlation with one pixel of zeros around, from its definition, in float64."""
    padded = np.pad(picture[0].astype(np.float64), [(0, 0), (1, 1), (1, 1)])
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))  # (C, H, W, 3, 3)
    return np.einsum("chwij,ocij->ohw", around, weights.astype(np.float64), optimize=True)[None]


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (64, 16), (28, 40)])
def test_the_numbers_are_those_of_a_convolution(size, halves):
    rng = np.random.default_rng(0)
    model, weights = model_of([1, 128, *size], (136, 128, 3, 3), rng, halves)
    picture = rng.normal(size=(1, 128, *size)).astype(np.float32)
    assert rewrite(model) == 1
    assert "Convolution" not in [node.get_type_name() for node in model.get_ops()]
    assert model.outputs[0].get_names() == {"embedding"}
    found, expected = answers(model, picture), convolved(picture, weights)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


def test_zeros_lie_outside_the_picture_and_only_there():
    """Ones convolved with ones count the pixels of the picture under the filter."""
    picture = ops.parameter([1, 128, 32, 32], np.float32)
    ones = ops.constant(np.ones((128, 128, 3, 3), np.float32))
    model = openvino.Model([convolution(picture, ones)], [picture])
    assert rewrite(model) == 1
    found = answers(model, np.ones((1, 128, 32, 32), np.float32))[0, 0]
    beside = np.full(32, 3.0)
    beside[[0, -1]] = 2
    np.testing.assert_allclose(found, 128 * np.outer(beside, beside), rtol=1e-5)


def test_a_chain_is_rewritten_and_steps_between_stay():
    rng = np.random.default_rng(1)
    picture = ops.parameter([1, 128, 32, 32], np.float32)
    filters = [(rng.normal(size=(128, 128, 3, 3)) / 34).astype(np.float32) for _ in range(2)]
    bias = rng.normal(size=(1, 128, 1, 1)).astype(np.float32)
    first = ops.relu(ops.add(convolution(picture, ops.constant(filters[0])), ops.constant(bias)))
    model = openvino.Model(
        [ops.add(convolution(first, ops.constant(filters[1])), picture)], [picture]
    )
    given = rng.normal(size=(1, 128, 32, 32)).astype(np.float32)
    inner = np.maximum(convolved(given, filters[0]) + bias, 0)
    assert rewrite(model) == 2
    np.testing.assert_allclose(
        answers(model, given), convolved(inner, filters[1]) + given, atol=1e-4
    )


@pytest.mark.parametrize(
    ("shape", "filters", "options"),
    [
        ([1, 127, 32, 32], (128, 127, 3, 3), {}),
        ([1, 128, 32, 32], (127, 128, 3, 3), {}),
        ([1, 128, 16, 32], (128, 128, 3, 3), {}),
        ([1, 128, 33, 32], (128, 128, 3, 3), {}),
        ([2, 128, 32, 32], (128, 128, 3, 3), {}),
        ([1, 128, 64, 64], (128, 128, 3, 3), {"stride": 2}),
        ([1, 128, 32, 32], (128, 128, 3, 3), {"dilation": 2, "pad": 2}),
        ([1, 128, 32, 32], (128, 128, 3, 3), {"pad": 0}),
        ([1, 128, 32, 32], (128, 128, 1, 1), {"pad": 0}),
        ([1, 128, 32, 32], (128, 128, 5, 5), {"pad": 2}),
        ([1, 128, "?", 32], (128, 128, 3, 3), {}),
        ([1, 128, 32, 32], (128, 128, 3, 3), {"pad": 0, "stride": 2, "same": True}),
    ],
)
def test_other_convolutions_stay(shape, filters, options):
    fixed = openvino.PartialShape([-1 if n == "?" else n for n in shape])
    model, _ = model_of(fixed, filters, np.random.default_rng(2), **options)
    assert rewrite(model) == 0
    assert "Convolution" in [node.get_type_name() for node in model.get_ops()]


def test_one_that_pads_by_itself_is_rewritten():
    rng = np.random.default_rng(3)
    model, weights = model_of([1, 128, 32, 32], (128, 128, 3, 3), rng, pad=0, same=True)
    picture = rng.normal(size=(1, 128, 32, 32)).astype(np.float32)
    assert rewrite(model) == 1
    expected = convolved(picture, weights)
    np.testing.assert_allclose(
        answers(model, picture), expected, rtol=0, atol=3e-5 * np.abs(expected).max()
    )


def test_weights_that_are_no_constant_or_integers_stay():
    picture = ops.parameter([1, 128, 32, 32], np.float32)
    weights = ops.parameter([128, 128, 3, 3], np.float32)
    assert rewrite(openvino.Model([convolution(picture, weights)], [picture, weights])) == 0
    integers = ops.convert(ops.constant(np.ones((128, 128, 3, 3), np.int8)), "f32")
    assert rewrite(openvino.Model([convolution(picture, integers)], [picture])) == 0


def test_a_graph_that_computes_in_16_bits_stays():
    picture = ops.parameter([1, 128, 32, 32], np.float16)
    weights = ops.constant(np.ones((128, 128, 3, 3), np.float16))
    assert rewrite(openvino.Model([convolution(picture, weights)], [picture])) == 0


@pytest.fixture
def bundle(tmp_path):
    """A bundle with one such encoder as OpenVINO's own format; the model and its weights."""
    model, weights = model_of([1, 128, 32, 32], (128, 128, 3, 3), np.random.default_rng(4))
    openvino.save_model(model, tmp_path / "encoder.xml", compress_to_fp16=False)
    return bundle_of(spec_of(encoder="encoder.xml"), tmp_path), weights


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_the_engine_rewrites_in_f32_alone_and_keeps_what_it_compiled(
    bundle, precision, tmp_path, monkeypatch
):
    counts = []

    def counted(model):
        counts.append(rewrite(model))
        return counts[-1]

    monkeypatch.setattr(inference.winograd, "rewrite", counted)
    content, weights = bundle
    settings = EngineSettings("openvino", precision, 1, tmp_path / "cache")
    picture = np.random.default_rng(5).normal(size=(1, 128, 32, 32)).astype(np.float32)
    first = compile_graph(content, "encoder.xml", settings).run({"picture": picture})[0]
    again = compile_graph(content, "encoder.xml", settings).run({"picture": picture})[0]
    assert counts == ([1] if precision == "f32" else [])
    expected = convolved(picture, weights)
    close = 3e-5 if precision == "f32" else 3e-2
    np.testing.assert_allclose(first, expected, rtol=0, atol=close * np.abs(expected).max())
    assert np.array_equal(first, again)


def test_the_model_that_ships_is_left_as_it_is():
    from inference.bundle import DEFAULT_BUNDLE

    for file in DEFAULT_BUNDLE.glob("*.onnx"):
        model = read_graph(openvino.Core(), file, 1)
        assert rewrite(model) == 0, f"{file}: its blobs and figures change with {LEAST_CHANNELS=}"
