"""Graphs on their way, and OpenVINO's C library against its Python package."""

import io
import shutil

import numpy as np
import pytest

import inference.bundle
from inference import openvino_library
from inference.bundle import GraphKey
from inference.bundle_file import read_bundle
from inference.engine import AS_OPEN, EngineSettings, compile_graph
from inference.errors import EngineError
from inference.library_graph import LibraryGraph, import_graph
from inference.loading import GraphLoader
from inference.openvino_engine import OpenVinoGraph
from inference.openvino_library import library_version
from inference.rules import VolumeRegionRule
from inference.segment import Segmenter
from tests.inference.builders import spec_of, write_bundle

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
BOXES = [[1, 2, 9, 12], [4, 0, 15, 15]]


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "bundle")


# --- loading ------------------------------------------------------------------------------------


def test_graphs_loaded_ahead_draw_the_same_masks(folder, tmp_path):
    expected = inference.load(folder, threads=1).segment(IMAGE, BOXES)
    settings = EngineSettings(threads=1, cache_dir=tmp_path / "cache")
    for _ in range(2):  # compiled by the loader, then found compiled
        bundle = read_bundle(folder)
        loader = GraphLoader(bundle, settings)
        loader.start("CT")
        assert np.array_equal(Segmenter(bundle, settings, loader).segment(IMAGE, BOXES), expected)


def test_what_nobody_started_is_not_waited_for(folder):
    loader = GraphLoader(read_bundle(folder), EngineSettings(threads=1))
    assert loader.take(GraphKey("encoder.onnx", 1)) is None


def test_a_graph_that_does_not_load_is_told_where_it_is_needed(folder):
    (folder / "decoder.onnx").write_bytes(b"no graph")
    loader = GraphLoader(read_bundle(folder), EngineSettings(threads=1))
    loader.start("CT")
    assert loader.take(GraphKey("encoder.onnx", 1)) is not None
    with pytest.raises(EngineError, match="decoder.onnx: .* refuses the graph"):
        loader.take(GraphKey("decoder.onnx", 1))


def test_where_volumes_have_a_model_of_their_own_the_name_says_which_decoder(folder):
    first = read_bundle(folder)
    (name,) = set(first.routing.values())
    models = dict(first.models) | {"other": spec_of(boxes_at_once=2)}
    bundle = type(first)(
        first.folder, "b", "1", models, {"default": name, "3D": "other"}, first.sha256
    )
    loader = GraphLoader(bundle, EngineSettings(threads=1))
    loader.start("CT")
    assert loader.take(GraphKey("encoder.onnx", 1)) is not None  # which both need
    assert (
        loader.take(GraphKey("decoder.onnx", 1)) is None
        and loader.take(GraphKey("decoder.onnx", 2)) is None
    )
    loader = GraphLoader(bundle, EngineSettings(threads=1))
    loader.start("CT", "3D")
    assert loader.take(GraphKey("decoder.onnx", 1)) is None
    assert loader.take(GraphKey("decoder.onnx", 2)) is not None


def test_further_graphs_are_begun_later_and_none_twice(folder, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        "inference.loading.compile_graph", lambda _, file, __, batch: loaded.append((file, batch))
    )
    loader = GraphLoader(read_bundle(folder), EngineSettings(threads=1))
    loader.begin([GraphKey("encoder.onnx")])
    loader.take(GraphKey("encoder.onnx", 1))
    for _ in range(2):
        loader.begin([GraphKey("encoder.onnx"), GraphKey("decoder.onnx", AS_OPEN)])
        loader.take(GraphKey("decoder.onnx", AS_OPEN))
    assert loaded == [("encoder.onnx", 1), ("decoder.onnx", AS_OPEN)]


WHOLE = VolumeRegionRule("volume.onnx", (4, 8, 8), 0.2, 0.2)
"""Boxes of volumes answered whole, by a graph of their own."""


@pytest.mark.parametrize(
    ("dims", "loaded"),
    [("3D", {"volume.onnx"}), ("2D", {"encoder.onnx", "decoder.onnx"}), (None, set())],
)
def test_only_what_the_first_case_needs_is_loaded_ahead(tmp_path, dims, loaded):
    bundle = read_bundle(write_bundle(tmp_path / "bundle", spec_of(volume_region=WHOLE)))
    loader = GraphLoader(bundle, EngineSettings(threads=1))
    loader.start("CT", dims)
    taken = {file for file in bundle.sha256 if loader.take(GraphKey(file)) is not None}
    assert taken == loaded


def test_a_wrong_guess_changes_no_mask(tmp_path):
    bundle = read_bundle(write_bundle(tmp_path / "bundle", spec_of(volume_region=WHOLE)))
    settings, volume = EngineSettings(threads=1), np.full((5, 16, 16), 200, np.uint8)
    box = [[1, 2, 1, 9, 12, 3]]
    expected = np.zeros(volume.shape)
    expected[1:4, 2:13, 1:10] = 1
    for dims in ("2D", "3D", None):
        loader = GraphLoader(bundle, settings)
        loader.start("CT", dims)
        labels = Segmenter(bundle, settings, loader).segment_volume(volume, box)
        assert np.array_equal(labels, expected)


# --- the C library ------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_the_library_gives_the_numbers_of_the_package(folder, tmp_path, precision):
    settings = EngineSettings(precision=precision, threads=1, cache_dir=tmp_path)
    bundle = read_bundle(inference.bundle.DEFAULT_BUNDLE)
    compiled = compile_graph(bundle, "encoder.onnx", settings)
    loaded = compile_graph(bundle, "encoder.onnx", settings)
    assert isinstance(compiled, OpenVinoGraph) and isinstance(loaded, LibraryGraph)
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 256, 256)).astype(np.float32)
    first = loaded.run({"image": image})[0]
    assert np.array_equal(first, compiled.run({"image": image})[0])
    again = loaded.run({"image": image[:, ::-1]})[0]  # not in order in memory
    assert np.array_equal(again, compiled.run({"image": image[:, ::-1]})[0])
    assert not np.array_equal(first, again)  # and in memory of its own


def test_a_graph_that_gives_what_it_was_given_gives_the_rest_right_too():
    """The library takes such an output for the input itself."""
    import openvino
    from openvino import opset8 as ops

    x = ops.parameter([1, 3, 16, 16], np.float32, name="image")
    twice = ops.multiply(x, ops.constant(np.float32(2)))
    model = openvino.Model([ops.result(x), ops.result(twice)], [x])
    x.output(0).set_names({"image"})
    twice.output(0).set_names({"twice"})
    content = io.BytesIO()
    openvino.Core().compile_model(model, "CPU").export_model(content)
    graph = import_graph(bytearray(content.getvalue()), 0, {})
    for seed in (0, 1):
        image = np.random.default_rng(seed).uniform(0, 255, (1, 3, 16, 16)).astype(np.float32)
        given = image.copy()
        same, double = graph.run({"image": given})
        assert np.array_equal(same, image) and not np.shares_memory(same, given)
        assert np.array_equal(double, 2 * image) and np.array_equal(given, image)


def test_the_library_names_the_package_s_version():
    import openvino

    assert library_version() == openvino.get_version()


def test_what_is_no_compiled_graph_is_refused_with_a_reason():
    with pytest.raises(EngineError, match="openvino: status -"):
        import_graph(bytearray(b"no compiled graph" * 100), 7, {})


def test_without_the_library_the_package_does_it(folder, tmp_path, monkeypatch):
    expected = inference.load(folder, threads=1).segment(IMAGE, BOXES)
    openvino_library.load_library.cache_clear()
    monkeypatch.setattr(openvino_library.importlib.util, "find_spec", lambda name: None)
    try:
        segmenter = inference.load(folder, threads=1, cache_dir=tmp_path / "cache")
        assert np.array_equal(segmenter.segment(IMAGE, BOXES), expected)
        assert not (tmp_path / "cache").exists()
    finally:
        openvino_library.load_library.cache_clear()


def test_a_mapped_graph_outlives_its_file(folder, tmp_path):
    cache = tmp_path / "cache"
    expected = inference.load(folder, threads=1, cache_dir=cache).segment(IMAGE, BOXES)
    segmenter = inference.load(folder, threads=1, cache_dir=cache)
    segmenter.model().compile()
    shutil.rmtree(cache)
    assert np.array_equal(segmenter.segment(IMAGE, BOXES), expected)
