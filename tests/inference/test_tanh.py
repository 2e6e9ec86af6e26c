"""Tanh by the logistic function: the same numbers, in large steps only, on slow processors only."""

import numpy as np
import openvino
import pytest
from openvino import opset8 as ops

from inference import tanh
from inference.bundle import DEFAULT_BUNDLE
from inference.engine import EngineSettings, compile_graph
from tests.inference.builders import bundle_of, spec_of

LARGE, SMALL = [1, 16, 256, 256], [1, 15, 256, 256]


def decomposed(x):
    """GELU's tanh form as torch's exporter writes it to ONNX."""

    def number(value):
        return ops.constant(np.array(value, np.float32))

    cube = ops.multiply(x, ops.multiply(x, x))
    z = ops.multiply(number(np.sqrt(2 / np.pi)), ops.add(x, ops.multiply(number(0.044715), cube)))
    return ops.multiply(ops.multiply(number(0.5), x), ops.add(number(1), ops.tanh(z)))


FORMS = {
    "tanh": (ops.tanh, np.tanh),
    "gelu": (lambda x: ops.gelu(x, "tanh"), None),
    "decomposed": (decomposed, None),
}


def expected_of(form, x):
    wide = x.astype(np.float64)
    if form == "tanh":
        return np.tanh(wide)
    return wide / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))


def model_of(form, shape):
    x = ops.parameter(shape, np.float32, name="x")
    node = FORMS[form][0](x)
    node.output(0).set_names({"y"})
    return openvino.Model([node], [x])


def kinds(model):
    return {node.get_type_name() for node in model.get_ops()}


@pytest.fixture
def values():
    """Every size of number, both signs, and what overflows in single steps."""
    sizes = 10 ** np.random.default_rng(0).uniform(-6, 1.5, LARGE)
    x = (sizes * np.random.default_rng(1).choice([-1, 1], LARGE)).astype(np.float32)
    x.flat[:6] = 0, -0.0, 1e6, -1e6, 88, -88
    return x


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_stay(form, values):
    model = model_of(form, LARGE)
    assert tanh.rewrite(model) == 1
    assert not kinds(model) & {"Tanh", "Gelu"} and "Sigmoid" in kinds(model)
    assert model.outputs[0].get_names() == {"y"}
    config = {"INFERENCE_PRECISION_HINT": "f32", "SNIPPETS_MODE": "ENABLE"}
    found = openvino.Core().compile_model(model, "CPU", config)(values)[0]
    expected = expected_of(form, values)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("form", FORMS)
def test_small_steps_stay(form):
    model = model_of(form, SMALL)
    before = kinds(model)
    assert tanh.rewrite(model) == 0 and kinds(model) == before


def test_other_steps_stay():
    x = ops.parameter(LARGE, np.float32)
    dynamic = ops.parameter(openvino.PartialShape([1, -1, 256, 256]), np.float32)
    model = openvino.Model([ops.gelu(x, "erf"), ops.sigmoid(x), ops.tanh(dynamic)], [x, dynamic])
    assert tanh.rewrite(model) == 0


@pytest.mark.parametrize(
    ("words", "is_slow"),
    [
        ("model name : AMD EPYC\nflags : fpu avx2 fma", True),
        ("model name : AMD EPYC\nflags : fpu avx2 fma avx512f avx512_bf16", False),
        ("CPU part : 0xd40\nFeatures : asimd sve", False),
    ],
)
def test_which_processors_are_slow(words, is_slow, monkeypatch):
    monkeypatch.setattr(tanh, "processor", lambda: words)
    assert tanh.is_slow() is is_slow


@pytest.mark.parametrize(("is_slow", "precision", "count"), [
    (True, "f32", 1), (False, "f32", 0), (True, "bf16", 0),
])  # fmt: skip
def test_the_engine_rewrites_in_f32_on_slow_processors_and_keeps_one_kernel(
    is_slow, precision, count, tmp_path, monkeypatch, values
):
    openvino.save_model(model_of("decomposed", LARGE), tmp_path / "encoder.xml", False)
    monkeypatch.setattr(tanh, "is_slow", lambda: is_slow)
    made = []
    compiled = openvino.Core.compile_model

    def compile_model(core, model, device, config):
        made.append((sum(n.get_type_name() == "Sigmoid" for n in model.get_ops()), config))
        return compiled(core, model, device, config)

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    content = bundle_of(spec_of(encoder="encoder.xml"), tmp_path)
    settings = EngineSettings("openvino", precision, 1, tmp_path / "cache")
    first = compile_graph(content, "encoder.xml", settings).run({"x": values})[0]
    kept = compile_graph(content, "encoder.xml", settings).run({"x": values})[0]
    ((sigmoids, config),) = made  # the second was opened, not compiled
    assert sigmoids == count
    assert config["SNIPPETS_MODE"] == ("ENABLE" if count else "DISABLE")
    assert np.array_equal(first, kept)
    close = 3e-6 if precision == "f32" else 3e-2
    np.testing.assert_allclose(first, expected_of("gelu", values), rtol=close, atol=close)


def test_the_model_that_ships_has_none():
    for file in DEFAULT_BUNDLE.glob("*.onnx"):
        assert not kinds(openvino.Core().read_model(file)) & {"Tanh", "Gelu"}
