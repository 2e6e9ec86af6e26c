"""The command line: one line for what the user can mend, and every step's help without torch."""

import argparse
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


def test_ones_own_cases_are_prepared_as_the_converter_leaves_them(tmp_path, capsys):
    """`data_splits split` leaves the pool empty; the labels lie in truth/."""
    from dataclasses import replace

    import numpy as np

    from data_splits.split import write_split
    from tests.training.conftest import info_of
    from training.store import read_store

    for folder, arrays in (("cases", {"imgs": np.zeros((4, 5, 3), np.uint8)}),
                           ("truth", {"gts": np.ones((4, 5), np.uint8)})):  # fmt: skip
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "a.npz", **arrays)
    write_split([replace(info_of("a.npz", "2D"), pool="")], tmp_path / "s.csv")
    words = [f"--split={tmp_path / 's.csv'}", "--sides=train,val", f"--store={tmp_path / 'store'}",
             f"--packed={tmp_path / 'cases'}", f"--truth={tmp_path / 'truth'}"]  # fmt: skip
    assert main(["prepare", *words]) == 0
    assert len(read_store(tmp_path / "store", "train")) == 1
    write_split([replace(info_of("a.npz", "2D"), pool="mine")], tmp_path / "s.csv")
    assert main(["prepare", *words]) == 1
    assert "a.npz: expected the pool packed, found mine" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["validate", "finetune"])
def test_a_store_that_is_not_there_is_one_line(step, tmp_path, capsys):
    words = ["--store", str(tmp_path / "typo")]
    words += (
        ["--run", str(tmp_path / "run")]
        if step == "finetune"
        else ["--bundle", str(DEFAULT_BUNDLE)]
    )
    assert main([step, *words]) == 1
    err = capsys.readouterr().err
    assert "typo: expected a store, found: No such file" in err and len(err.splitlines()) == 1


def test_a_validation_of_nothing_is_refused_and_records_nothing(store, capsys):
    words = ["--store", str(store), "--bundle", str(DEFAULT_BUNDLE), "--dims", "2d", "--record"]
    before = (DEFAULT_BUNDLE / "bundle.json").read_bytes()
    assert main(["validate", *words]) == 1
    assert "dims: expected" in capsys.readouterr().err
    assert (DEFAULT_BUNDLE / "bundle.json").read_bytes() == before


def test_accuracy_goes_into_a_folder_that_is_not_there_yet(store, tmp_path, capsys):
    table = tmp_path / "new" / "folder" / "tight.csv"
    words = ["--store", str(store), "--bundle", str(DEFAULT_BUNDLE), "--on", "test", "--dims", "2D"]
    assert main(["validate", *words, "--csv", str(table)]) == 0
    assert "test-2D.npz" in table.read_text() and "| 2D |" in capsys.readouterr().out


def test_every_value_of_every_step_has_a_flag_that_reads_it():
    """With what the recipe has by default, written as the command line takes it."""
    import dataclasses

    from training.__main__ import STEPS
    from training.configuration import add_flags, given_flags

    def words_of(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{k}" = {v}' for k, v in value.items()) + "}"
        return str(value)

    def leaves(config, prefix=""):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                yield from leaves(value, f"{prefix}{field.name}.")
            else:
                yield f"{prefix}{field.name}", value

    for step in STEPS.values():
        if step.config is None:
            continue
        for name, value in leaves(step.config()):
            if isinstance(value, dict) and not all(isinstance(v, float) for v in value.values()):
                continue  # tables of tables
            parser = argparse.ArgumentParser()
            add_flags(parser, step.config)
            given = given_flags(
                parser.parse_args([f"--{name.replace('_', '-')}={words_of(value)}"])
            )
            assert list(given) == [name]
            assert (tuple(given[name]) if isinstance(value, tuple) else given[name]) == value
