"""Known submissions score what they must, and a scorer that errs is found out."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.checking.selftest import Known, answer_empty, answer_permuted
from evaluation.scoring import case_scores
from tests.evaluation.builders import disk, write_truth


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    folder = tmp_path / "truth"
    labels = np.zeros((40, 50), np.uint8)
    for label, centre in ((1, (10, 10)), (2, (10, 35)), (7, (30, 20))):
        labels[disk((40, 50), centre, 7)] = label
    write_truth(folder, "2DBox_US_three-with-a-gap", labels)
    write_truth(folder, "2DBox_US_one", (labels == 7).astype(np.uint8))
    write_truth(folder, "2DBox_US_none", np.zeros((9, 9), np.uint8))
    volume = np.repeat(labels[None], 4, axis=0)
    write_truth(folder, "3DBox_CT_1", volume, spacing_xyz=(0.8, 0.8, 5))
    return folder


def test_a_scorer_that_is_right_passes(truth: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert main(["selftest", "--truth", str(truth)]) == 0
    assert "moved: 3 of 3 cases score what they must" in caplog.messages
    for team in ("truth", "empty", "permuted", "half"):
        assert f"{team}: 4 of 4 cases score what they must" in caplog.messages


def test_a_scorer_that_errs_is_named_with_the_case(
    truth: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = case_scores.score_maps

    def errs(truth: Any, predicted: Any, *words: Any, **options: Any) -> Any:
        return right(predicted, predicted, *words, **options)

    monkeypatch.setattr(case_scores, "score_maps", errs)
    assert main(["selftest", "--truth", str(truth)]) == 1
    assert "empty, 2DBox_US_one: expected DSC 0, NSD 0, found DSC 1.0" in caplog.text


def test_the_known_values_are_worked_out_by_hand() -> None:
    three = np.array([[1, 2, 3], [0, 0, 0]])
    permuted, known = answer_permuted(three)
    assert permuted.tolist() == [[2, 1, 3], [0, 0, 0]]
    assert known == Known(1 / 3, 1 / 3, nsd_is_exact=False)
    assert answer_permuted(np.array([[5, 0]]))[0].tolist() == [[6, 0]]
    assert answer_permuted(np.array([[5, 0]]))[1].dsc == 0
    assert answer_empty(np.zeros((1, 2), int))[1] == Known(1.0, 1.0)


def test_a_folder_without_truths_is_an_error(tmp_path: Path) -> None:
    assert main(["selftest", "--truth", str(tmp_path)]) == 1


@pytest.mark.parametrize("fault", ["iou for dice", "tolerance", "spacing the wrong way round"])
def test_metrics_that_are_right_at_zero_and_one_alone_are_found_out(
    truth: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    right = case_scores.score_maps

    def errs(one: Any, other: Any, spacing_mm: Any, **options: Any) -> Any:
        if fault == "spacing the wrong way round":
            return right(one, other, spacing_mm[::-1], **options)
        if fault == "tolerance":
            return right(one, other, tuple(mm / 100 for mm in spacing_mm), **options)
        found = right(one, other, spacing_mm, **options)
        return dataclasses.replace(found, dsc=found.dsc / (2 - found.dsc))

    monkeypatch.setattr(case_scores, "score_maps", errs)
    assert main(["selftest", "--truth", str(truth)]) == 1
    assert ("half, " if fault == "iou for dice" else "moved, ") in caplog.text
