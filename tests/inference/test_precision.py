"""Which arithmetic ``auto`` is: by processor, engine and the bundle's own record."""

import json

import numpy as np
import pytest

import inference
from inference import precision
from inference.errors import EngineError
from inference.precision import bf16_loss, has_bf16, is_fast_in_bf16, resolve_precision
from tests.inference.builders import write_bundle


def record(in_2d=0.001, in_3d=0.0, native=True):
    costs = {"2D": {"dsc": 0.9, "loss": in_2d}, "3D": {"dsc": 0.8, "loss": in_3d}}
    return {"precision_costs": {"cases": 9, "bf16_native": native, "bf16": costs}}


@pytest.fixture
def processor_with(monkeypatch):
    """A processor with these instructions."""

    def make(flags: str, name: str = "AMD EPYC") -> None:
        words = f"model name\t: {name}\nflags\t\t: {flags}"
        monkeypatch.setattr(precision, "processor", lambda: words)

    return make


@pytest.mark.parametrize(
    ("flags", "has_it"),
    [
        ("fpu avx512f avx512_bf16 avx512bw", True),
        ("amx_bf16 amx_tile", True),
        ("avx512f avx512bw", False),  # where OpenVINO takes bf16, and is no faster
        ("avx2", False),
        ("", False),
    ],
)
def test_a_processor_has_bf16_by_its_instructions(processor_with, flags, has_it):
    processor_with(flags)
    assert has_bf16() is has_it


@pytest.mark.parametrize(
    ("name", "flags", "is_fast"),
    [
        ("AMD EPYC 9B14", "avx512f avx512_bf16", True),
        ("Intel(R) Xeon(R) Platinum 8481C", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("Intel(R) Xeon(R) Platinum 8481C", "avx512f avx512_bf16", False),  # AMX hidden
        ("AMD EPYC 7B13", "avx2", False),
    ],
)
def test_not_every_processor_that_has_bf16_is_fast_in_it(processor_with, name, flags, is_fast):
    processor_with(flags, name)
    assert is_fast_in_bf16() is is_fast


@pytest.mark.parametrize(
    ("content", "loss"),
    [
        (record(), 0.001),
        (record(-0.001, 0.002), 0.002),
        (record(-0.001, -0.002), -0.001),
        (record(native=False), None),
        (record(native=1), None),
        ({}, None),
        ({"precision_costs": None}, None),
        ({"precision_costs": {"bf16_native": True}}, None),
        ({"precision_costs": {"bf16_native": True, "bf16": {}}}, None),
        ({"precision_costs": {"bf16_native": True, "bf16": {"2D": {"dsc": 0.9}}}}, None),
        ({"precision_costs": {"bf16_native": True, "bf16": {"2D": {"loss": "?"}}}}, None),
        ({"precision_costs": [1]}, None),
    ],
)
def test_the_loss_is_the_larger_one_and_unknown_where_the_record_does_not_say(content, loss):
    assert bf16_loss(content) == loss


def test_auto_is_bf16_where_processor_engine_and_record_agree(processor_with):
    processor_with("avx512_bf16")
    assert resolve_precision("auto", "openvino", record()) == "bf16"
    assert resolve_precision("auto", "openvino", record(0.003)) == "bf16"
    assert resolve_precision("auto", "openvino", record(0.0031)) == "f32"
    assert resolve_precision("auto", "openvino", record(0, 0.01)) == "f32"
    assert resolve_precision("auto", "openvino", {}) == "f32"
    assert resolve_precision("auto", "onnxruntime", record()) == "f32"
    processor_with("avx512f")
    assert resolve_precision("auto", "openvino", record()) == "f32"


@pytest.mark.parametrize("word", ["f32", "bf16"])
def test_what_is_asked_for_is_what_is_used(processor_with, word):
    for flags in ("avx512_bf16", "avx2"):
        processor_with(flags)
        for content in (record(), record(0.5), {}):
            assert resolve_precision(word, "openvino", content) == word


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_word_that_no_engine_knows_is_refused_not_taken_for_f32(tmp_path, engine):
    segmenter = inference.load(write_bundle(tmp_path / "b"), engine, "f23")
    with pytest.raises(EngineError, match="f23"):
        segmenter.segment(np.zeros((16, 16), np.uint8), [[1, 1, 9, 9]])


@pytest.mark.parametrize(("loss", "chosen"), [(0.0, "bf16"), (0.1, "f32")])
def test_a_bundle_is_loaded_with_what_its_record_allows(tmp_path, processor_with, loss, chosen):
    processor_with("avx512_bf16")
    folder = write_bundle(tmp_path / "b")
    content = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(content | record(loss)))
    assert inference.load(folder).settings.precision == chosen
    assert inference.load(folder, precision="f32").settings.precision == "f32"
    assert inference.load(folder, "onnxruntime").settings.precision == "f32"
