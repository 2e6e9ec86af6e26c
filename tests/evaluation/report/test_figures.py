"""Figures: what is drawn where, in the page and as files for a paper."""

import csv
import io
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.__main__ import main
from evaluation.report.comparison_plots import comparison_plots
from evaluation.report.drawing import linear_axis, log_axis, number
from evaluation.report.figure import WIDTH, Figure, paper_style
from evaluation.report.grid import build_grid
from evaluation.report.time_plots import pareto_front
from tests.evaluation.builders import add_result, disk, score_row, write_truth


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_pareto_front_is_what_nobody_beats(points):
    front = pareto_front(points)
    for index, (seconds, score) in enumerate(points):
        beaten = any(s <= seconds and a >= score and (s < seconds or a > score) for s, a in points)
        assert (index in front) == (not beaten)
    kept = [points[index] for index in front]
    assert kept == sorted(kept)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_a_linear_axis_holds_its_values_between_round_ends(low, span):
    axis = linear_axis(low, low + span, 10, 110)
    assert axis.low <= low + 1e-6 * span and axis.high >= low + span - 1e-6 * span
    steps = np.diff(axis.ticks)
    assert np.allclose(steps, steps[0])
    assert 10 <= axis.at(low) <= axis.at(low + span) <= 110


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=5))
def test_a_logarithmic_axis_holds_its_values_and_has_few_ticks(values):
    axis = log_axis(values, 0, 100)
    assert axis.low <= min(values) * 1.001 and axis.high >= max(values) * 0.999
    assert 1 <= len(axis.ticks) <= 9
    assert axis.at(axis.low) == 0 and axis.at(axis.high) == 100
    assert axis.at(np.sqrt(axis.low * axis.high)) == pytest.approx(50)


def test_positions_are_written_short():
    assert [number(x) for x in (3.0, 2.96, 0.25)] == ["3", "3", "0.2"]
    assert number(1 / 3) == "0.3"


def a_figure(**more):
    values = {
        "name": "x", "title": "A & B", "caption": "<n>", "height": 50.0,
        "drawing": '<path class="dots" d="M1 1h0"/>', "columns": ("team", "dsc"),
        "rows": (("a,b", 0.5), ("c", None), ("d", 1 / 3)),
    }  # fmt: skip
    return Figure(**(values | more))


def test_a_file_for_paper_is_valid_svg_with_colours_and_no_variables():
    root = ElementTree.fromstring(a_figure().as_svg())
    assert root.get("width") == "88mm"
    assert root.get("viewBox") == f"0 0 {WIDTH} 50"
    words = [element.text for element in root if element.tag.endswith(("title", "desc"))]
    assert words == ["A & B", "<n>"]
    assert "var(" not in paper_style() and "#0072b2" in paper_style()


def test_the_csv_of_a_figure_has_empty_cells_for_nothing():
    rows = list(csv.reader(io.StringIO(a_figure().as_csv())))
    assert rows == [["team", "dsc"], ["a,b", "0.5"], ["c", ""], ["d", "0.333333"]]


def test_a_figure_in_the_page_is_described_by_its_caption():
    html = a_figure().as_html()
    label = re.search(r'aria-describedby="([^"]+)"', html)[1]
    assert f'<figcaption id="{label}">&lt;n&gt;' in html


def test_every_figure_of_a_large_report_is_a_file_and_its_numbers_are_the_ranking_s(large_report):
    folder = large_report.parent / "figures"
    names = {path.stem for path in folder.glob("*.svg")}
    assert names == {path.stem for path in folder.glob("*.csv")}
    kinds = ("dsc-by-rank-2d", "nsd-against-time-3d", "seconds-by-modality-2d", "places-overall")
    kinds += ("kendall-tau-3d", "schemes-2d", "significance-dsc-overall", "official-places-2d")
    assert names >= set(kinds)
    for path in folder.glob("*.svg"):
        ElementTree.fromstring(path.read_text())
    ranking = json.loads((large_report.parent / "rank.json").read_text())
    board = next(board for board in ranking["boards"] if board["name"] == "3D")
    means = {each["team"]: each["mean"] for each in board["teams"]}
    with (folder / "nsd-against-time-3d.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            assert float(row["mean_nsd"]) == pytest.approx(means[row["team"]]["nsd"], abs=1e-6)
    with (folder / "places-overall.csv").open(newline="") as stream:
        counts = {}
        for row in csv.DictReader(stream):
            counts[row["team"]] = counts.get(row["team"], 0) + int(row["samples"])
    assert set(counts.values()) == {60}
    assert large_report.stat().st_size < 10_000_000


def test_medians_of_the_dots_and_boxes_are_those_of_the_scores(large_report):
    run = large_report.parent
    with (run / "figures" / "dsc-by-rank-3d.csv").open(newline="") as stream:
        found = {row["team"]: float(row["median"]) for row in csv.DictReader(stream)}
    assert len(found) == 25
    for team, median in itertools.islice(found.items(), 5):
        with (run / team / "scores.csv").open(newline="") as stream:
            own = [float(r["dsc"]) for r in csv.DictReader(stream) if r["dimensions"] == "3"]
        assert median == pytest.approx(np.median(own), abs=1e-6)


def test_a_case_that_a_team_never_ran_gets_the_failure_values():
    rows = [score_row("a", "x", 0.5), score_row("a", "y", 0.7), score_row("b", "x", 0.6)]
    grid = build_grid(rows, ["b", "a"], (0.25, 0.125))
    assert grid.dsc.tolist() == [[0.6, 0.25], [0.5, 0.7]]
    assert grid.nsd[0, 1] == 0.125
    assert grid.statuses[grid.status[0, 1]] == "not run"
    assert np.isnan(grid.seconds[0, 1])


def test_curves_meet_the_scores_at_the_challenge_s_tolerance_and_rise(tmp_path, caplog):
    run, truth = tmp_path / "run", tmp_path / "truth"
    labels = np.zeros((40, 50), np.uint8)
    labels[disk((40, 50), (18, 15), 9)] = 1
    labels[disk((40, 50), (22, 38), 7)] = 3
    write_truth(truth, "2DBox_US_1", labels)
    volume = disk((8, 20, 20), (4, 10, 10), 6).astype(np.uint8)
    write_truth(truth, "3DBox_CT_1", volume, spacing_xyz=(1, 1, 3))
    write_truth(truth, "2DBox_US_2", labels)
    for case, mask in (("2DBox_US_1", labels), ("3DBox_CT_1", volume)):
        add_result(run, "team", case, np.roll(mask, 2, -1))
    add_result(run, "team", "2DBox_US_2", labels[1:])
    words = [str(run), "--truth", str(truth), "--workers", "1"]
    assert main(["score", *words]) == 0
    assert main(["curves", *words, "--tolerances", "2", "0", "5"]) == 0
    with (run / "team" / "scores.csv").open(newline="") as stream:
        nsd = {row["case"]: float(row["nsd"]) for row in csv.DictReader(stream)}
    with (run / "team" / "curves.csv").open(newline="") as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    assert list(rows["2DBox_US_1"]) == [
        "schema", "team", "case", "scores_sha256", "nsd_0", "nsd_2", "nsd_5",
    ]  # fmt: skip
    for case, row in rows.items():
        assert float(row["nsd_2"]) == pytest.approx(nsd[case], abs=1e-6)
        assert float(row["nsd_0"]) <= float(row["nsd_2"]) <= float(row["nsd_5"])
    assert rows["2DBox_US_2"]["nsd_5"] == "0.0"
    assert float(rows["2DBox_US_1"]["nsd_5"]) == 1.0
    (truth / "2DBox_US_1.npz").unlink()
    assert main(["curves", *words]) == 1
    assert main(["curves", *words, "--tolerances", "-1"]) == 2
    assert main(["rank", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert "NSD over tolerance, 3D" in (run / "report.html").read_text()
    # handed in again: no curve of the masks before is shown as the new ones'
    add_result(run, "team", "3DBox_CT_1", np.zeros_like(volume))
    assert main(["score", *words]) == 1
    assert main(["rank", str(run)]) == main(["report", str(run)]) == 0
    assert "NSD over tolerance" not in (run / "report.html").read_text()
    assert "is of other scores: run curves again" in caplog.text


def test_comparisons_of_another_schema_or_damaged_are_refused(tmp_path):
    from evaluation.errors import ReportError

    assert comparison_plots([tmp_path]) == []
    for content in ('{"schema": 99}', "[]", "{"):
        (tmp_path / "compare.json").write_text(content)
        with pytest.raises(ReportError, match="compare.json"):
            comparison_plots([tmp_path])


def test_before_and_after_are_drawn_from_what_compare_writes(tmp_path):
    difference = {
        "part": "all", "metric": "dsc", "n": 3, "mean_a": 0.5, "mean_b": 0.75, "difference": 0.25,
        "low": 0.1, "high": 0.4, "wins": 2, "losses": 1, "ties": 0, "p_better": 0.1, "p_worse": 1,
    }  # fmt: skip
    content = {"schema": 1, "a": "old", "b": "new", "alpha": 0.05, "differences": [difference]}
    (tmp_path / "compare.json").write_text(json.dumps(content))
    (figure,) = comparison_plots([tmp_path])
    assert figure.name == "compare-old-new-dsc"
    assert "+0.2500" in figure.drawing and "better in 2, worse in 1" in figure.caption
    before, after = (
        float(x) for x in re.findall(r'class="(?:before|after)" cx="([\d.]+)', figure.drawing)
    )
    assert before < after
