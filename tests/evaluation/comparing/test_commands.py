"""`compare`, `reproduce` and `verify` on small runs whose answers are known."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy import stats

from evaluation.__main__ import main
from evaluation.running.outcomes import Status
from evaluation.running.records import RecordLog, read_records
from evaluation.running.run_folder import TeamFolder
from tests.evaluation.builders import (
    add_result,
    describe_team,
    disk,
    score_row,
    write_scores,
    write_truth,
)

HOST = {"processor": "one", "processors": 2}


def team_of(run, name, dsc, *, seconds=1.0, host=HOST, masks=True, modality="CT"):
    """A scored team with one case for each DSC; masks hold the DSC, so that equal ones agree."""
    rows = []
    for index, value in enumerate(dsc):
        mask = np.full((3, 3), round(255 * value), np.uint8) if masks else None
        add_result(run, name, f"c{index}", mask, wall_s=seconds, modality=modality)
        rows.append(score_row(name, f"c{index}", value, wall_s=seconds, modality=modality))
    describe_team(run, name, host=host)
    write_scores(run, *rows)
    return run / name


def outcome(folder, name):
    files = [folder / f"{name}.{kind}" for kind in ("json", "csv", "txt")]
    return json.loads(files[0].read_text()), [path.read_bytes() for path in files]


def differences(content):
    return {(each["part"], each["metric"]): each for each in content["differences"]}


def test_compare_by_hand(tmp_path, capsys):
    before = team_of(tmp_path / "one", "old", [0.5, 0.6, 0.7, 0.8], seconds=4.0)
    after = team_of(tmp_path / "two", "new", [0.6, 0.6, 0.9, 0.7], seconds=1.0)
    assert main(["compare", str(before), str(after)]) == 0
    content, files = outcome(after, "compare")
    dsc = differences(content)["all", "dsc"]
    assert (dsc["mean_a"], dsc["mean_b"], dsc["difference"]) == (0.65, 0.7, 0.05)
    assert (dsc["wins"], dsc["losses"], dsc["ties"], dsc["n"]) == (2, 1, 1, 4)
    assert dsc["low"] < 0.05 < dsc["high"]
    # ranks of 0.1, 0.2, -0.1 are 1.5, 3, 1.5: 4.5 and above is reached by 3 of 8 signs
    assert dsc["p_better"] == 0.375
    seconds = differences(content)["all", "seconds"]
    assert (seconds["difference"], seconds["ratio"], seconds["wins"]) == (-3.0, 0.25, 4)
    assert differences(content)["all", "peak_bytes"]["n"] == 0
    assert "B - A" in capsys.readouterr().out
    assert main(["compare", str(before), str(after), "--out", str(tmp_path / "again")]) == 0
    assert outcome(tmp_path / "again", "compare")[1] == files


def test_compare_takes_no_times_of_other_hardware_and_tells_of_statuses(tmp_path, capsys):
    before = team_of(tmp_path / "one", "old", [0.5, 0.6])
    after = team_of(tmp_path / "two", "new", [0.6, 0.7], host={"processor": "two"})
    rows = [score_row("new", "c0", 0.0, status="crash"), score_row("new", "c2", 1.0)]
    write_scores(tmp_path / "two", *rows)
    assert main(["compare", str(before), str(after)]) == 0
    content, _ = outcome(after, "compare")
    assert differences(content)["all", "seconds"]["n"] == 0
    assert content["statuses"] == {"ok -> crash": 1}
    assert (content["only_in_a"], content["only_in_b"]) == (["c1"], ["c2"])
    assert "no times compare" in capsys.readouterr().out


def test_the_interval_is_that_of_drawing_groups(tmp_path):
    """Two groups of two cases: the mean is 0, 0.1 or 0.2, each end with a quarter of the draws."""
    before = team_of(tmp_path / "one", "old", [0.5] * 4)
    after = team_of(tmp_path / "two", "new", [0.5, 0.5, 0.7, 0.7])
    table = tmp_path / "groups.csv"
    table.write_text("case,group\nc0,a\nc1,a\nc2,b\nc3,b\n")
    assert main(["compare", str(before), str(after), "--groups", str(table)]) == 0
    dsc = differences(outcome(after, "compare")[0])["all", "dsc"]
    assert (dsc["low"], dsc["high"], dsc["p_better"]) == (0.0, 0.2, 0.5)


def test_no_interval_where_no_draw_can_differ_and_a_word_where_some_cannot(tmp_path, capsys):
    kinds = ("CT", "MR", "PET", "PET")
    for name, dsc in (("old", [0.5, 0.6, 0.7, 0.8]), ("new", [0.6, 0.5, 0.7, 0.9])):
        rows = [
            score_row(name, f"c{k}", value, modality=kind)
            for k, (value, kind) in enumerate(zip(dsc, kinds, strict=True))
        ]
        write_scores(tmp_path / "three", *rows[:3])
        write_scores(tmp_path / "four", *rows)
    for run, lone in (("three", 3), ("four", 2)):
        folder = tmp_path / run
        assert main(["compare", str(folder / "old"), str(folder / "new")]) == 0
        told = f"{lone} of 3 modalities (2D and 3D apart) have one case, or one patient group"
        assert told in capsys.readouterr().out
    alone = differences(outcome(tmp_path / "three" / "new", "compare")[0])["all", "dsc"]
    assert (alone["low"], alone["high"], alone["wins"]) == (None, None, 1)
    found = differences(outcome(tmp_path / "four" / "new", "compare")[0])["all", "dsc"]
    assert found["low"] == 0.0 and found["high"] == 0.05  # the PET case drawn never, or twice


def test_results_without_a_common_case_or_team_are_refused(tmp_path, capsys):
    before = team_of(tmp_path / "one", "old", [0.5])
    write_scores(tmp_path / "two", score_row("new", "other"))
    assert main(["compare", str(before), str(tmp_path / "two")]) == 1
    assert "expected cases in common" in capsys.readouterr().err
    write_scores(tmp_path / "two", score_row("more", "other"))
    assert main(["compare", str(before), str(tmp_path / "two")]) == 1
    assert "expected scores.csv of one team, found teams: more, new" in capsys.readouterr().err
    assert main(["compare", str(before), str(tmp_path / "three")]) == 1
    assert "three: expected RUN/TEAM, found no such folder" in capsys.readouterr().err


def reproduce(tmp_path, one, other, *flags):
    code = main(["reproduce", str(one), str(other), "--out", str(tmp_path / "out"), *flags])
    return code, outcome(tmp_path / "out", "reproduce")[0]


def test_identical_masks_are_reproduced_exactly_however_they_are_packed(tmp_path, capsys):
    one = team_of(tmp_path / "one", "t", [0.5, 0.9])
    other = team_of(tmp_path / "two", "t", [0.5, 0.9])
    for path in (other / "masks").iterdir():
        with np.load(path) as archive:
            np.savez(path, segs=archive["segs"].astype(np.int32))
    code, content = reproduce(tmp_path, one, other)
    assert (code, content["verdict"]) == (0, "reproduced exactly")
    assert content["masks"] == {"identical": 2}
    assert "reproduced exactly: every mask is identical" in capsys.readouterr().out


def noisy(size, bias, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.6, 0.9, size)
    noise = rng.normal(0.0, 0.004, size)
    return base.round(4), (base + noise - noise.mean() + bias).round(4)


def test_close_scores_are_equivalent_and_far_ones_are_not(tmp_path):
    first, close = noisy(30, 0.001)
    _, far = noisy(30, 0.02)
    one = team_of(tmp_path / "one", "t", first)
    code, content = reproduce(tmp_path, one, team_of(tmp_path / "two", "t", close))
    assert (code, content["verdict"]) == (0, "reproduced within the margin")
    assert content["masks"]["different"] > 0
    p = content["agreement"]["all"]["dsc"]["p_upper"]
    assert p == pytest.approx(
        stats.ttest_1samp(close - first, 0.01, alternative="less").pvalue, rel=1e-3
    )
    code, content = reproduce(tmp_path, one, team_of(tmp_path / "three", "t", far))
    assert (code, content["verdict"]) == (4, "not reproduced")
    assert "DSC of all differs by more than the margin" in content["reasons"]
    assert reproduce(tmp_path, one, tmp_path / "three", "--margin", "0.05")[0] == 0


def test_too_few_cases_decide_nothing(tmp_path):
    one = team_of(tmp_path / "one", "t", [0.5, 0.9])
    code, content = reproduce(tmp_path, one, team_of(tmp_path / "two", "t", [0.52, 0.89]))
    assert (code, content["verdict"]) == (3, "undecided")


def test_a_case_that_ended_otherwise_or_was_not_run_is_not_reproduced(tmp_path):
    one = team_of(tmp_path / "one", "t", [0.5, 0.9])
    other = team_of(tmp_path / "two", "t", [0.5, 0.9])
    write_scores(tmp_path / "two", score_row("t", "c0", 0.5, status="crash"))
    code, content = reproduce(tmp_path, one, other)
    assert code == 4
    assert content["reasons"][:2] == [
        "1 cases of the original were not run again",
        "1 of 1 cases ended otherwise",
    ]


def test_one_modality_that_differs_is_enough(tmp_path):
    first, close = noisy(60, 0.0)
    one, other = (tmp_path / name for name in ("one", "two"))
    rows_one = [score_row("t", f"c{k}", v) for k, v in enumerate(first)]
    rows_two = [score_row("t", f"c{k}", v) for k, v in enumerate(close)]
    for rows, drop in ((rows_one, 0.0), (rows_two, 0.05)):
        rows += [score_row("t", f"p{k}", 0.8 - drop, modality="PET") for k in range(3)]
    write_scores(one, *rows_one)
    write_scores(two := other, *rows_two)
    code, content = reproduce(tmp_path, one, two)
    assert content["agreement"]["all"]["dsc"]["equivalent"]
    assert (code, content["masks"]) == (4, {"not there": 63})
    assert "DSC of PET differs by more than the margin" in content["reasons"]


@pytest.fixture
def scored_run(tmp_path):
    """A run of two teams on two cases, scored and ranked by the commands themselves."""
    run, truth = tmp_path / "run", tmp_path / "truth"
    for index, radius in enumerate((6, 8)):
        labels = disk((32, 32), (16, 16), radius).astype(np.uint8)
        write_truth(truth, f"2DBox_US_{index}", labels)
        for team, shift in (("good", 0), ("bad", 3)):
            add_result(run, team, f"2DBox_US_{index}", np.roll(labels, shift, axis=0))
    add_result(run, "bad", "2DBox_US_1", status=Status.CRASH, reason="exit code 1")
    assert main(["score", str(run), "--truth", str(truth), "--workers", "1"]) == 0
    assert main(["rank", str(run)]) == 0
    return run, truth


def verify(run, truth=None):
    flags = [] if truth is None else ["--truth", str(truth)]
    code = main(["verify", str(run), *flags])
    return code, outcome(run, "verify")


def test_an_untouched_run_is_verified_cell_by_cell(scored_run, capsys):
    run, truth = scored_run
    code, (content, files) = verify(run, truth)
    assert (code, content["follows"], content["faults"]) == (0, True, [])
    assert content["checks"]["score"] >= 4 * 20
    assert "the leaderboard follows from the records: 0 of" in capsys.readouterr().out
    assert verify(run, truth)[1][1] == files


def test_verify_names_a_score_that_the_mask_does_not_give(scored_run):
    run, truth = scored_run
    path = run / "good" / "scores.csv"
    path.write_text(path.read_text().replace("ok,,1.0,1.0,1.0", "ok,,1.0,0.99,1.0", 1))
    assert main(["rank", str(run)]) == 0
    assert verify(run)[0] == 0  # the leaderboard follows from the rows ...
    code, (content, _) = verify(run, truth)  # ... but the rows not from the masks
    assert code == 4
    assert {(each["what"], each["cell"]) for each in content["faults"]} == {("score", "dsc")}


def test_verify_names_a_leaderboard_that_the_scores_do_not_give(scored_run):
    run, truth = scored_run
    for name, old, new in (
        ("rank.json", '"place": 1', '"place": 2'),
        ("leaderboard.csv", "good", "goof"),
        ("leaderboard.md", "good", "goof"),
    ):
        text = (run / name).read_text()
        (run / name).write_text(text.replace(old, new, 1))
        code, (content, _) = verify(run, truth)
        assert code == 4
        assert all(each["cell"].startswith(name) for each in content["faults"])
        (run / name).write_text(text)


def test_verify_names_a_row_and_a_mask_that_the_record_does_not_have(scored_run):
    run, truth = scored_run
    folder = TeamFolder(run / "good")
    (record, *_) = read_records(folder.records)
    with RecordLog(folder.records) as log:
        log.append(type(record)(**{**vars(record), "wall_s": 9.0, "mask_sha256": "f" * 64}))
    code, (content, _) = verify(run, truth)
    assert code == 4
    found = {(each["what"], each["cell"]) for each in content["faults"]}
    assert ("row", "wall_s") in found and ("mask", "sha256") in found
    table = list(csv.DictReader((run / "verify.csv").read_text().splitlines()))
    assert sum(row["follows"] == "False" for row in table) == len(content["faults"])


def test_verify_names_a_row_whose_record_is_of_another_image(scored_run):
    run, truth = scored_run
    describe_team(run, "good", digest="sha256:1")  # run again, and stopped at once
    code, (content, _) = verify(run)
    assert code == 4
    named = {(each["team"], each["case"], each["cell"]) for each in content["faults"]}
    assert {("good", f"2DBox_US_{k}", "status") for k in range(2)} <= named
    assert main(["score", str(run), "--truth", str(truth), "--workers", "1"]) == 0
    assert main(["rank", str(run)]) == 0
    assert verify(run, truth)[0] == 0


def test_groups_must_be_said_as_they_were(scored_run, tmp_path, capsys):
    run, _ = scored_run
    table = tmp_path / "groups.csv"
    table.write_text("case,group\n2DBox_US_0,a\n2DBox_US_1,a\n")
    assert main(["verify", str(run), "--groups", str(table)]) == 1
    assert "made without --groups" in capsys.readouterr().err
    assert main(["rank", str(run), "--groups", str(table)]) == 0
    assert main(["verify", str(run), "--groups", str(table)]) == 0


def test_two_runs_without_an_answer_reproduce_nothing(tmp_path):
    for run in ("one", "two"):
        rows = [score_row("t", f"c{k}", 0.0, status="crash", wall_s=None) for k in range(40)]
        write_scores(tmp_path / run, *rows)
    code, content = reproduce(tmp_path, tmp_path / "one", tmp_path / "two")
    assert code == 3 and "no case is ok" in content["reasons"][0]
