"""Engines: the same numbers from either, memory of one's own, and a cache that can only help."""

import hashlib
import json
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import inference
from inference import processor as processor_module
from inference.blob import cache_key, header
from inference.bundle_file import read_bundle
from inference.engine import AS_OPEN, EngineSettings, compile_graph
from inference.errors import EngineError
from inference.library_graph import LibraryGraph
from inference.processor import available_threads
from inference.segment import Segmenter
from tests.conftest import draw_objects
from tests.inference.builders import (
    bright_logits,
    bundle_of,
    spec_of,
    two_tensors_onnx,
    write_bundle,
)

ENGINES = pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
BOXES = [[1, 2, 9, 12], [4, 0, 15, 15], [7, 7, 7, 7]]


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "bundle")


def graph(folder, file, engine="openvino", batch=1, **changes):
    return compile_graph(
        read_bundle(folder), file, EngineSettings(engine, threads=1, **changes), batch
    )


# --- the numbers --------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("batch", [1, 3])
def test_a_graph_gives_the_numbers_worked_out_by_hand(folder, engine, batch):
    values = np.random.default_rng(1).uniform(0, 255, (1, 1, 16, 16)).astype(np.float32)
    boxes = np.array(BOXES[:batch], np.float32)
    decoder = graph(folder, "decoder.onnx", engine, batch)
    (found,) = decoder.run({"embedding": values, "boxes": boxes})
    whole = np.tile(np.array([0, 0, 16, 16], np.float32), (batch, 1))
    expected = bright_logits(np.repeat(values[:, 0], batch, 0), boxes, whole)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_compiled_graph_has_no_kernel_made_anew_whenever_it_is_opened(folder):
    compiled = graph(folder, "decoder.onnx")
    steps = compiled._compiled.get_runtime_model().get_ops()
    kinds = {step.get_rt_info()["layerType"].astype(str) for step in steps}
    assert "Eltwise" in kinds and "Subgraph" not in kinds


@pytest.mark.parametrize("engine", ["openvino", "openvino kept", "onnxruntime"])
def test_a_graph_may_be_run_by_several_threads_at_a_time(folder, tmp_path, engine):
    cache = {"cache_dir": tmp_path / "cache"} if engine == "openvino kept" else {}
    settings = EngineSettings(engine.split()[0], threads=2, streams=2, **cache)
    for _ in range(2 if cache else 1):  # kept, then opened
        compiled = compile_graph(read_bundle(folder), "decoder.onnx", settings)
    embedding = np.full((1, 1, 16, 16), 200, np.float32)

    def many(first):
        found = []
        for i in range(200):
            box = np.array([[0, 0, first, 1 + i % 15]], np.float32)
            found.append(compiled.run({"embedding": embedding, "boxes": box})[0])
        return found

    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(many, (3, 6, 9, 12)))
    for first, found in zip((3, 6, 9, 12), beside, strict=True):
        assert np.array_equal(found, many(first))


def test_the_first_run_of_a_process_is_done_alone_and_later_ones_at_a_time(monkeypatch):
    # two threads that come to openvino's bindings first at the same time wait for each other
    from inference.openvino_engine import OpenVinoGraph

    running, most, both = [], [], threading.Barrier(2, timeout=20)

    class Request:
        def infer(self, asked, **shared):
            running.append(1)
            most.append(len(running))
            if len(most) == 1:
                time.sleep(0.2)  # the other comes meanwhile
            elif len(most) > 2:
                both.wait()  # passed by two at a time alone
            running.pop()
            return [np.zeros(1, np.float32)]

    class Compiled:
        inputs = ()
        create_infer_request = Request

    monkeypatch.setattr(OpenVinoGraph, "_has_run", False)
    graphs = [OpenVinoGraph(Compiled()) for _ in range(2)]  # alone whichever graph it is
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda graph: graph.run({}), graphs))
        assert most == [1, 1]
        list(pool.map(lambda graph: graph.run({}), graphs))
    assert max(most) == 2


@pytest.mark.parametrize("engine", ["openvino", "openvino kept", "onnxruntime"])
def test_open_axes_may_stay_open(folder, tmp_path, engine):
    cache = {"cache_dir": tmp_path / "cache"} if engine == "openvino kept" else {}
    settings = EngineSettings(engine.split()[0], threads=1, **cache)
    for _ in range(2 if cache else 1):
        compiled = compile_graph(read_bundle(folder), "decoder.onnx", settings, AS_OPEN)
    embedding = np.full((1, 1, 16, 16), 200, np.float32)
    for count in (3, 1, 5):
        boxes = np.tile(np.array([2, 3, 9, 11], np.float32), (count, 1))
        found = compiled.run({"embedding": embedding, "boxes": boxes})[0]
        assert found.shape == (count, 16, 16) and (found[:, 6, 5] == 3.5).all()


@pytest.mark.parametrize("engine", ["openvino", "openvino kept", "onnxruntime"])
def test_a_graph_may_give_several_tensors(folder, tmp_path, engine):
    content = two_tensors_onnx(16)
    (folder / "encoder.onnx").write_bytes(content)
    path = folder / "bundle.json"
    said = json.loads(path.read_text())
    said["files"]["encoder.onnx"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(said))
    engine, _, kept = engine.partition(" ")
    changes = {"cache_dir": tmp_path / "cache"} if kept else {}
    for _ in range(2 if kept else 1):  # the second is loaded from the cache
        compiled = graph(folder, "encoder.onnx", engine, **changes)
    picture = np.random.default_rng(3).uniform(0, 255, (1, 3, 16, 16)).astype(np.float32)
    green, blue = compiled.run({"image": picture})
    compiled.run({"image": picture * 0})
    assert np.array_equal(green, picture[:, 1:2]) and np.array_equal(blue, picture[:, 2:])
    assert isinstance(compiled, LibraryGraph) == bool(kept)


@ENGINES
def test_an_input_that_is_not_there_is_named(folder, engine):
    with pytest.raises(EngineError, match=r"expected inputs \['image'\], found only \['picture'\]"):
        graph(folder, "encoder.onnx", engine).run({"picture": np.zeros((1, 3, 16, 16))})


def test_a_tensor_that_the_encoder_does_not_give_is_missed(folder):
    edit = json.loads((folder / "bundle.json").read_text())
    edit["models"]["bright"]["embedding_names"] = ["embedding", "deep"]
    (folder / "bundle.json").write_text(json.dumps(edit))
    with pytest.raises(EngineError, match="encoder.onnx: expected the outputs embedding, deep, fo"):
        inference.load(folder).segment(np.zeros((16, 16), np.uint8), [[1, 1, 9, 9]])


@ENGINES
def test_what_a_graph_gave_is_not_overwritten_by_its_next_run(folder, engine):
    # challenge.md B6: cached outputs of one request alias one buffer
    encoder = graph(folder, "encoder.onnx", engine)
    pictures = np.random.default_rng(2).uniform(0, 255, (3, 1, 3, 16, 16)).astype(np.float32)
    kept = [encoder.run({"image": picture})[0] for picture in pictures]
    for values, picture in zip(kept, pictures, strict=True):
        assert np.array_equal(values, picture[:, 1:2])


@ENGINES
def test_inputs_need_not_lie_in_order_in_memory(folder, engine):
    picture = np.random.default_rng(2).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    found = graph(folder, "encoder.onnx", engine).run({"image": picture.T[None]})[0]
    assert np.array_equal(found[0, 0], picture[:, :, 1].T)


@ENGINES
@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("box_frame", ["edges", "inclusive"])
def test_a_bundle_of_files_answers_as_the_fake_does(
    tmp_path, engine, at_once, box_frame, fake_engine, monkeypatch
):
    spec = spec_of(boxes_at_once=at_once, box_frame=box_frame)
    expected = Segmenter(bundle_of(spec)).segment(IMAGE, BOXES)
    monkeypatch.undo()
    segmenter = inference.load(write_bundle(tmp_path / "b", spec), engine, threads=1)
    assert np.array_equal(segmenter.segment(IMAGE, BOXES), expected)
    assert expected.any()


def test_openvino_runs_its_own_format_too(folder, tmp_path):
    import openvino

    spec = spec_of(encoder="encoder.xml")
    other = write_bundle(tmp_path / "ir", spec)
    openvino.save_model(
        openvino.Core().read_model(folder / "encoder.onnx"), other / "encoder.xml", False
    )
    content = (
        (other / "bundle.json").read_text().replace('"files": {', '"files": {"encoder.xml": "0", ')
    )
    (other / "bundle.json").write_text(content)
    expected = inference.load(folder, threads=1).segment(IMAGE, BOXES)
    assert np.array_equal(inference.load(other, threads=1).segment(IMAGE, BOXES), expected)
    with pytest.raises(EngineError, match="onnxruntime runs .onnx files, found .xml"):
        inference.load(other, "onnxruntime").segment(IMAGE, BOXES)


# --- the shipped model --------------------------------------------------------------------------

SHAPE, OBJECTS = (90, 120, 3), [(10, 12, 45, 40), (60, 20, 110, 80), (5, 60, 30, 85)]
VOLUME, RANGES = (6, 60, 50), [(8, 10, 1, 30, 38, 5), (25, 20, 0, 45, 50, 4)]


def test_both_engines_draw_the_same_masks_with_the_shipped_model():
    ours, other = (inference.load(None, name, "f32", 2) for name in ("openvino", "onnxruntime"))
    picture, volume = draw_objects(SHAPE, OBJECTS, 0), draw_objects(VOLUME, RANGES, 0)
    masks = ours.segment(picture, OBJECTS), other.segment(picture, OBJECTS)
    assert set(np.unique(masks[0])) == {0, 1, 2, 3}
    assert np.mean(masks[0] != masks[1]) < 1e-3
    masks = ours.segment_volume(volume, RANGES), other.segment_volume(volume, RANGES)
    assert set(np.unique(masks[0])) == {0, 1, 2}
    assert np.mean(masks[0] != masks[1]) < 1e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_every_run_of_the_shipped_model_draws_the_same_masks(shipped, threads):
    again = inference.load(threads=threads, cache_dir=shipped.settings.cache_dir)
    picture, volume = draw_objects(SHAPE, OBJECTS, 1), draw_objects(VOLUME, RANGES, 1)
    for _ in range(2):
        assert np.array_equal(again.segment(picture, OBJECTS), shipped.segment(picture, OBJECTS))
        assert np.array_equal(
            again.segment_volume(volume, RANGES), shipped.segment_volume(volume, RANGES)
        )


def test_the_shipped_model_keeps_embeddings_apart(shipped):
    pictures = [draw_objects(SHAPE, OBJECTS, seed) for seed in (0, 1, 2)]
    kept = [shipped.embed(picture) for picture in pictures]
    for embedded, picture in zip(kept, pictures, strict=True):
        assert np.array_equal(embedded.segment(OBJECTS), shipped.segment(picture, OBJECTS))


# --- refusals -----------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("content", [b"", b"no graph", bytes(1000)])
def test_a_file_that_is_no_graph_is_refused_by_name(folder, engine, content):
    (folder / "encoder.onnx").write_bytes(content)
    with pytest.raises(EngineError, match="encoder.onnx: .* refuses the graph"):
        graph(folder, "encoder.onnx", engine)


@ENGINES
def test_an_engine_that_is_not_installed_is_named(folder, engine, monkeypatch):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(EngineError, match=f"{engine}: expected to be installed"):
        graph(folder, "encoder.onnx", engine)


def test_onnxruntime_has_no_bf16(folder):
    with pytest.raises(EngineError, match="expected precision f32, found bf16"):
        graph(folder, "encoder.onnx", "onnxruntime", precision="bf16")


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
        ({"cpu.max": ""}, 8),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.cfs_quota_us": "400000\n"}, 8),
    ],
)
def test_as_many_threads_as_the_container_may_use(files, threads, monkeypatch, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(
        processor_module, "read_text", lambda path: (tmp_path / Path(path).name).read_text()
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert available_threads() == threads


# --- compiled graphs ----------------------------------------------------------------------------


@pytest.fixture
def cached(folder, tmp_path):
    """A bundle, its cache with a compiled graph for each of the two, and its masks."""
    cache = tmp_path / "cache"
    expected = inference.load(folder, threads=1, cache_dir=cache).segment(IMAGE, BOXES)
    assert len(list(cache.iterdir())) == 2
    return folder, cache, expected


def compiled(caplog):
    return [record for record in caplog.records if "compiled graph kept" in record.message]


def masks(folder, cache, caplog=None):
    if caplog is not None:
        caplog.set_level("INFO")
        caplog.clear()
    return inference.load(folder, threads=1, cache_dir=cache).segment(IMAGE, BOXES)


def test_a_compiled_graph_is_used_again(cached, caplog):
    folder, cache, expected = cached
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert compiled(caplog) == []


def test_compiled_graphs_are_readable_by_every_user_and_nothing_else_is_left(cached):
    _, cache, _ = cached
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in cache.iterdir())
    assert {path.suffix for path in cache.iterdir()} == {".blob"}


def flip(blob, where):
    content = bytearray(blob.read_bytes())
    content[int(len(content) * where)] ^= 0x40
    blob.write_bytes(content)


def swap(blob):
    other = next(path for path in blob.parent.iterdir() if path != blob)
    blob.write_bytes(other.read_bytes())


DAMAGE = {
    "missing": lambda blob: blob.unlink(),
    "empty": lambda blob: blob.write_bytes(b""),
    "garbage": lambda blob: blob.write_bytes(np.random.default_rng(0).bytes(9_999)),
    "truncated": lambda blob: blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2]),
    "longer": lambda blob: blob.write_bytes(blob.read_bytes() + b"x"),
    "a byte in the middle": lambda blob: flip(blob, 0.5),
    "a byte near the end": lambda blob: flip(blob, 0.99),
    "the header alone": lambda blob: blob.write_bytes(blob.read_bytes()[:60]),
    "another graph's": swap,
}


def test_a_cache_written_with_isal_is_good_without_it(monkeypatch):
    pytest.importorskip("isal")
    content = bytes(range(256)) * 40
    monkeypatch.setattr("inference.blob._ACCELERATED_BYTES", 0)
    written = header("0" * 16, content)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    assert header("0" * 16, content) == written != header("0" * 16, content[::-1])


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_broken_compiled_graph_is_compiled_anew_and_changes_no_mask(cached, damage, caplog):
    folder, cache, expected = cached
    for blob in cache.iterdir():
        if blob.name.startswith("decoder"):
            damage(blob)
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert len(compiled(caplog)) == 1
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert compiled(caplog) == []


def test_a_folder_in_a_compiled_graphs_place_is_only_slower(cached, caplog):
    folder, cache, expected = cached
    for blob in list(cache.iterdir()):
        blob.unlink()
        blob.mkdir()
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert all(path.is_dir() for path in cache.iterdir())  # and no half-written file beside it


@pytest.mark.parametrize("call", ["write_bytes", "chmod", "replace"])
def test_a_cache_that_may_not_be_written_is_only_slower(cached, monkeypatch, caplog, call):
    folder, cache, expected = cached
    allowed = getattr(Path, call)

    def refuse(path, *args, **options):
        if cache in path.parents:
            raise PermissionError(13, "Permission denied")
        return allowed(path, *args, **options)

    shutil.rmtree(cache)
    monkeypatch.setattr(Path, call, refuse)
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert compiled(caplog) == []
    assert [path for path in cache.iterdir() if path.suffix != ".blob"] == []


def test_a_compiled_graph_that_may_not_be_read_is_only_slower(cached, monkeypatch, caplog):
    folder, cache, expected = cached

    def refuse(path, *args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("inference.blob.open", refuse, raising=False)
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert len(compiled(caplog)) == 2


def test_a_cache_below_a_file_is_only_slower(folder, tmp_path, cached):
    (tmp_path / "file").write_text("")
    assert np.array_equal(masks(folder, tmp_path / "file" / "cache"), cached[2])


def test_a_graph_that_cannot_be_kept_is_used_all_the_same(cached, monkeypatch):
    import openvino

    folder, cache, expected = cached
    shutil.rmtree(cache)

    def refuse(*args):
        raise RuntimeError("not implemented")

    monkeypatch.setattr(openvino.CompiledModel, "export_model", refuse)
    assert np.array_equal(masks(folder, cache), expected)


def test_another_processor_compiles_for_itself(cached, monkeypatch, caplog):
    folder, cache, expected = cached
    monkeypatch.setattr("inference.blob.processor", lambda: "another one")
    assert np.array_equal(masks(folder, cache, caplog), expected)
    assert len(compiled(caplog)) == 2 and len(list(cache.iterdir())) == 4


def test_the_name_of_a_compiled_graph_holds_everything_it_depends_on(monkeypatch):
    base = ("digest", "f32", 1, "2026.4")
    others = [("other", "f32", 1, "2026.4"), ("digest", "bf16", 1, "2026.4")]
    others += [("digest", "f32", 2, "2026.4"), ("digest", "f32", 1, "2026.5")]
    keys = {cache_key(*words) for words in (base, *others)}
    monkeypatch.setattr("inference.blob.processor", lambda: "another one")
    assert len(keys | {cache_key(*base)}) == 6


@pytest.mark.parametrize("engine", ["OpenVINO", "foo", ""])
def test_an_engine_that_there_is_not_is_refused(engine):
    with pytest.raises(EngineError, match="engine: expected openvino or onnxruntime, found"):
        inference.load(engine=engine)
