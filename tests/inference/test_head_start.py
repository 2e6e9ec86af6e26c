"""Graphs opened ahead of everything else: the right ones, or none, and never another mask."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import inference
from inference import head_start
from inference.blob import compiler_settings, parallel_runs
from inference.engine import EngineSettings, compile_graph
from inference.head_start import HeadStart, begin
from inference.library_graph import LibraryGraph
from inference.rules import ManyBoxesRule, VolumeRegionRule
from tests.inference.builders import spec_of, write_bundle

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = compiler_settings("f32", 0)


@pytest.fixture
def surroundings(tmp_path, make_case):
    """A case, a bundle and the cache of its compiled graphs: (inputs, bundle, cache)."""
    case = make_case("2DBox_US_1", (30, 40, 3), [(5, 8, 30, 25)])
    folder, cache = write_bundle(tmp_path / "bundle"), tmp_path / "cache"
    image = np.zeros((16, 16, 3), np.uint8)
    inference.load(folder, cache_dir=cache).segment(image, [[1, 2, 9, 12]])
    return str(case.parent), str(folder), str(cache)


def blob(cache, name):
    (path,) = Path(cache).glob(f"{name}-*.blob")
    return str(path)


def test_both_graphs_of_the_first_case_are_opened_once(surroundings):
    started = HeadStart(*surroundings)
    for name in ("encoder", "decoder"):
        path = blob(surroundings[2], name)
        assert isinstance(started.take(path, SETTINGS), LibraryGraph)
        assert started.take(path, SETTINGS) is None
    assert len(started.spans) == 2


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("3DBox_CT_1", {"volume"}),
        ("2DBox_CT_1", {"encoder", "decoder"}),
        ("CT_1", set()),
    ],
)
def test_where_volumes_are_answered_whole_the_name_says_which_graphs(
    tmp_path, make_case, name, opened
):
    case = make_case(name, (9, 20, 30), [(5, 8, 1, 25, 15, 7)])
    rule = VolumeRegionRule("volume.onnx", (4, 8, 8), 0.2, 0.2)
    folder = write_bundle(tmp_path / "bundle", spec_of(volume_region=rule))
    inference.load(folder, cache_dir=tmp_path / "cache").model().compile()
    started = HeadStart(str(case.parent), str(folder), str(tmp_path / "cache"))
    taken = {
        graph
        for graph in ("encoder", "decoder", "volume")
        if started.take(blob(tmp_path / "cache", graph), SETTINGS) is not None
    }
    assert taken == opened


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("3DBox_CT_1", {"encoder", "decoder"}),
        ("2DBox_CT_1", {"encoder"}),
        ("CT_1", {"encoder"}),
    ],
)
def test_where_the_number_of_boxes_says_which_decoder_none_is_opened_for_pictures(
    tmp_path, make_case, name, opened
):
    case = make_case(name, (20, 30), [(5, 8, 25, 15)])
    rule = ManyBoxesRule("encoder.onnx", "decoder.onnx", ("keys",), 2, 8)
    folder, cache = write_bundle(tmp_path / "bundle", spec_of(many_boxes=rule)), tmp_path / "cache"
    content = json.loads((folder / "bundle.json").read_text())
    content["models"]["bright"]["sam"] = {}
    (folder / "bundle.json").write_text(json.dumps(content | {"schema": 2}))
    model = inference.load(folder, cache_dir=cache).model()
    _ = model.encoder, model.decoder
    started = HeadStart(str(case.parent), str(folder), str(cache))
    streams = {"encoder": parallel_runs(0) if name.startswith("3D") else 1, "decoder": 1}
    taken = {
        graph
        for graph, count in streams.items()
        if started.take(blob(cache, graph), compiler_settings("f32", 0, count))
    }
    assert taken == opened
    other = HeadStart(str(case.parent), str(folder), str(cache))
    assert other.take(blob(cache, "encoder"), compiler_settings("f32", 0, 7)) is None


def test_a_graph_for_other_settings_is_not_taken(surroundings):
    started = HeadStart(*surroundings)
    assert started.take(blob(surroundings[2], "encoder"), compiler_settings("bf16", 0)) is None
    assert started.take(blob(surroundings[2], "encoder"), compiler_settings("f32", 77)) is None
    started = HeadStart(*surroundings, "f32", 77)
    assert started.take(blob(surroundings[2], "encoder"), compiler_settings("f32", 77)) is not None
    assert HeadStart(*surroundings, "bf16").take(blob(surroundings[2], "encoder"), SETTINGS) is None


def test_the_record_of_the_bundle_says_the_precision_where_nobody_else_does(
    surroundings, monkeypatch
):
    """Graphs are there in bf16 alone: where the processor is said to have it they are opened."""
    inputs, bundle, _ = surroundings
    content = json.loads(Path(bundle, "bundle.json").read_text())
    costs = {"bf16_native": True, "bf16": {"2D": {"dsc": 0.9, "loss": 0.0}}}
    Path(bundle, "bundle.json").write_text(json.dumps(content | {"precision_costs": costs}))
    kept = str(Path(bundle).with_name("kept"))
    inference.load(bundle, precision="bf16", cache_dir=kept).model().compile()
    for flags, wanted in (("AMD avx512_bf16", "bf16"), ("AMD avx2", "f32")):
        monkeypatch.setattr("inference.precision.processor", lambda flags=flags: flags)
        taken = HeadStart(inputs, bundle, kept).take(
            blob(kept, "encoder"), compiler_settings(wanted, 0)
        )
        assert isinstance(taken, LibraryGraph) == (wanted == "bf16")


def test_a_graph_that_was_opened_ahead_is_the_one_that_runs(surroundings, monkeypatch):
    inputs, folder, cache = surroundings
    started = HeadStart(inputs, folder, cache)
    monkeypatch.setattr(head_start, "_running", started)
    monkeypatch.setattr("inference.openvino_engine.open_blob", None)  # nobody else opens one
    bundle = inference.bundle_file.read_bundle(Path(folder))
    graph = compile_graph(bundle, "encoder.onnx", EngineSettings(cache_dir=Path(cache)))
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 16, 16)).astype(np.float32)
    assert np.array_equal(graph.run({"image": image})[0], image[:, 1:2])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda inputs, bundle, cache: [path.unlink() for path in cache.iterdir()],
        lambda inputs, bundle, cache: [path.write_bytes(b"x" * 9999) for path in cache.iterdir()],
        lambda inputs, bundle, cache: [path.unlink() for path in inputs.iterdir()],
        lambda inputs, bundle, cache: (bundle / "bundle.json").write_text("{}"),
        lambda inputs, bundle, cache: (bundle / "bundle.json").write_text("no JSON"),
        lambda inputs, bundle, cache: (bundle / "bundle.json").unlink(),
    ],
    ids=["no graphs", "broken graphs", "no case", "empty bundle", "broken bundle", "no bundle"],
)
def test_what_is_not_there_is_not_waited_for(surroundings, spoil):
    path = blob(surroundings[2], "encoder")
    spoil(*map(Path, surroundings))
    assert HeadStart(*surroundings).take(path, SETTINGS) is None


BUNDLE = os.path.join(os.path.dirname(inference.__file__), "bundle")


@pytest.mark.parametrize(
    ("argv", "begun_with"),
    [
        ([], ("inputs", BUNDLE, "cache", "auto", 0)),
        (["-i", "here"], ("here", BUNDLE, "cache", "auto", 0)),
        (
            ["-v", "--input", "here", "-o", "there", "--profile", "trace"],
            ("here", BUNDLE, "cache", "auto", 0),
        ),
        (["-o", "-i"], ("inputs", BUNDLE, "cache", "auto", 0)),
        (
            ["--model", "m", "--cache", "./c/", "--precision", "bf16", "--threads", "3"],
            ("inputs", "m", "c", "bf16", 3),
        ),
        (["--threads", "-1"], None),
        (["--engine", "onnxruntime"], None),
        (["--precision=bf16"], None),
        (["--in", "here"], None),
        (["-ihere"], None),
        (["-i"], None),
        (["--compile-only"], None),
    ],
)
def test_it_begins_only_where_the_command_line_leaves_no_doubt(argv, begun_with, monkeypatch):
    begun = []
    monkeypatch.setattr(head_start, "HeadStart", lambda *words: begun.append(words))
    monkeypatch.setattr(head_start, "_running", None)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    monkeypatch.delenv("MEDSAM_BUNDLE", raising=False)
    monkeypatch.setenv("MEDSAM_CACHE", "cache")
    begin(argv)
    assert begun == ([] if begun_with is None else [begun_with])
    monkeypatch.delenv("MEDSAM_CACHE")
    begin(argv)
    assert len(begun) == (begun_with is not None) + ("--cache" in argv)


def test_the_whole_program_draws_the_same_mask_with_and_without_it(surroundings, tmp_path):
    inputs, bundle, cache = surroundings
    found = []
    for name, kept in (("without", ""), ("with", cache), ("nothing kept", str(tmp_path / "none"))):
        outputs = tmp_path / name
        line = [sys.executable, "-m", "inference", "-i", inputs, "-o", str(outputs)]
        environment = {**os.environ, "MEDSAM_BUNDLE": bundle, "MEDSAM_CACHE": kept}
        ended = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")
        found.append((outputs / "2DBox_US_1.npz").read_bytes())
    assert found[0] == found[1] == found[2]


def test_the_head_start_waits_for_nothing_but_what_opens_graphs():
    program = (
        "import sys, inference.head_start;"
        "print(*sorted(name for name in sys.modules if name.startswith('inference.')),"
        " *({'dataclasses', 'json', 'numpy', 'pathlib', 'typing'} & set(sys.modules)))"
    )
    line = [sys.executable, "-S", "-c", program]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    parts = "blob errors head_start library_graph openvino_library precision processor signal_stack"
    assert ended.stdout.split() == [f"inference.{part}" for part in parts.split()]


def test_the_engine_is_not_taken_apart_when_all_is_written(surroundings, tmp_path):
    inputs, bundle, cache = surroundings
    program = (
        "import os, runpy, sys\n"
        "from inference.segment import Segmenter\n"
        "Segmenter.__del__ = lambda self: os.write(2, b'taken apart')\n"
        "sys.argv = ['inference', *sys.argv[1:]]\n"
        "runpy.run_module('inference', run_name='__main__')"
    )
    words = ["-i", inputs, "-o", str(tmp_path / "masks"), "--model", bundle, "--cache", cache]
    line = [sys.executable, "-c", program, *words]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["2DBox_US_1.npz"]


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("3", "3")])
def test_numpys_threads_stay_off_the_engines_cores_unless_asked_for(given, found):
    program = (
        "import os, runpy, sys; sys.argv = ['inference', '--help']\n"
        "try: runpy.run_module('inference', run_name='__main__')\n"
        "except SystemExit: sys.exit(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    clean = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    clean |= {} if given is None else {"OPENBLAS_NUM_THREADS": given}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=clean, capture_output=True, text=True
    )
    assert ended.stderr.strip() == found
