"""Exports, each against what its platform's own code demands (see docs/exports)."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from evaluation.__main__ import main
from evaluation.exporting.grand_challenge import phase_settings
from evaluation.exporting.summary import part_name, summarise
from tests.evaluation.builders import describe_team, disk, score_row, write_scores, write_truth

EVIL = "<script>alert(1)</script> & more"


@pytest.fixture
def run(tmp_path):
    """Two teams on three cases; the second team fails two of them."""
    folder = tmp_path / "run"
    rows = [
        score_row("a", "x", 0.9, wall_s=2.0),
        score_row("a", "y", 0.5, dimensions=3, wall_s=4.0),
        score_row("a", "z", 0.3, modality="X-Ray", wall_s=3.0),
        score_row("b", "x", 0.6),
        score_row("b", "y", 0.0, dimensions=3, status="crash", reason=EVIL),
    ]
    write_scores(folder, *rows)
    protocol = {"failure_dsc": 0.0, "failure_nsd": 0.0, "failure_time_s": 100.0}
    for team in "ab":
        describe_team(folder, team, protocol=protocol)
    return folder


def test_the_summary_by_hand(run):
    """CT (0.9 + 0.5) / 2 = 0.7 and X-Ray 0.3: mean 0.5."""
    rows = [score_row("a", "x", 0.9), score_row("a", "y", 0.5, dimensions=3)]
    rows.append(score_row("a", "z", 0.3, modality="X-Ray"))
    found = summarise(rows)
    assert list(found) == ["", "2d", "3d", "ct", "xray"]
    assert (found[""]["dsc"], found["2d"]["dsc"], found["ct"]["dsc"]) == (0.5, 0.6, 0.7)
    assert part_name("X-Ray") == "xray"
    no_time = summarise([score_row("a", "x", 0.9, wall_s=None)])
    assert no_time[""]["seconds"] is None


class Tags(HTMLParser):
    """Names of all tags."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def test_codabench_gets_a_flat_object_of_numbers_and_a_page(run, tmp_path):
    out = tmp_path / "out"
    assert main(["export", "codabench", str(run), "--out", str(out)]) == 0
    scores = json.loads((out / "a" / "scores.json").read_text())
    assert (scores["dsc"], scores["failed"], scores["dsc_xray"]) == (0.5, 0.0, 0.3)
    for value in scores.values():  # SubmissionScore: 20 digits, ten of them decimals
        assert isinstance(value, float)
        assert -Decimal(str(value)).as_tuple().exponent <= 10
    page = (out / "b" / "detailed_results.html").read_text()
    assert "script" not in Tags(page).found
    assert "http" not in page and "crash" in page


def check_bundle(folder):
    """What V2Unpacker and the serializers refuse, written down as assertions."""
    competition = yaml.safe_load((folder / "competition.yaml").read_text())
    assert competition["version"] == 2
    assert competition["title"] and competition["docker_image"] == "example/scorer:1"
    for page in competition["pages"]:
        assert page["title"] and (folder / page["file"]).read_text()
    assert (folder / competition["terms"]).read_text()
    assert (folder / competition["image"]).read_bytes().startswith(b"\x89PNG")
    (task,) = competition["tasks"]
    assert task["index"] == 0 and (folder / task["reference_data"]).is_dir()
    assert (folder / task["scoring_program"] / "metadata.yaml").is_file()
    (phase,) = competition["phases"]
    assert phase["tasks"] == [0] and phase["name"] and str(phase["start"]).startswith("2030-01-01")
    (board,) = competition["leaderboards"]
    assert board["submission_rule"] in (
        "Add", "Add_And_Delete", "Add_And_Delete_Multiple", "Force_Last",
        "Force_Latest_Multiple", "Force_Best",
    )  # fmt: skip
    columns = board["columns"]
    assert len({column["key"] for column in columns}) == len(columns)
    assert [column["index"] for column in columns] == list(range(len(columns)))
    for column in columns:
        assert len(column["key"]) <= 36 and len(column["title"]) <= 36
        assert column["sorting"] in ("asc", "desc") and isinstance(column["precision"], int)
    return competition


def test_a_codabench_bundle_is_valid_and_its_program_scores_as_the_worker_runs_it(tmp_path):
    truth, bundle, work = tmp_path / "truth", tmp_path / "bundle", tmp_path / "work"
    labels = disk((24, 24), (12, 12), 6).astype(np.uint8)
    for name in ("2DBox_US_1", "2DBox_US_2"):
        write_truth(truth, name, labels)
    line = ["export", "codabench-bundle", "--truth", str(truth), "--out", str(bundle)]
    line += ["--start", "2030-01-01 00:00:00", "--docker-image", "example/scorer:1"]
    assert main([*line, "--title", 'A "title": {odd}']) == 0
    competition = check_bundle(bundle)
    assert competition["title"] == 'A "title": {odd}'
    packed = (tmp_path / "bundle.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert {"competition.yaml", "scoring_program/score.py"} <= set(archive.namelist())
        assert not any(name.startswith("scoring_image") for name in archive.namelist())
    assert main([*line, "--title", 'A "title": {odd}']) == 0
    assert (tmp_path / "bundle.zip").read_bytes() == packed

    # compute_worker.py: reference_data in input/ref, the submission in input/res, output/
    (work / "input" / "res").mkdir(parents=True)
    (work / "output").mkdir()
    (bundle / "reference_data").rename(work / "input" / "ref")
    # zipped as a folder, on a Mac
    for name in ("masks", "__MACOSX/masks", ".Trashes"):
        (work / "input" / "res" / name).mkdir(parents=True)
    (work / "input" / "res" / "__MACOSX" / "masks" / "._2DBox_US_1.npz").write_bytes(b"\0")
    np.savez_compressed(work / "input" / "res" / "masks" / "2DBox_US_1.npz", segs=labels)
    metadata = yaml.safe_load((bundle / "scoring_program" / "metadata.yaml").read_text())
    words = metadata["command"].split()
    assert words[1:] == ["/app/program/score.py", "/app/input", "/app/output"]
    program = [sys.executable, str(bundle / "scoring_program" / "score.py")]
    ended = subprocess.run(
        [*program, str(work / "input"), str(work / "output")],
        cwd=tmp_path, env={}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    scores = json.loads((work / "output" / "scores.json").read_text())
    assert (scores["dsc"], scores["failed"], "seconds" in scores) == (0.5, 1.0, False)
    keys = {column["key"] for column in competition["leaderboards"][0]["columns"]}
    assert keys <= scores.keys()
    assert (work / "output" / "detailed_results.html").is_file()


def test_a_bundle_does_not_replace_other_files(tmp_path, capsys):
    write_truth(tmp_path / "truth", "2DBox_US_1", np.ones((4, 4), np.uint8))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    line = ["export", "codabench-bundle", "--truth", str(tmp_path / "truth"), "--out", str(mine)]
    assert main([*line, "--start", "2030-01-01", "--docker-image", "x"]) == 1
    assert "expected an empty folder" in capsys.readouterr().err
    assert (mine / "thesis.txt").is_file()
    assert main(line) == 2
    assert "expected --start, --docker-image" in capsys.readouterr().err


def test_a_bundle_made_again_keeps_what_the_organiser_wrote(tmp_path):
    truth, bundle = tmp_path / "truth", tmp_path / "bundle"
    labels = disk((24, 24), (12, 12), 6).astype(np.uint8)
    write_truth(truth, "2DBox_US_1", labels)
    line = ["export", "codabench-bundle", "--truth", str(truth), "--out", str(bundle)]
    line += ["--start", "2030-01-01 00:00:00", "--docker-image", "example/scorer:1"]
    assert main(line) == 0
    (bundle / "pages" / "terms.md").write_text("my terms")
    (bundle / "scoring_program" / "stale.py").write_text("")
    write_truth(truth, "2DBox_US_2", labels)
    for _ in range(2):
        assert main([*line, "--title", "Second"]) == 0
    assert (bundle / "pages" / "terms.md").read_text() == "my terms"
    overview = (bundle / "pages" / "overview.md").read_text()  # not edited, so made anew
    assert overview.startswith("# Second") and "Segment 2 cases" in overview
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert not [name for name in archive.namelist() if name.startswith(".")]
    assert (bundle / "reference_data" / "2DBox_US_2.npz").is_file()
    assert not (bundle / "scoring_program" / "stale.py").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.zip", "truth"]


def test_a_bundle_that_was_stopped_between_two_renames_is_taken_up(tmp_path):
    truth, bundle = tmp_path / "truth", tmp_path / "bundle"
    write_truth(truth, "2DBox_US_1", disk((24, 24), (12, 12), 6).astype(np.uint8))
    line = ["export", "codabench-bundle", "--truth", str(truth), "--out", str(bundle)]
    line += ["--start", "2030-01-01 00:00:00", "--docker-image", "example/scorer:1"]
    assert main(line) == 0
    (bundle / "pages" / "terms.md").write_text("my terms")
    bundle.rename(tmp_path / ".bundle.old")
    assert main(line) == 0
    assert (bundle / "pages" / "terms.md").read_text() == "my terms"


@pytest.mark.parametrize("fault", ["a broken truth", "its own truth"])
def test_a_bundle_that_cannot_be_made_leaves_the_one_that_is_there(tmp_path, capsys, fault):
    truth, bundle = tmp_path / "truth", tmp_path / "bundle"
    write_truth(truth, "2DBox_US_1", disk((24, 24), (12, 12), 6).astype(np.uint8))
    line = ["export", "codabench-bundle", "--start", "2030-01-01 00:00:00"]
    line += ["--docker-image", "example/scorer:1", "--out", str(bundle), "--truth"]
    assert main([*line, str(truth)]) == 0
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    if fault == "a broken truth":
        np.savez(truth / "2DBox_US_2.npz", imgs=np.zeros(3))
        assert main([*line, str(truth)]) == 1
        assert "2DBox_US_2.npz: expected gts" in capsys.readouterr().err
    else:
        assert main([*line, str(bundle / "reference_data")]) == 1
        assert "expected the truth outside" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def get_jsonpath(obj, path):
    """As Grand Challenge reads a column (evaluation_extras.py): keys joined by dots."""
    for key in path.split("."):
        obj = obj[key]
    return obj


def test_grand_challenge_finds_a_number_at_every_path_of_every_team(run, tmp_path):
    out = tmp_path / "out"
    assert main(["export", "grand-challenge", str(run), "--out", str(out)]) == 0
    settings = json.loads((out / "phase_settings.json").read_text())
    paths = [settings["score_jsonpath"]]
    for column in settings["extra_results_columns"]:  # EXTRA_RESULT_COLUMNS_SCHEMA
        assert {"title", "path", "order"} <= column.keys()
        assert column.keys() <= {"title", "path", "error_path", "order", "exclude_from_ranking"}
        assert column["order"] in ("asc", "desc")
        assert isinstance(column["exclude_from_ranking"], bool)
        paths.append(column["path"])
    assert settings["score_default_sort"] in ("asc", "desc")
    for team in "ab":
        metrics = json.loads((out / team / "metrics.json").read_text())
        for path in paths:
            assert isinstance(get_jsonpath(metrics, path), int | float)
    first = json.loads((out / "a" / "metrics.json").read_text())
    assert get_jsonpath(first, "aggregates.overall.dsc") == 0.5
    assert [each["case"] for each in first["results"]] == ["x", "y", "z"]


def test_only_metrics_with_a_weight_are_ranked_on_grand_challenge():
    settings = phase_settings({"dsc": 0.0, "nsd": 2.0, "seconds": 1.0})
    assert settings["score_jsonpath"] == "aggregates.overall.nsd"
    ranked = {
        column["path"]: not column["exclude_from_ranking"]
        for column in settings["extra_results_columns"]
    }
    assert ranked == {
        "aggregates.overall.dsc": False,
        "aggregates.overall.seconds": True,
        "aggregates.overall.failed": False,
    }


@pytest.mark.parametrize("task", ["all", "dimensions", "modality"])
def test_challenger_gets_each_algorithm_once_for_each_case_of_a_task(run, tmp_path, task):
    out = tmp_path / "out"
    for team in "ab":
        describe_team(run, team, protocol={"failure_time_s": 100.0, "ranking": {"alpha": 0.01}})
    assert main(["export", "challenger", str(run), "--out", str(out), "--task", task]) == 0
    for metric in ("dsc", "nsd", "seconds"):
        with (out / f"{metric}.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert list(rows[0]) == ["Task", "TestCase", "Algorithm", "MetricValue"]
        seen = [(row["Task"], row["TestCase"], row["Algorithm"]) for row in rows]
        assert len(set(seen)) == len(seen) == 6  # sanity check of as.challenge
        assert all(np.isfinite(float(row["MetricValue"])) for row in rows)
    values = {(row["TestCase"], row["Algorithm"]): float(row["MetricValue"]) for row in rows}
    assert values["z", "b"] == 100.0  # never run: the failure time
    script = (out / "analysis.R").read_text()
    assert "alpha = 0.01," in script
    assert 'read.csv("seconds.csv")' in script and "smallBetter = TRUE" in script
    assert script.count("(") == script.count(")")
    assert ("consensus(" in script) == (task != "all")


def test_runs_are_for_results_and_not_for_bundles(run, tmp_path, capsys):
    assert main(["export", "challenger", "--out", str(tmp_path)]) == 2
    assert "expected RUN, found none" in capsys.readouterr().err
    assert main(["export", "codabench-bundle", str(run), "--out", str(tmp_path)]) == 2
    assert "expected no RUN, found one" in capsys.readouterr().err
