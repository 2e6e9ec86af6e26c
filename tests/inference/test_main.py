"""The command line: every case of a folder, one line for each refusal, exit codes 0, 1 and 2."""

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from inference import case as case_module
from inference.case import write_mask
from inference.command_line import case_files, main, one_line
from inference.errors import EngineError
from inference.options import make_parser
from inference.segment import Segmenter
from tests.inference.builders import BOX, npy_bytes, write_bundle, write_members

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(tmp_path, monkeypatch, fake_engine, capfd):
    """Runs the command line on cases/ and masks/ with the bright-pixel model: (code, stderr)."""
    monkeypatch.delenv("MEDSAM_CACHE", raising=False)
    monkeypatch.delenv("MEDSAM_BUNDLE", raising=False)
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "cases").mkdir()

    def run(*options):
        folders = ["-i", str(tmp_path / "cases"), "-o", str(tmp_path / "masks")]
        code = main([*folders, "--model", str(bundle), *map(str, options)])
        out, err = capfd.readouterr()
        assert out == ""
        return code, err

    return run


def masks(folder):
    """What lies in a folder of masks: {file name: segs}."""
    found = {}
    for path in sorted(folder.iterdir()):
        with np.load(path) as npz:
            assert npz.files == ["segs"]
            found[path.name] = npz["segs"]
    return found


def snapshot(folder):
    return {
        p.name: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest())
        for p in folder.iterdir()
    }


# --- cases --------------------------------------------------------------------------------------


def test_every_case_gets_a_mask_of_its_name(call, make_case, tmp_path):
    make_case("2DBox_US_1", (60, 80, 3), [(10, 12, 45, 40), (50, 30, 70, 50)])
    make_case("3DBox_CT_1", (5, 30, 40), [(8, 10, 1, 30, 28, 9)], spacing=np.ones(3))
    make_case("no_prefix", (30, 40), [(1.5, 2.5, 20.25, 25.0)])
    make_case("2DBox_OCT_named-2D", (5, 16, 3), [(0, 2, 1, 2, 14, 3)])
    assert call() == (0, "")
    found = masks(tmp_path / "masks")
    assert {name: (segs.shape, segs.dtype) for name, segs in found.items()} == {
        "2DBox_US_1.npz": ((60, 80), np.uint8),
        "3DBox_CT_1.npz": ((5, 30, 40), np.uint8),
        "no_prefix.npz": ((30, 40), np.uint8),
        "2DBox_OCT_named-2D.npz": ((5, 16, 3), np.uint8),
    }
    assert set(np.unique(found["2DBox_US_1.npz"])) == {0, 1, 2}
    reached = found["3DBox_CT_1.npz"].any(axis=(1, 2))
    assert reached.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("name", ["2DBox_CT_1", "3DBox_CT_1"])
@pytest.mark.parametrize("boxes", [np.zeros(0), np.zeros((0, 4)), np.zeros((0, 6))])
@pytest.mark.parametrize("shape", [(9, 12), (5, 9, 12)])
def test_a_case_without_boxes_gets_an_empty_mask(call, tmp_path, name, boxes, shape):
    np.savez(tmp_path / "cases" / f"{name}.npz", imgs=np.zeros(shape, np.uint8), boxes=boxes)
    assert call() == (0, "")
    (segs,) = masks(tmp_path / "masks").values()
    assert segs.shape == shape and segs.dtype == np.uint8 and not segs.any()


def test_three_hundred_boxes_get_two_bytes_a_pixel(call, make_case, tmp_path):
    boxes = [(x, y, x + 1, y + 1) for y in range(0, 30, 2) for x in range(0, 40, 2)]
    make_case("2DBox_Microscopy_1", (30, 40), boxes, imgs=np.full((30, 40), 255, np.uint8))
    assert call()[0] == 0
    (segs,) = masks(tmp_path / "masks").values()
    assert segs.dtype == np.uint16 and segs.max() == 300


def test_the_modality_in_the_name_chooses_the_model(call, make_case, monkeypatch):
    asked = []
    real = Segmenter.segment_case

    def remember(self, case, modality):
        asked.append(modality)
        return real(self, case, modality)

    monkeypatch.setattr(Segmenter, "segment_case", remember)
    for name in ("2DBox_CT_1", "2DBox_OCT_1", "unnamed"):
        make_case(name)
    assert call()[0] == 0
    assert asked == ["CT", "OCT", "Unknown"]


def test_inputs_stay_as_they_are_and_outputs_hold_only_masks(call, make_case, tmp_path):
    make_case("2DBox_US_1")
    make_case("2DBox_US_2", boxes=[(500, 500, 600, 600)])
    before = snapshot(tmp_path / "cases")
    assert call()[0] == 1
    assert snapshot(tmp_path / "cases") == before
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["2DBox_US_1.npz"]


def test_what_is_no_npz_or_hidden_is_no_case(tmp_path):
    for name in ("b.npz", "a.npz", ".c.npz", "d.txt", "e.npz.part", "npz"):
        (tmp_path / name).touch()
    assert [path.name for path in case_files(tmp_path)] == ["a.npz", "b.npz"]


def test_an_empty_folder_is_no_error_but_worth_a_word(call, tmp_path, caplog):
    assert call()[0] == 0
    assert caplog.messages == [f"{tmp_path / 'cases'}: expected npz cases, found none"]


def test_an_existing_mask_is_replaced_whole(call, make_case, tmp_path):
    make_case("2DBox_US_1")
    (tmp_path / "masks").mkdir()
    old = tmp_path / "masks" / "2DBox_US_1.npz"
    write_mask(old, np.full((900, 900), 7, np.uint8))
    with zipfile.ZipFile(old, "a") as archive:
        archive.writestr("stale.npy", b"stale")
    assert call() == (0, "")
    assert masks(tmp_path / "masks")["2DBox_US_1.npz"].shape == (60, 80)


# --- refusals -----------------------------------------------------------------------------------


def write_bad_cases(make_case, folder):
    """One case of every kind that is refused: {file name: words of its line}."""
    whole = make_case("truncated").read_bytes()
    (folder / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.npz").write_bytes(b"")
    (folder / "folder.npz").mkdir()
    make_case("pickled", imgs=np.array([{}, None], object))
    np.savez(folder / "keyless.npz", imgs=np.zeros((9, 9), np.uint8))
    make_case("rank", imgs=np.zeros((2, 3, 4, 5), np.uint8))
    make_case("nan", imgs=np.full((60, 80), np.nan))
    np.savez(folder / "text.npz", imgs=np.zeros((9, 9)), boxes=[["0", "0", "1", "1"]])
    make_case("reversed", boxes=[(40, 12, 10, 40)])
    make_case("outside", boxes=[(500, 500, 600, 600)])
    write_members(folder / "huge.npz", imgs=npy_bytes("|u1", (1 << 20, 1 << 20)), boxes=BOX)
    write_members(folder / "negative.npz", imgs=npy_bytes("|u1", (-1, 4)), boxes=BOX)
    write_members(folder / "short.npz", imgs=npy_bytes("|u1", (99, 99), b"x"), boxes=BOX)
    return {
        "truncated.npz": "expected a readable npz",
        "empty.npz": "expected a readable npz",
        "folder.npz": "expected a file",
        "pickled.npz": "imgs: expected numbers, found pickled",
        "keyless.npz": "boxes: expected this key, found only imgs",
        "rank.npz": "imgs: expected (H, W)",
        "nan.npz": "imgs: expected finite values, found 4800",
        "text.npz": "boxes: expected real numbers",
        "reversed.npz": "boxes[0]: expected minima not above maxima",
        "outside.npz": "boxes[0]: expected a box inside (80, 60)",
        "huge.npz": "imgs: expected at most 4294967296 bytes, found 1099511627776",
        "negative.npz": "imgs: expected at most",
        "short.npz": "imgs: expected 9801 bytes of data, found 1",
    }


def test_each_bad_case_is_refused_with_one_line_and_the_others_are_done(call, make_case, tmp_path):
    make_case("a_first")
    make_case("z_last", seed=2)
    expected = write_bad_cases(make_case, tmp_path / "cases")
    code, err = call()
    assert code == 1
    *lines, summary = err.splitlines()
    assert len(lines) == len(expected)
    for name, words in expected.items():
        assert sum(line.startswith(f"refused: {name}: ") and words in line for line in lines) == 1
    assert summary == f"2 of {len(expected) + 2} cases done, {len(expected)} refused"
    assert list(masks(tmp_path / "masks")) == ["a_first.npz", "z_last.npz"]


def test_the_mask_of_a_refused_case_is_left_alone(call, make_case, tmp_path):
    make_case("bad", boxes=[(40, 12, 10, 40)])
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "bad.npz").write_bytes(b"of another run")
    assert call()[0] == 1
    assert (tmp_path / "masks" / "bad.npz").read_bytes() == b"of another run"


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (MemoryError(), "refused: b.npz: not enough memory"),
        (RuntimeError("no\nidea"), "refused: b.npz: RuntimeError: no idea"),
    ],
)
def test_whatever_one_case_hits_the_others_are_done(
    call, make_case, tmp_path, monkeypatch, failure, line
):
    real = case_module.read_case

    def fail(path):
        if path.name == "b.npz":
            raise failure
        return real(path)

    monkeypatch.setattr(case_module, "read_case", fail)
    for name in "abc":
        make_case(name)
    code, err = call()
    assert code == 1 and err.splitlines()[0] == line
    assert list(masks(tmp_path / "masks")) == ["a.npz", "c.npz"]


def test_a_name_of_several_lines_is_told_in_one(call, make_case):
    make_case("2DBox_US\n1", boxes=[(40, 12, 10, 40)])
    code, err = call()
    assert code == 1 and len(err.splitlines()) == 2
    assert one_line(" a\n\tb ") == "a b"


def test_a_full_disk_refuses_the_case_and_leaves_nothing(call, make_case, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    make_case("a")
    monkeypatch.setattr(np.lib.format, "write_array", full)
    code, err = call()
    assert code == 1
    assert err.startswith("refused: a.npz: cannot write the mask: [Errno 28] No space left")
    assert list((tmp_path / "masks").iterdir()) == []


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--engine", "tensorrt"),
        ("--precision", "int8"),
        ("--threads", "many"),
        ("--no-such-option",),
        ("surplus",),
    ],
)
def test_a_call_that_argparse_refuses_exits_with_two(call, options):
    with pytest.raises(SystemExit) as ended:
        call(*options)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-i", "/nonexistent/inputs"), "expected a folder of npz cases, found none"),
        (("-o", "/dev/null/masks"), "expected a folder to write masks to"),
        (("--threads", "-1"), "--threads: expected 0 or more, found -1"),
        (("--model", "/nonexistent"), "bundle.json: expected a model bundle"),
        (("--profile", "/tmp"), "/tmp: expected a file to write to"),
        (("-o", "loop/masks"), "loop/masks: expected a folder for masks"),
    ],
)
def test_a_wrong_call_is_one_line_and_exits_with_two(
    call, make_case, options, words, tmp_path, monkeypatch
):
    make_case()
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    code, err = call(*options)
    assert code == 2 and err.startswith("error: ") and words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("place", ["cases", "cases/masks", "cases/../cases", "link"])
def test_masks_are_never_written_among_the_cases(call, make_case, tmp_path, place):
    make_case()
    (tmp_path / "link").symlink_to(tmp_path / "cases")
    code, err = call("-o", tmp_path / place)
    assert code == 2 and "expected a folder outside the cases' own" in err
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["2DBox_US_1.npz"]


def test_the_cases_may_lie_in_a_folder_below_the_masks(call, make_case, tmp_path):
    make_case()
    assert call("-o", tmp_path) == (0, "")
    assert (tmp_path / "2DBox_US_1.npz").is_file()


def test_a_folder_that_may_not_be_listed_is_a_usage_error(call, make_case, monkeypatch):
    make_case()

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    code, err = call()
    assert code == 2 and "found: Permission denied" in err


def test_a_folder_that_may_not_be_written_is_a_usage_error(call, make_case, monkeypatch):
    make_case()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    code, err = call()
    assert code == 2 and f"user {os.getuid()} may write to" in err


def test_an_engine_that_fails_ends_the_run_with_two_and_one_line(call, make_case, monkeypatch):
    def refuse(*args, **options):
        raise EngineError("openvino: expected\nto work")

    monkeypatch.setattr("inference.model.compile_graph", refuse)
    make_case()
    assert call() == (2, "error: openvino: expected to work\n")


def test_folders_of_the_organisers_are_the_default(call, make_case, tmp_path, monkeypatch):
    make_case()
    (tmp_path / "cases").rename(tmp_path / "inputs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSAM_BUNDLE", str(tmp_path / "bundle"))
    assert not Path("/inputs").exists() and not Path("/outputs").exists()
    assert main([]) == 0
    assert list(masks(tmp_path / "outputs")) == ["2DBox_US_1.npz"]


def test_help_says_everything(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for action in make_parser()._actions:
        assert all(option in text for option in action.option_strings)
        assert action.help
    for words in ("(H, W, 3)", "(D, H, W)", "(N, 6)", "segs", "both ends inclusive", "exit status"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100


def test_verbose_tells_every_case(call, make_case, caplog):
    make_case("2DBox_US_1")
    with caplog.at_level("INFO"):
        call("-v")
    assert "2DBox_US_1.npz: 1 boxes" in caplog.text


# --- compiling ahead ----------------------------------------------------------------------------


def test_compile_only_fills_the_cache_and_needs_no_folders(tmp_path, monkeypatch, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    assert main(["--compile-only", "--model", str(bundle)]) == 0
    assert {p.name.split("-")[0] for p in (tmp_path / "cache").iterdir()} == {"encoder", "decoder"}
    assert capsys.readouterr() == ("", "")


def test_compile_only_notices_a_graph_that_is_not_the_bundles(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "encoder.onnx").write_bytes((bundle / "decoder.onnx").read_bytes())
    assert main(["--compile-only", "--model", str(bundle)]) == 2
    assert "expected sha256" in capsys.readouterr().err


def test_the_module_runs_from_anywhere(make_case, tmp_path):
    make_case("2DBox_US_1")
    make_case("2DBox_US_2", boxes=[(40, 12, 10, 40)])
    bundle = write_bundle(tmp_path / "bundle")
    line = [sys.executable, "-m", "inference", "-i", "cases", "-o", "masks", "--model", bundle]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.splitlines()[1:] == ["1 of 2 cases done, 1 refused"]
    assert list(masks(tmp_path / "masks")) == ["2DBox_US_1.npz"]


def test_compile_only_says_when_the_cache_keeps_nothing(tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "file").write_text("not a folder")
    cache = str(tmp_path / "file" / "cache")
    assert main(["--compile-only", "--model", str(bundle), "--cache", cache]) == 2
    assert "expected to keep the compiled encoder.onnx there" in capsys.readouterr().err


def test_compile_only_counts_no_graph_that_another_version_kept(tmp_path, monkeypatch, capsys):
    bundle, cache = write_bundle(tmp_path / "bundle"), tmp_path / "cache"
    cache.mkdir()
    (cache / "encoder-0000.blob").write_bytes(b"of another version")
    monkeypatch.setattr("inference.openvino_engine._store_blob", lambda *_: False)
    assert main(["--compile-only", "--model", str(bundle), "--cache", str(cache)]) == 2
    assert "expected to keep the compiled encoder.onnx there" in capsys.readouterr().err


# --- how it ends --------------------------------------------------------------------------------


def started(tmp_path, *more, **how):
    bundle = write_bundle(tmp_path / "bundle")
    line = [sys.executable, *more, "-i", "cases", "-o", "masks", "--model", str(bundle)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, cwd=tmp_path, env=environment, **how)


def test_without_stderr_masks_are_written_all_the_same(make_case, tmp_path):
    make_case("2DBox_US_1")
    make_case("2DBox_US_0", boxes=[(40, 12, 10, 40)])
    closed = "import os, runpy; os.close(2); runpy.run_module('inference', run_name='__main__')"
    assert started(tmp_path, "-c", closed).wait(60) == 1
    assert list(masks(tmp_path / "masks")) == ["2DBox_US_1.npz"]


def test_a_reader_of_stderr_that_is_gone_stops_nothing(make_case, tmp_path):
    make_case("2DBox_US_9")
    for i in range(4):
        make_case(f"2DBox_US_{i}", boxes=[(40, 12, 10, 40)])
    process = started(tmp_path, "-m", "inference", stderr=subprocess.PIPE)
    process.stderr.close()
    assert process.wait(60) == 1
    assert list(masks(tmp_path / "masks")) == ["2DBox_US_9.npz"]


def test_a_stop_in_the_middle_of_a_mask_leaves_nothing_of_it(make_case, tmp_path):
    make_case("2DBox_US_1")
    slow = """
import runpy, sys, time
import inference.case, inference.npz
def write(path, *_):
    path.write_bytes(b"half")
    print("now", flush=True)
    time.sleep(60)
for module in (inference.case, inference.npz):
    if hasattr(module, "write_array"):
        module.write_array = write
runpy.run_module("inference", run_name="__main__")
"""
    with started(tmp_path, "-c", slow, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "now\n"
        assert [path.name[0] for path in (tmp_path / "masks").iterdir()] == ["."]
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert not list((tmp_path / "masks").iterdir())


def test_a_case_that_the_model_refuses_is_named(call, tmp_path):
    (tmp_path / "cases").mkdir(exist_ok=True)
    strokes = np.zeros((40, 60), np.uint8)
    strokes[10, 10:30] = 1
    np.savez(
        tmp_path / "cases" / "2DBox_US_a.npz",
        imgs=np.zeros((40, 60, 3), np.uint8),
        scribbles=strokes,
    )
    code, err = call()
    assert code == 1
    assert err.splitlines()[0].startswith("refused: 2DBox_US_a.npz: expected boxes (this model")
