"""The programs as a user starts them: predict.sh on the demo cases, and on nothing good at all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
CASES = sorted((ROOT / "examples" / "cases").glob("*.npz"))
TRUTH = ROOT / "examples" / "truth"

Predict = Callable[..., subprocess.CompletedProcess[str]]


def lay_out(folder: Path) -> Path:
    """A fresh folder as the image has it: predict.sh, inference/, inputs/ and outputs/."""
    for name in ("predict.sh", "inference"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("inputs", "outputs"):
        (folder / name).mkdir()
    return folder


def predict(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`sh predict.sh` with this interpreter's folder first on the path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MEDSAM_")}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
    line = ["sh", "predict.sh", *options]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


def label_map(path: Path, key: str) -> np.ndarray:
    with np.load(path) as npz:
        return npz[key]


@pytest.fixture(scope="module")
def demo_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The masks of all demo cases."""
    folder = lay_out(tmp_path_factory.mktemp("demo"))
    for case in CASES:
        (folder / "inputs" / case.name).symlink_to(case)
    ended = predict(folder)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    return folder / "outputs"


def test_every_demo_case_gets_a_mask_and_nothing_else_is_written(demo_outputs: Path) -> None:
    assert len(CASES) >= 16
    assert sorted(path.name for path in demo_outputs.iterdir()) == [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_mask_of_a_demo_case_has_its_shape_and_labels(demo_outputs: Path, case: Path) -> None:
    with np.load(demo_outputs / case.name) as npz:
        assert npz.files == ["segs"]
        segs = npz["segs"]
    boxes = label_map(case, "boxes")
    assert segs.dtype == np.uint8
    assert segs.shape == label_map(TRUTH / case.name, "gts").shape
    assert set(np.unique(segs)) == set(range(len(boxes) + 1))
    for label, box in enumerate(boxes, 1):
        found = np.argwhere(segs == label)[:, ::-1]  # x first
        axes = segs.ndim
        reach = 0 if axes == 3 else 0.5 * (box[axes:] - box[:axes]) + 1
        assert (found >= box[:axes] - reach).all() and (found <= box[axes:] + reach).all()


def test_the_masks_of_the_demo_cases_are_about_right(demo_outputs: Path) -> None:
    scores = []
    for case in CASES:
        segs, gts = label_map(demo_outputs / case.name, "segs"), label_map(TRUTH / case.name, "gts")
        for label in range(1, int(gts.max()) + 1):
            found, true = segs == label, gts == label
            scores.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    assert np.mean(scores) > 0.8


def test_one_bad_case_costs_nothing_but_itself(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    smallest = min(CASES, key=lambda case: case.stat().st_size)
    (folder / "inputs" / smallest.name).write_bytes(smallest.read_bytes())
    (folder / "inputs" / "2DBox_CT_broken.npz").write_bytes(smallest.read_bytes()[:-100])
    ended = predict(folder)
    assert ended.returncode == 1
    refused, summary = ended.stderr.splitlines()
    assert refused.startswith("refused: 2DBox_CT_broken.npz: expected a readable npz")
    assert summary == "1 of 2 cases done, 1 refused"
    assert [path.name for path in (folder / "outputs").iterdir()] == [smallest.name]


def test_options_go_through_predict_sh(tmp_path: Path) -> None:
    ended = predict(lay_out(tmp_path), "--threads", "-1")
    assert ended.returncode == 2
    assert ended.stderr == "error: --threads: expected 0 or more, found -1\n"
