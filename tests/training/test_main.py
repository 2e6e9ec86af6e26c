"""The command line: one line for what the user can mend, and every step's help without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from inference.bundle import DEFAULT_BUNDLE
from training.__main__ import STEPS, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_help(step, capsys):
    with pytest.raises(SystemExit) as ended:
        main([step, "--help"])
    assert ended.value.code == 0
    assert "--" in capsys.readouterr().out


def test_help_loads_no_torch():
    program = (
        "import sys; from training.__main__ import main\n"
        "try: main(['finetune', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert ended.returncode == 0


def test_a_wrong_file_is_one_line(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("stepz = 1")
    words = ["--store", "s", "--run", "r", "--config", str(tmp_path / "c.toml")]
    assert main(["finetune", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("python -m training finetune: ") and error.count("\n") == 1
    assert "stepz: expected one of" in error


@pytest.mark.parametrize(
    ("step", "which"),
    [("adopt", "bundle"), ("adopt", "other"), ("export-volumes", "bundle"),
     ("export-volumes", "walks")],
)  # fmt: skip
def test_a_bundle_that_is_not_there_is_one_line(step, which, full_store, tmp_path, capsys):
    pytest.importorskip("torch")
    shipped, absent = str(DEFAULT_BUNDLE), str(tmp_path / "absent")
    given = {"bundle": shipped, "other": shipped, "walks": shipped, which: absent}
    words = ["--out", str(tmp_path / "out"), "--bundle", given["bundle"]]
    if step == "adopt":
        words += ["--store", str(full_store), "--other", given["other"]]
    else:
        words += ["--run", shipped, "--walks", given["walks"]]
    assert main([step, *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"python -m training {step}: {absent}") and error.count("\n") == 1
    assert "expected a model bundle, found" in error
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["export", "--run", str(tmp_path), "--bundle", str(tmp_path / "b")]) == 1
    assert capsys.readouterr().err.endswith("expected a checkpoint, found no such file\n")


def test_a_split_becomes_a_store(tmp_path, capsys):
    import numpy as np

    from data_splits.split import write_split
    from tests.training.conftest import info_of
    from training.store import read_store

    np.savez(tmp_path / "a", imgs=np.zeros((4, 5, 3), np.uint8), gts=np.ones((4, 5), np.uint8))
    np.savez(tmp_path / "b", imgs=np.zeros((4, 5, 3), np.uint8), gts=np.ones((4, 5), np.uint8))
    write_split([info_of("a.npz", "2D"), info_of("b.npz", "2D", "unused")], tmp_path / "s.csv")
    words = {"packed": tmp_path, "packed-train": tmp_path, "store": tmp_path / "store",
             "split": tmp_path / "s.csv"}  # fmt: skip
    assert main(["prepare", *(f"--{k}={v}" for k, v in words.items())]) == 0
    assert [c.info.file for c in read_store(tmp_path / "store", "train")] == ["a.npz"]
    assert main(["prepare", *(f"--{k}={v}" for k, v in words.items()), "--split=none.csv"]) == 1
    assert "none.csv: expected a split" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--slices=3", "--corrupted=true"])
def test_only_cases_as_they_are_go_into_a_bundle(flag, tmp_path, capsys):
    words = ["--store", str(tmp_path), "--bundle", str(tmp_path), "--record", flag]
    assert main(["validate", *words]) == 1
    assert "--record: expected cases as they are" in capsys.readouterr().err
