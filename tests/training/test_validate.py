"""Accuracy: boxes from the truth, a model's labels and the inscribed ellipse beside them."""

import csv

import numpy as np
import pytest

from training.store import read_store
from training.validate import (
    accuracy_summary,
    accuracy_table,
    case_accuracy,
    ellipse_labels,
    loosened,
    tight_boxes,
    validate,
    write_accuracy,
)


class Oracle:
    """A segmenter that knows the truth."""

    def __init__(self, truth):
        self.truth, self.asked = truth, []

    def segment(self, image, boxes, modality):
        self.asked.append((boxes.tolist(), modality))
        return self.truth

    def segment_volume(self, volume, boxes, modality):
        return self.segment(volume, boxes, modality)


def test_tight_boxes_are_inclusive_with_x_first():
    labels = np.zeros((4, 6), np.uint8)
    labels[1:3, 2:5], labels[3, 0] = 1, 2
    assert tight_boxes(labels).tolist() == [[2, 1, 4, 2], [0, 3, 0, 3]]
    volume = np.zeros((5, 4, 6), np.uint8)
    volume[2:4, 1:3, 2:5] = 1
    assert tight_boxes(volume).tolist() == [[2, 1, 2, 4, 2, 3]]


def test_a_gap_in_the_labels_is_refused():
    with pytest.raises(ValueError, match="expected 1..3 without gaps, found none of 2"):
        tight_boxes(np.array([[1, 3]]))


def test_loosened_boxes_hold_the_tight_ones_inside_the_picture():
    boxes = np.array([[10, 5, 20, 12], [0, 0, 63, 47]] * 50)
    moved = loosened(np.random.default_rng(0), 0.1)(boxes, (48, 64))
    assert (moved[:, :2] <= boxes[:, :2]).all() and (moved[:, 2:] >= boxes[:, 2:]).all()
    assert (moved >= 0).all() and (moved <= [63, 47, 63, 47]).all()
    assert (moved[::2] >= boxes[::2] - 6).all() and len(np.unique(moved[::2], axis=0)) > 10


def test_loosened_volume_boxes_keep_their_slices():
    moved = loosened(np.random.default_rng(0), 0.2)(np.array([[9, 9, 3, 12, 12, 5]]), (9, 32, 32))
    assert (moved[0, 2], moved[0, 5]) == (3, 5)


def test_the_inscribed_ellipse_of_a_square_is_a_disc():
    labels = ellipse_labels(np.array([[2.0, 1, 101, 100]]), (110, 110))
    assert labels[1:101, 2:102].mean() == pytest.approx(np.pi / 4, abs=0.005)
    assert labels.sum() == labels[1:101, 2:102].sum()


def test_the_inscribed_ellipsoid_of_a_cube_is_a_ball():
    labels = ellipse_labels(np.array([[0.0, 0, 0, 39, 39, 39]]), (40, 40, 40))
    assert labels.mean() == pytest.approx(np.pi / 6, abs=0.005)


def test_a_smaller_ellipse_lies_over_a_larger_one_though_it_comes_first():
    inner, outer = [40.0, 40, 59, 59], [0.0, 0, 99, 99]
    found = ellipse_labels(np.array([inner, outer]), (100, 100))
    turned = ellipse_labels(np.array([outer, inner]), (100, 100))
    assert np.array_equal(found, np.choose(turned, [0, 2, 1]))
    assert found[50, 50] == 1


def test_a_perfect_answer_scores_one_and_the_ellipse_less(store):
    case = read_store(store, "test")[0]
    oracle = Oracle(np.asarray(case.gts))
    row = case_accuracy(oracle, case, None, with_nsd=True)
    assert (row.dsc, row.nsd, row.n_labels) == (1, 1, 2)
    assert 0.9 < row.ellipse_dsc < 1  # the objects are discs
    assert oracle.asked == [([[8, 10, 28, 30], [33, 18, 57, 42]], "Unknown")]


def test_a_table_has_modalities_and_their_mean(store, tmp_path):
    cases = read_store(store, "test")
    rows = [validate(Oracle(np.asarray(c.gts)), [c], with_nsd=False)[0] for c in cases]
    summary = accuracy_summary(rows)
    assert summary["3D"]["CT"]["dsc"] == summary["2D"]["mean"]["dsc"] == 1
    assert "| 2D | US | 1 | 1 | 1.000 |" in accuracy_table(rows)
    write_accuracy(rows, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["test-2D.npz", "test-3D.npz"]
