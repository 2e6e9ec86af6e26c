"""Truth as NIfTI: the same scores as from npz, and a grid that does not fit is refused."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.errors import ScoreError
from evaluation.scoring.labelmaps import read_truth, truth_cases
from evaluation.scoring.score_tables import ScoreRow, read_table

VOLUME = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.uint8) % 3
"""(z, y, x)."""

AFFINE = np.diag([-0.8, -0.7, 5.0, 1.0])
"""x runs to the left, y to the back: LPS, as scanners write."""


def save(folder, labels=VOLUME, affine=AFFINE, name="3D_CT_1.nii.gz"):
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels.T, affine), folder / name)
    return folder / name


def save_case(folder, shape=VOLUME.shape, spacing=(0.8, 0.7, 5.0), **more):
    folder.mkdir(exist_ok=True)
    path = folder / "3D_CT_1.npz"
    boxes = np.zeros((1, 6), int)
    np.savez(path, imgs=np.zeros(shape, np.uint8), boxes=boxes, spacing=spacing, **more)
    return path


def test_axes_and_spacing_are_in_the_order_of_the_case(tmp_path):
    found = read_truth(save(tmp_path / "truth"), save_case(tmp_path / "cases"))
    np.testing.assert_array_equal(found.labels, VOLUME)
    assert found.spacing_mm == pytest.approx((5.0, 0.7, 0.8))
    assert found.spacing_origin == "truth"


def test_a_case_that_states_its_orientation_turns_the_truth(tmp_path):
    """The file runs to the right and the front; the case, as converted, to the left and back."""
    stored = np.ascontiguousarray(VOLUME[:, ::-1, ::-1])
    path = save(tmp_path / "truth", stored, np.diag([0.8, 0.7, 5.0, 1.0]))
    found = read_truth(path, save_case(tmp_path / "cases", orientation="LPS"))
    np.testing.assert_array_equal(found.labels, VOLUME)
    np.testing.assert_array_equal(read_truth(path).labels, stored)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"shape": (2, 4, 3)}, r"3D_CT_1.nii.gz: grid must be \(2, 4, 3\).*found \(2, 3, 4\)"),
        ({"spacing": (5.0, 0.7, 0.8)}, "spacing must be 0.8 0.7 5 mm.*found 5 0.7 0.8"),
        ({"orientation": "LPX"}, "three letters"),
    ],
)
def test_a_grid_that_is_not_the_cases_is_refused(tmp_path, case, message):
    with pytest.raises(ScoreError, match=message):
        read_truth(save(tmp_path / "truth"), save_case(tmp_path / "cases", **case))


def test_whole_floating_point_labels_are_labels_and_others_are_not(tmp_path):
    path = save(tmp_path / "truth", VOLUME.astype(np.float32))
    np.testing.assert_array_equal(read_truth(path).labels, VOLUME)
    with pytest.raises(ScoreError, match="whole numbers"):
        read_truth(save(tmp_path / "truth", VOLUME + np.float32(0.5)))
    with pytest.raises(ScoreError, match="0 or above"):
        read_truth(save(tmp_path / "truth", VOLUME.astype(np.int16) - 1))


def test_a_file_that_is_no_nifti_says_so(tmp_path):
    path = tmp_path / "case.nii.gz"
    path.write_bytes(b"no")
    with pytest.raises(ScoreError, match="case.nii.gz: expected a NIfTI label map"):
        read_truth(path)


def test_a_folder_of_nifti_truths_scores_as_one_of_npz(tmp_path):
    plain, segs = tmp_path / "npz", tmp_path / "segs"
    for folder in (plain, segs):
        folder.mkdir()
    np.savez(plain / "3D_CT_1.npz", gts=VOLUME, spacing=[0.8, 0.7, 5.0])
    np.savez(segs / "3D_CT_1.npz", segs=np.roll(VOLUME, 1, 2))
    save(tmp_path / "nifti")
    assert truth_cases(tmp_path / "nifti") == truth_cases(plain) == ["3D_CT_1"]
    rows = []
    for truth in (plain, tmp_path / "nifti"):
        out = tmp_path / f"{truth.name}.csv"
        words = ["--segs", str(segs), "--truth", str(truth), "--out", str(out), "--workers", "1"]
        assert main(["score", *words]) == 0
        rows += read_table(out, ScoreRow)
    assert rows[0].dsc == rows[1].dsc
    assert rows[0].nsd == pytest.approx(rows[1].nsd, abs=1e-12)
