"""The command `report`: one file, complete, honest about its runner, and deaf to what names say."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluation.__main__ import main
from evaluation.report.case_section import NONE, ten_thousandths
from evaluation.report.grid import build_grid
from evaluation.report.pictures import choose_cases, contour_path, encode_png
from evaluation.running.measuring import SENTINEL_FILE, Tick
from evaluation.running.outcomes import Status
from tests.evaluation.builders import (
    add_result,
    describe_team,
    disk,
    score_row,
    write_input,
    write_truth,
)

VOID = {"meta", "br", "img", "input", "link", "hr"}
EVIL = 'exit code 1: <script>alert("x")</script> & "quotes"'


class Page(HTMLParser):
    """Tables by id as rows of cell texts, all tags with their attributes; checks the nesting."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self._open = [], {}, []
        self._rows = None
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            assert dict(attributes)["id"] not in self.tables
            self._rows = self.tables[dict(attributes)["id"]] = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "td" in self._open or "th" in self._open:
            self._rows[-1][-1] += data


@pytest.fixture
def folders(tmp_path):
    """Run, cases and truth of two teams on three images and one volume; `second` fails twice."""
    run, cases, truth = (tmp_path / name for name in ("run", "cases", "truth"))
    for index in range(3):
        labels = disk((40, 50), (20, 20 + index), 10).astype(np.uint8)
        name = f"2DBox_US_{index}"
        write_truth(truth, name, labels)
        write_input(cases, name, np.full((40, 50, 3), 90 + index, np.uint8), [[10, 10, 30, 30]])
        add_result(run, "first", name, labels, modality="Ultrasound", wall_s=0.5)
        failed = {} if index else {"status": Status.CRASH, "reason": EVIL}
        shifted = np.roll(labels, 3, 1)
        add_result(run, "second", name, shifted, modality="Ultrasound", wall_s=2.0, **failed)
    volume = disk((6, 20, 20), (3, 10, 10), 5).astype(np.uint8)
    write_truth(truth, "3DBox_CT_1", volume, spacing_xyz=(1, 1, 3))
    write_input(cases, "3DBox_CT_1", volume * 900.0, [[5, 5, 1, 15, 15, 5]])
    add_result(run, "first", "3DBox_CT_1", volume, wall_s=4.0)
    add_result(run, "second", "3DBox_CT_1", volume[1:], wall_s=4.0)
    for team in ("first", "second"):
        describe_team(run, team, runner="docker", digest="sha256:0", protocol={"memory": "8g"})
    return run, cases, truth


def page_of(folders, *flags, pictures=True):
    run, cases, truth = map(str, folders)
    assert main(["score", run, "--truth", truth, "--workers", "1"]) == 0
    assert main(["rank", run]) == 0
    more = ["--cases", cases, "--truth", truth] if pictures else []
    assert main(["report", run, *more, *flags]) == 0
    return (folders[0] / "report.html").read_text(encoding="utf-8")


def case_data_of(text):
    """What the script of the page reads the cases from."""
    return json.loads(re.search(r'id="case-data">(.*?)</script>', text)[1])


def test_the_page_needs_nothing_from_outside(folders):
    text = page_of(folders)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base")
        for name in ("src", "href", "action", "srcset", "xlink:href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    assert not re.search(r"https?://|url\(|@import", text)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy


def test_every_case_is_in_the_data_and_counts_add_up(folders):
    text = page_of(folders)
    data = case_data_of(text)
    assert data["cases"] == ["2DBox_US_0", "2DBox_US_1", "2DBox_US_2", "3DBox_CT_1"]
    assert data["teams"] == ["first", "second"]
    status = np.frombuffer(base64.b64decode(data["status"]), np.uint8).reshape(2, 4)
    names = [[data["statuses"][code] for code in row] for row in status]
    assert names == [["ok"] * 4, ["crash", "ok", "ok", "wrong shape"]]
    page = Page(text)
    heads, *counts = page.tables["table-failures"]
    assert heads == ["Team", "ok", "crash", "wrong shape", "all"]
    assert counts == [["first", "4", "0", "0", "4"], ["second", "2", "1", "1", "4"]]
    assert len(page.tables["table-faults"]) == 1 + 2


def test_the_numbers_in_the_page_are_those_of_the_scores(folders):
    data = case_data_of(page_of(folders))
    for line, team in enumerate(data["teams"]):
        with (folders[0] / team / "scores.csv").open(newline="") as stream:
            rows = {row["case"]: row for row in csv.DictReader(stream)}
        for name in ("dsc", "nsd", "dsc_official", "nsd_official"):
            found = np.frombuffer(base64.b64decode(data[name]), "<u2").reshape(2, 4)[line]
            expected = [float(rows[case][name]) for case in data["cases"]]
            assert np.abs(found / 10_000 - expected).max() <= 0.5e-4 + 1e-9
        seconds = np.frombuffer(base64.b64decode(data["milliseconds"]), "<u4").reshape(2, 4)[line]
        ok = [rows[case]["status"] == "ok" for case in data["cases"]]
        walls = [float(rows[case]["wall_s"]) for case in data["cases"]]
        assert seconds.tolist() == [1000 * w * k for w, k in zip(walls, ok, strict=True)]


def test_scores_that_are_not_there_are_told_from_zero():
    found = ten_thousandths(np.array([[0.0, np.nan, 0.12345, 1.0]]))
    assert found.tolist() == [[0, NONE, 1234, 10_000]]


def test_the_leaderboard_has_a_row_a_team_with_tier_place_and_means(folders):
    heads, *rows = Page(page_of(folders, pictures=False)).tables["table-board-overall"]
    assert heads[:3] == ["Tier", "Place", "Team"]
    assert heads[5:] == ["DSC", "NSD", "Seconds", "Failed"]
    assert [row[2] for row in rows] == ["first", "second"]
    assert rows[0][1].startswith("1")
    assert rows[0][5].startswith("1.0000")
    assert [row[-1] for row in rows] == ["0", "2"]


def test_the_means_of_every_modality_are_tables(folders):
    heads, *rows = Page(page_of(folders, pictures=False)).tables["table-modality-seconds-overall"]
    assert heads == ["Place", "Team", "CT1", "Ultrasound3"]
    assert rows == [["1", "first", "4.00", "0.50"], ["2", "second", "-", "2.00"]]


def test_what_a_container_prints_is_shown_and_never_run(folders):
    text = page_of(folders)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    kinds = [attributes.get("type") for tag, attributes in Page(text).tags if tag == "script"]
    assert kinds == ["application/json", None]


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        ("docker", "in containers"),
        ("process", "without containers</b>: neither memory nor network"),
    ],
)
def test_the_page_says_which_runner_was_used(tmp_path, runner, words):
    run, truth = tmp_path / "run", tmp_path / "truth"
    labels = disk((9, 9), (4, 4), 3).astype(np.uint8)
    write_truth(truth, "case", labels)
    add_result(run, "team", "case", labels, runner=runner)
    text = page_of((run, tmp_path, truth), pictures=False)
    assert f'data-runner="{runner}">Run' in text
    assert words in " ".join(text.split())


@pytest.mark.parametrize(("walls", "warned"), [((1.0, 1.05), False), ((1.0, 1.0, 1.3), True)])
def test_drift_of_the_machine_is_told_above_a_tenth(folders, walls, warned):
    ticks = [Tick("2024-01-01T00:00:00+00:00", wall_s, 1.0, 0.0, "x", "h") for wall_s in walls]
    lines = "".join(json.dumps(dataclasses.asdict(tick)) + "\n" for tick in ticks)
    (folders[0] / SENTINEL_FILE).write_text(lines)
    text = page_of(folders, pictures=False)
    assert ("The machine drifted" in text) == warned
    assert ("spread by 30 %" in text) == warned


def test_provenance_has_image_protocol_and_digests(folders):
    text = page_of(folders, pictures=False)
    assert "<dt>digest</dt><dd>sha256:0</dd>" in text
    assert "<dt>protocol.memory</dt><dd>8g</dd>" in text
    assert re.search(r"<dt>scores.csv sha256</dt><dd>[0-9a-f]{64}</dd>", text)
    assert "<dt>first case started</dt><dd>2024-01-01T00:00:00+00:00</dd>" in text


def test_the_same_files_give_the_same_page_and_figures(folders):
    first = page_of(folders)
    figures = {path.name: path.read_bytes() for path in (folders[0] / "figures").iterdir()}
    assert page_of(folders) == first
    assert {p.name: p.read_bytes() for p in (folders[0] / "figures").iterdir()} == figures


def test_the_page_names_the_command_that_makes_it_again(folders):
    run, cases, truth = folders
    text = page_of(folders)
    command = f"python -m evaluation report {run} --cases {cases} --truth {truth}"
    assert f"<pre class=name>{command}</pre>" in text
    lines = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stem}\n"
        for path in sorted(truth.iterdir())
    )
    assert hashlib.sha256(lines.encode()).hexdigest() in text


def test_pictures_show_box_truth_and_the_mask_of_every_team_that_answered(folders):
    page = Page(page_of(folders))
    images = [attributes["href"] for tag, attributes in page.tags if tag == "image"]
    assert len(images) == 4
    for image in images:
        picture = Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2])))
        assert picture.format == "PNG"
    layers = [attributes["data-layer"] for _, attributes in page.tags if "data-layer" in attributes]
    assert layers.count("box") == layers.count("truth") == layers.count("t0") == 4
    # its mask of the volume has the wrong shape, and one lies there of a container that crashed
    assert layers.count("t1") == 2


def test_a_case_that_cannot_be_drawn_is_left_out(folders, caplog):
    (folders[1] / "2DBox_US_1.npz").unlink()
    broken = folders[1] / "2DBox_US_2.npz"
    content = bytearray(broken.read_bytes())
    content[90:120] = bytes(30)
    broken.write_bytes(content)
    page = Page(page_of(folders))
    assert [tag for tag, _ in page.tags].count("image") == 2
    assert "2DBox_US_1" in caplog.text and "2DBox_US_2" in caplog.text


def test_a_case_without_truth_is_named_and_still_a_row(folders):
    run, cases, truth = folders
    (truth / "2DBox_US_2.npz").unlink()
    assert main(["score", str(run), "--truth", str(truth), "--workers", "1"]) == 1
    assert main(["rank", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    text = (run / "report.html").read_text()
    assert "No truth, left out for every team: 2DBox_US_2." in text
    data = case_data_of(text)
    assert "2DBox_US_2" in data["cases"]
    dsc = np.frombuffer(base64.b64decode(data["dsc"]), "<u2").reshape(2, 4)
    assert dsc[:, 2].tolist() == [NONE, NONE]


def test_a_leaderboard_of_other_scores_is_refused(folders, capsys):
    page_of(folders, pictures=False)
    run, _, truth = folders
    add_result(run, "second", "2DBox_US_0", np.zeros((40, 50), np.uint8), modality="Ultrasound")
    main(["score", str(run), "--truth", str(truth), "--workers", "1"])
    assert main(["report", str(run)]) == 1
    assert "rank again" in capsys.readouterr().err


def test_missing_leaderboard_and_half_of_the_picture_folders_are_errors(folders, capsys):
    run, cases, truth = map(str, folders)
    main(["score", run, "--truth", truth, "--workers", "1"])
    assert main(["report", run]) == 1
    assert "run rank first" in capsys.readouterr().err
    main(["rank", run])
    assert main(["report", run, "--cases", cases]) == 2


def test_the_worst_the_best_and_the_middle_case_of_each_kind_are_drawn_first():
    rows = [score_row("a", f"ct{k}", k / 10) for k in range(6)]
    rows += [score_row("a", "mr", 0.5, modality="MR")]
    grid = build_grid(rows, ["a"], (0.0, 0.0))
    found = choose_cases(grid, 5)
    assert [choice.case for choice in found] == ["ct0", "mr", "ct5", "ct3", "ct1"]
    assert [choice.role for choice in found] == ["worst", "only case", "best", "median", ""]
    assert len(choose_cases(grid, 100)) == 7


def test_pictures_beyond_the_page_s_size_are_left_out(folders, caplog, monkeypatch):
    monkeypatch.setattr("evaluation.report.pictures.PICTURE_BYTES", 1500)
    page = Page(page_of(folders))
    assert 0 < [tag for tag, _ in page.tags].count("image") < 4
    assert "pictures fit" in caplog.text


def test_a_contour_runs_along_pixel_edges_and_between_labels():
    labels = np.array([[0, 1, 2]], np.uint8)
    assert contour_path(labels) == "M1 0v1M2 0v1M3 0v1M1 0h2M1 1h2"
    assert contour_path(np.zeros((4, 4), np.uint8)) == ""


def test_a_contour_of_a_large_map_is_thinned_and_stays_in_place():
    labels = np.zeros((1300, 1300), np.uint8)
    labels[300:900, 600:1200] = 1
    assert contour_path(labels) == "M600 300v600M1200 300v600M600 300h600M600 900h600"


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (np.zeros((5, 6), np.uint8), "L"),
        (np.zeros((5, 6, 1), np.uint16), "L"),
        (np.arange(90.0).reshape(5, 6, 3) * 40, "P"),
        (np.full((5, 6, 4), np.nan), "L"),
        (np.zeros((5, 6, 3), bool), "L"),
    ],
)
def test_images_of_any_type_become_small_pictures(image, mode):
    assert Image.open(io.BytesIO(encode_png(image))).mode == mode
