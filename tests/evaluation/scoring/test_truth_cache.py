"""Truths kept as runs: the same truth again, and nothing of what is damaged."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.scoring import case_scores
from evaluation.scoring.labelmaps import Truth
from evaluation.scoring.scores import score_run
from evaluation.scoring.truth_cache import keep_truth, load_truth
from tests.evaluation.builders import add_result, disk, write_truth

LABELS = (disk((40, 50), (15, 15), 9) + 2 * disk((40, 50), (30, 38), 8)).astype(np.uint16)
SPACING_MM = (1.0, 1.0)


@pytest.mark.parametrize("labels", [LABELS, np.stack([LABELS, LABELS * 0]).astype(np.uint64)])
def test_a_kept_truth_is_the_same(tmp_path, labels):
    spacing_mm = (0.1 + 0.2,) * labels.ndim
    truth = Truth(labels, spacing_mm, "case")
    keep_truth(tmp_path, "name", truth)
    found = load_truth(tmp_path, "name")
    np.testing.assert_array_equal(found.labels, labels)
    assert found.labels.dtype == labels.dtype
    assert (found.spacing_mm, found.spacing_origin) == (spacing_mm, "case")
    assert found.map.labels == truth.map.labels
    np.testing.assert_array_equal(found.map.low, truth.map.low)


@pytest.mark.parametrize("damage", ["cut", "flip", "head", "gone"])
def test_a_damaged_truth_is_none(tmp_path, damage):
    keep_truth(tmp_path, "name", Truth(LABELS, SPACING_MM, "pixels"))
    (path,) = tmp_path.rglob("*.runs")
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-7],
            "flip": content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],  # another label
            "head": content[5:],
            "gone": b"",
        }[damage]
    )
    assert load_truth(tmp_path, "name") is None


def test_noise_is_not_kept(tmp_path):
    noise = np.random.default_rng(0).integers(0, 9, (30, 30)).astype(np.uint8)
    keep_truth(tmp_path, "name", Truth(noise, SPACING_MM, "pixels"))
    assert load_truth(tmp_path, "name") is None


def test_a_new_team_needs_no_truth_file_to_be_read_again_unless_it_changed(tmp_path, monkeypatch):
    run, truth = tmp_path / "run", tmp_path / "truth"
    write_truth(truth, "case", LABELS)
    add_result(run, "a", "case", LABELS)
    reads = []
    real = case_scores.read_truth
    monkeypatch.setattr(
        case_scores, "read_truth", lambda *words: reads.append(words) or real(*words)
    )
    score_run(run, truth)
    add_result(run, "b", "case", np.roll(LABELS, 1, 0))
    ((_, second),) = [result.scores for result in score_run(run, truth)]
    assert len(reads) == 1
    assert 0 < second.dsc < 1
    for kept in (run / ".scores").rglob("*.json"):
        kept.unlink()
    (kept,) = (run / ".scores").rglob("*.runs")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert score_run(run, truth)[0].scores[1] == second
    assert len(reads) == 2
    write_truth(truth, "case", np.roll(LABELS, 1, 0))
    assert score_run(run, truth)[0].scores[1].dsc == 1.0
    assert len(reads) == 3
