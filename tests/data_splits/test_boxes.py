"""Prompts: tight ones by hand and by brute force, moved ones by their bounds."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_splits.__main__ import main
from data_splits.boxes import BoxRule, moved_boxes, prompt_boxes, slice_boxes, tight_boxes
from data_splits.errors import SourceError

SEED = st.integers(0, 2**32 - 1)


def test_tight_boxes_have_both_ends_inside():
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[1:3, 2:5, 3:7] = 1
    labels[3, 0, 0] = 2
    assert tight_boxes(labels).tolist() == [[3, 2, 1, 6, 4, 2], [0, 0, 3, 0, 0, 3]]
    assert tight_boxes(labels[1]).tolist() == [[3, 2, 6, 4]]
    assert tight_boxes(np.zeros((4, 4), np.uint8)).shape == (0, 4)
    assert tight_boxes(np.zeros((4, 4, 4), np.uint8)).shape == (0, 6)


@settings(deadline=None, max_examples=60)
@given(SEED)
def test_tight_boxes_agree_with_a_search_of_every_voxel(seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros((5, 7, 6), np.uint8)
    count = int(rng.integers(1, 5))
    for label in range(1, count + 1):
        labels[tuple(int(rng.integers(0, n)) for n in labels.shape)] = label
        labels[rng.random(labels.shape) < 0.02] = label
    if set(np.unique(labels)) - {0} != set(range(1, count + 1)):
        if labels.max() and len(np.unique(labels)) - 1 < labels.max():
            with pytest.raises(SourceError, match="expected labels"):
                tight_boxes(labels)
        return
    expected = [
        [f(np.nonzero(labels == v)[a]) for f in (min, max) for a in (2, 1, 0)]
        for v in range(1, count + 1)
    ]
    assert tight_boxes(labels).tolist() == expected


def test_a_gap_is_refused():
    with pytest.raises(SourceError, match="none of 1"):
        tight_boxes(np.array([[0, 2]], np.uint8))


def test_loosening_by_hand():
    boxes = np.array([[10, 10, 19, 29]])
    assert moved_boxes(boxes, (40, 40), BoxRule(loosen_px=3), None).tolist() == [[7, 7, 22, 32]]
    percent = moved_boxes(boxes, (40, 40), BoxRule(loosen_percent=10), None)
    assert percent.tolist() == [[9, 8, 20, 31]]  # 10 px wide, 20 high
    edge = moved_boxes(boxes, (40, 40), BoxRule(loosen_px=100), None)
    assert edge.tolist() == [[0, 0, 39, 39]]
    solid = np.array([[10, 10, 2, 19, 29, 3]])
    assert moved_boxes(solid, (9, 40, 40), BoxRule(loosen_slices=1), None).tolist() == [
        [10, 10, 1, 19, 29, 4]
    ]


@settings(deadline=None, max_examples=60)
@given(SEED, st.floats(0, 9))
def test_outward_jitter_keeps_the_object_inside_and_within_bounds(seed, most):
    tight = np.array([[20, 30, 25, 60], [0, 0, 79, 79], [50, 50, 50, 50]])
    rule = BoxRule(jitter_px=most)
    moved = moved_boxes(tight, (80, 80), rule, np.random.default_rng(seed))
    out = np.concatenate([tight[:, :2] - moved[:, :2], moved[:, 2:] - tight[:, 2:]], axis=1)
    assert (out >= 0).all() and (out <= np.round(most)).all()
    assert np.array_equal(moved, moved_boxes(tight, (80, 80), rule, np.random.default_rng(seed)))


@settings(deadline=None, max_examples=60)
@given(SEED)
def test_jitter_either_way_never_turns_a_box_inside_out(seed):
    tight = np.array([[5, 5, 6, 6], [0, 0, 0, 0]])
    rule = BoxRule(jitter_both_px=8)
    moved = moved_boxes(tight, (12, 12), rule, np.random.default_rng(seed))
    assert (moved[:, :2] <= moved[:, 2:]).all()
    assert moved.min() >= 0 and moved.max() <= 11


def test_slice_boxes_by_hand():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, 1, 1:3], labels[2, 3, 3], labels[1, 0, 0] = 1, 1, 2
    where, boxes = slice_boxes(labels)
    assert where.tolist() == [[1, 0], [1, 2], [2, 1]]
    assert boxes.tolist() == [[1, 1, 2, 1], [3, 3, 3, 3], [0, 0, 0, 0]]


def test_the_command_writes_a_folder_for_each_seed_and_lists(tmp_path, capsys):
    for folder, arrays in (
        ("cases", {"imgs": np.zeros((20, 20, 3), np.uint8), "boxes": np.zeros((1, 4))}),
        ("truth", {"gts": np.pad(np.ones((4, 5), np.uint8), 8)}),
    ):
        (tmp_path / folder).mkdir()
        np.savez_compressed(tmp_path / folder / "2DBox_US_1.npz", **arrays)
    call = ["boxes", str(tmp_path / "truth"), "--cases", str(tmp_path / "cases")]
    out = tmp_path / "out"
    assert main([*call, "--out", str(out), "--jitter-px", "5", "--seeds", "1", "2"]) == 0
    found = [np.load(out / f"seed-{s}" / "2DBox_US_1.npz")["boxes"].tolist() for s in (1, 2)]
    assert found[0] != found[1]
    assert main([*call, "--out", str(out), "--to", "json"]) == 0
    assert json.loads((out / "boxes.json").read_text()) == {"2DBox_US_1.npz": [[8, 8, 12, 11]]}
    assert main([*call, "--out", str(out), "--to", "csv"]) == 0
    row = next(csv.DictReader((out / "boxes.csv").read_text().splitlines()))
    assert (row["x_min"], row["y_max"], row["z_min"]) == ("8", "11", "")
    labels = np.pad(np.ones((4, 5), np.uint8), 8)
    assert prompt_boxes(labels).tolist() == [[8, 8, 12, 11]]
