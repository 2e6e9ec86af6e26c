"""The organisers' numbers: what their script prints, worked out by hand or run once beside it."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.__main__ import main
from evaluation.metrics import score_case, surface_dice
from evaluation.scoring.labelmaps import Truth
from evaluation.scoring.official import official_score
from tests.evaluation.builders import disk, score_row, write_scores

PLANE = np.zeros((60, 80), np.uint8)
PLANE[5:25, 5:25], PLANE[30:50, 40:70] = 1, 2

VOLUME = np.zeros((12, 30, 30), np.uint8)
VOLUME[2:8, 5:20, 5:20], VOLUME[8:11, 3:9, 20:28] = 1, 2


def official(truth, prediction, case=None, spacing_mm=(5.0, 0.8, 0.8), origin="truth"):
    """DSC, NSD and whether there is a remark."""
    plane = truth.ndim == 2
    known = Truth(truth, (1.0, 1.0), "pixels") if plane else Truth(truth, spacing_mm, origin)
    spacing = (1.0, 1.0, 1.0) if plane else spacing_mm[::-1]
    score = score_case(truth, prediction, known.spacing_mm, official_spacing_mm=spacing)
    found = official_score(case or f"{truth.ndim}D_case", known, prediction, score)
    return found.dsc, found.nsd, bool(found.remark)


def test_a_perfect_mask_scores_one():
    assert official(PLANE, PLANE) == (1.0, 1.0, False)
    assert official(VOLUME, VOLUME) == (1.0, 1.0, False)


def test_a_label_that_neither_map_holds_makes_dsc_nan_and_nsd_zero():
    gap = np.array([0, 1, 3], np.uint8)[PLANE]
    dsc, nsd, remark = official(gap, gap)
    assert math.isnan(dsc)
    assert (nsd, remark) == (0.0, False)


def test_a_gap_that_the_prediction_fills_counts_zero():
    gap = np.array([0, 1, 3], np.uint8)[PLANE]
    filled = np.where(gap == 0, 2, gap)
    assert official(gap, filled) == (0.6667, 0.6667, False)


def test_an_empty_truth_is_nan_and_a_label_above_the_largest_goes_unseen():
    assert math.isnan(official(PLANE * 0, PLANE)[0])
    invented = PLANE.copy()
    invented[0:4] = 9
    assert official(PLANE, invented) == (1.0, 1.0, False)


def test_nsd_is_zero_where_dsc_is_at_most_a_fifth():
    assert official(PLANE, np.roll(PLANE, 17, 0)) == (0.15, 0.0, False)
    fifth = np.zeros((1, 12), np.uint8), np.zeros((1, 12), np.uint8)
    fifth[0][0, :5], fifth[1][0, 4:9] = 1, 1  # 2 * 1 / (5 + 5)
    assert official(*fifth) == (0.2, 0.0, False)


@pytest.mark.parametrize(("radius", "expected"), [(20, 1.0), (16, 0.894)])
def test_a_plane_mask_is_a_slab(radius, expected):
    """Reference notes: radius 20 against 16 gives 0.894, though no contour is near."""
    disks = [disk((60, 60), (30, 30), r).astype(np.uint8) for r in (20, radius)]
    assert official(*disks)[1] == pytest.approx(expected, abs=5e-4)


def test_the_spacing_of_a_volume_is_used_as_stored():
    """Printed by the script for a stored spacing of 0.8, 0.8, 5: a slice off is nothing."""
    assert official(VOLUME, np.roll(VOLUME, 1, 0)) == (0.75, 1.0, False)
    assert official(VOLUME, np.roll(VOLUME, 2, 2)) == (0.8083, 0.846, False)


@pytest.mark.parametrize(
    ("truth", "case", "origin", "expected"),
    [
        (VOLUME, "CT_case", "truth", (0.75, 1.0, True)),
        (VOLUME, "3D_case", "case", (0.75, 1.0, True)),
        (VOLUME, "3D_case", "assumed", (0.0, 0.0, True)),
        (PLANE, "3D_case", "pixels", (0.0, 0.0, True)),
        (PLANE.astype(np.uint64), "2D_case", "pixels", (0.95, 1.0, True)),
    ],
)
def test_a_truth_that_crashes_the_script_scores_as_in_its_next_version(
    truth, case, origin, expected
):
    assert official(truth, np.roll(truth, 1, 0), case, origin=origin) == expected


def test_a_volume_without_the_prefix_crashes_only_where_nsd_is_computed():
    assert official(VOLUME, np.roll(VOLUME, 15, 1), "CT_case") == (0.0, 0.0, False)


@settings(deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.data())
def test_a_slab_measured_by_one_face_is_the_slab_in_space(truth, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    score = score_case(
        truth.astype(np.uint8), prediction.astype(np.uint8), (1, 1), official_spacing_mm=(1, 1, 1)
    )
    for label in score.labels:
        in_space = surface_dice(truth[..., None], prediction[..., None], (1, 1, 1), 2)
        assert label.nsd_official == pytest.approx(in_space, abs=1e-12)


def test_the_report_shows_the_places_by_both_sets_of_numbers(tmp_path):
    """By our NSD A is first, by the official one B; the changed places are bold."""
    write_scores(
        tmp_path,
        score_row("A", "one", 0.9, nsd=0.9, nsd_official=0.8, official_remark="no spacing"),
        score_row("B", "one", 0.9, nsd=0.8, nsd_official=0.9),
    )
    assert main(["rank", str(tmp_path)]) == main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "an official place that differs is bold" in page and page.count("<b>2</b>") > 0
    with (tmp_path / "figures" / "official-places-overall.csv").open(newline="") as file:
        places = {
            row["team"]: (row["place"], row["official_place"]) for row in csv.DictReader(file)
        }
    assert places == {"A": ("1", "2"), "B": ("2", "1")}
