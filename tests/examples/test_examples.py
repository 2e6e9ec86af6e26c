"""The demo cases: valid challenge files, as cases.csv says, and the same bytes when made again."""

from __future__ import annotations

import csv
import hashlib
import importlib
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODALITIES = {
    "CT", "MR", "PET", "US", "XRay", "Dermoscopy", "Endoscopy", "Fundus", "Microscopy",
    "Mammography", "OCT",
}  # fmt: skip
SIZE_LIMIT_BYTES = 4_000_000
PICTURE_PACKAGES = {"skimage": "scikit-image", "pydicom": "pydicom", "nibabel": "nibabel"}

with open(EXAMPLES / "cases.csv", newline="", encoding="utf-8") as _file:
    ROWS = list(csv.DictReader(_file))

every_case = pytest.mark.parametrize("row", ROWS, ids=[row["case"] for row in ROWS])


def load(folder: Path, row: dict[str, str]) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(folder / f"{row['case']}.npz", allow_pickle=False) as archive:
        return dict(archive)


@every_case
def test_a_case_holds_what_the_challenge_format_asks_for(row: dict[str, str]) -> None:
    case = load(EXAMPLES / "cases", row)
    count = int(row["n_objects"])
    assert count >= 1
    assert case["imgs"].dtype == np.uint8
    assert case["boxes"].dtype == np.int64
    if row["dims"] == "2D":
        assert set(case) == {"imgs", "boxes"}
        assert case["imgs"].ndim == 3 and case["imgs"].shape[2] == 3
        assert case["boxes"].shape == (count, 4)
    else:
        assert set(case) == {"imgs", "boxes", "spacing"}
        assert case["imgs"].ndim == 3
        assert case["boxes"].shape == (count, 6)
        assert case["spacing"].dtype == np.float64 and case["spacing"].shape == (3,)
        assert np.all(case["spacing"] > 0)
    assert case["imgs"].min() < 30 and case["imgs"].max() > 200, "uses little of 0..255"


@every_case
def test_a_truth_numbers_its_objects_without_gaps(row: dict[str, str]) -> None:
    case, truth = load(EXAMPLES / "cases", row), load(EXAMPLES / "truth", row)
    grid = case["imgs"].shape[:2] if row["dims"] == "2D" else case["imgs"].shape
    assert truth["gts"].dtype in (np.uint8, np.uint16)
    assert truth["gts"].shape == grid
    assert np.unique(truth["gts"]).tolist() == list(range(int(row["n_objects"]) + 1))
    if row["dims"] == "3D":
        assert set(truth) == {"gts", "spacing"}
        assert np.array_equal(truth["spacing"], case["spacing"])
    else:
        assert set(truth) == {"gts"}


@every_case
def test_box_i_holds_label_i_tightly_with_both_ends_inside(row: dict[str, str]) -> None:
    boxes = load(EXAMPLES / "cases", row)["boxes"]
    labels = load(EXAMPLES / "truth", row)["gts"]
    axes = labels.ndim
    size = np.array(labels.shape[::-1])
    assert np.all(boxes[:, :axes] >= 0) and np.all(boxes[:, axes:] < size)
    for label, box in enumerate(boxes, start=1):
        low, high = box[:axes][::-1], box[axes:][::-1]
        inside = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
        voxels = np.count_nonzero(labels == label)
        assert np.count_nonzero(labels[inside] == label) == voxels, "cuts the object"
        for axis in range(axes):
            for end in (low, high):
                face = [slice(None)] * axes
                face[axis] = slice(end[axis], end[axis] + 1)
                assert np.any(labels[tuple(face)] == label), "not tight"


@every_case
def test_a_row_agrees_with_its_name_and_its_files(row: dict[str, str]) -> None:
    prefix, modality, _ = row["case"].split("_")
    assert prefix == row["dims"] + "Box"
    assert modality == row["modality"]
    assert row["kind"] in {"real", "phantom"}
    assert all(row[column] for column in ("content", "source", "licence", "annotation"))
    for folder in ("cases", "truth"):
        found = hashlib.sha256((EXAMPLES / folder / f"{row['case']}.npz").read_bytes()).hexdigest()
        assert found == row[f"{'case' if folder == 'cases' else 'truth'}_sha256"]


@pytest.mark.parametrize("folder", ["cases", "truth"])
def test_the_folder_holds_the_listed_files_and_no_other(folder: str) -> None:
    found = sorted(path.name for path in (EXAMPLES / folder).iterdir())
    assert found == sorted(row["case"] + ".npz" for row in ROWS)


def test_every_modality_is_there_and_volumes_of_three_of_them() -> None:
    assert {row["modality"] for row in ROWS} == MODALITIES
    assert {row["modality"] for row in ROWS if row["dims"] == "3D"} == {"CT", "MR", "PET"}


def test_all_cases_together_stay_small() -> None:
    files = [*(EXAMPLES / "cases").iterdir(), *(EXAMPLES / "truth").iterdir()]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT_BYTES


def test_the_readme_names_every_case() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [row["case"] for row in ROWS if f"`{row['case']}`" not in text] == []


@pytest.fixture(scope="module")
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module, package in PICTURE_PACKAGES.items():
        pytest.importorskip(module, reason=f"{package} holds pictures and is not installed")
    out = tmp_path_factory.mktemp("examples")
    command = [sys.executable, str(EXAMPLES / "make_examples.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out


@every_case
def test_made_again_every_array_is_the_same(row: dict[str, str], made_again: Path) -> None:
    for folder in ("cases", "truth"):
        stored, again = load(EXAMPLES / folder, row), load(made_again / folder, row)
        assert list(stored) == list(again)
        for key, array in stored.items():
            assert array.dtype == again[key].dtype
            assert np.array_equal(array, again[key]), key


@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="zlib-ng deflates to other bytes")
def test_made_again_every_file_is_the_same_to_the_last_byte(made_again: Path) -> None:
    names = ["cases.csv", *(f"{f}/{row['case']}.npz" for f in ("cases", "truth") for row in ROWS)]
    assert [n for n in names if (EXAMPLES / n).read_bytes() != (made_again / n).read_bytes()] == []


@pytest.fixture
def example_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_fill_takes_the_pixels_whose_centres_lie_inside(example_module: Any) -> None:
    outline = example_module("outline")
    square = np.array([(0.5, 0.5), (3.5, 0.5), (3.5, 2.5), (0.5, 2.5)])
    expected = np.zeros((4, 5), dtype=bool)
    expected[1:3, 1:4] = True
    assert np.array_equal(outline.fill(square, (4, 5)), expected)
    assert np.array_equal(outline.fill(square[::-1], (4, 5)), expected)


def test_fill_cuts_an_outline_that_leaves_the_picture(example_module: Any) -> None:
    outline = example_module("outline")
    square = np.array([(-9.0, -9.0), (1.5, -9.0), (1.5, 0.5), (-9.0, 0.5)])
    assert np.argwhere(outline.fill(square, (3, 3))).tolist() == [[0, 0], [0, 1]]


def test_a_smooth_outline_goes_through_its_points(example_module: Any) -> None:
    points = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
    curve = example_module("outline").smooth_outline(points, steps=5)
    assert curve.shape == (20, 2)
    assert np.allclose(curve[::5], points)


def test_paint_refuses_objects_that_overlap(example_module: Any) -> None:
    mask = np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match="object 2: must not overlap an earlier one, found 4 px"):
        example_module("outline").paint([mask, mask])


def test_boxes_are_tight_and_refuse_a_gap(example_module: Any) -> None:
    casefile = example_module("casefile")
    labels = np.zeros((2, 4, 6), dtype=np.uint8)
    labels[0:2, 1:3, 2:5] = 1
    assert casefile.tight_boxes(labels).tolist() == [[2, 1, 0, 4, 2, 1]]
    assert casefile.tight_boxes(labels[0]).tolist() == [[2, 1, 4, 2]]
    with pytest.raises(ValueError, match="labels must run 1..2, found none with 1"):
        casefile.tight_boxes(np.where(labels == 1, 2, 0))


def test_an_npz_does_not_depend_on_the_clock(example_module: Any, tmp_path: Path) -> None:
    example_module("casefile").write_npz(tmp_path / "a.npz", {"x": np.arange(3)})
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert [info.date_time for info in archive.infolist()] == [(1980, 1, 1, 0, 0, 0)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_contact_sheet_shows_every_case(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    out = tmp_path / "sheet.png"
    command = [sys.executable, str(EXAMPLES / "contact_sheet.py"), str(out)]
    subprocess.run(command, check=True, timeout=120)
    with image.open(out) as sheet:
        assert sheet.width == 4 * 384
        assert sheet.height == -(-len(ROWS) // 4) * (384 + 28)
