"""The command `rank`: files, rules, failures, hardware, and the same bytes again."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from evaluation.__main__ import main
from evaluation.errors import RankError
from evaluation.ranking.groups import read_groups
from evaluation.ranking.rank import rank_runs, write_ranking
from evaluation.ranking.results import read_ranking
from evaluation.running.ranking_rules import SCHEMES, RankingRules
from tests.evaluation.builders import add_result, describe_team, score_row, write_scores

QUICK = {"bootstraps": 40}


def places_of(ranking, board="overall"):
    found = next(each for each in ranking.boards if each.name == board)
    return [(each.team, each.place) for each in found.schemes[0].standings]


def result_of(ranking, team, board="overall"):
    found = next(each for each in ranking.boards if each.name == board)
    return next(each for each in found.teams if each.team == team)


def two_teams(run):
    write_scores(
        run,
        score_row("first", "x", 0.91234),
        score_row("first", "y", 0.8, dimensions=3, modality="Ultrasound"),
        score_row("second", "x", 0.0, status="crash"),
        score_row("second", "y", 0.7, dimensions=3, modality="Ultrasound"),
    )


def test_files_and_text_tell_the_same_and_are_the_same_bytes_again(tmp_path, capsys):
    run = tmp_path / "run"
    two_teams(run)
    assert main(["rank", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "overall: cases 2, modalities 2, rank-then-average" in printed
    assert "second: 1 of 2 failed: 1 crash" in printed
    files = [run / name for name in ("rank.json", "leaderboard.csv", "leaderboard.md")]
    first = [path.read_bytes() for path in files]

    content = json.loads(first[0])
    assert [board["name"] for board in content["boards"]] == ["overall", "2D", "3D"]
    assert content["schema"] == 1
    with (run / "leaderboard.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 3 * 2  # boards, schemes, teams
    assert (rows[0]["team"], rows[0]["place"], rows[0]["dsc_CT"]) == ("first", "1", "0.91234")
    assert (rows[1]["failed"], rows[1]["cases"], rows[1]["dsc_CT"]) == ("1", "2", "0.0")
    assert "| 1 | 1 | first |" in first[2].decode()

    assert main(["rank", str(run), "--out", str(tmp_path / "elsewhere")]) == 0
    assert [(tmp_path / "elsewhere" / path.name).read_bytes() for path in files] == first


def test_a_ranking_reads_back_as_it_was_written(tmp_path):
    two_teams(tmp_path)
    assert write_ranking([tmp_path]) == read_ranking(tmp_path / "rank.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "boards": []}'])
def test_a_file_that_is_no_ranking_is_refused(tmp_path, text):
    (tmp_path / "rank.json").write_text(text)
    with pytest.raises(RankError, match="expected a file written by rank|schema must be 1"):
        read_ranking(tmp_path / "rank.json")


def test_a_team_that_never_finishes_a_case_ranks_last_in_seconds(tmp_path):
    write_scores(
        tmp_path,
        score_row("slow", "x", wall_s=1000.0),
        score_row("dead", "x", 1.0, status="time-out", wall_s=60.0),
    )
    ranking = rank_runs([tmp_path], rules=RankingRules(**QUICK))
    assert result_of(ranking, "dead").mean.seconds is None
    assert result_of(ranking, "dead").mean.dsc == 0.0
    standings = {each.team: each for each in ranking.boards[0].schemes[0].standings}
    assert standings["slow"].metric_scores.seconds == 1.0
    assert standings["dead"].metric_scores.seconds == 2.0


def test_a_case_without_truth_is_left_out_for_every_team(tmp_path):
    write_scores(
        tmp_path,
        score_row("a", "x", 0.5),
        score_row("a", "y", None, nsd=None, status="no truth"),
        score_row("b", "x", 0.5),
        score_row("b", "y", 1.0),
    )
    ranking = rank_runs([tmp_path], rules=RankingRules(**QUICK))
    assert ranking.boards[0].cases == 1
    assert ranking.unscored_cases == ("y",)
    assert places_of(ranking) == [("a", 1), ("b", 1)]
    assert "y has no truth" in ranking.warnings[0]


def test_modalities_of_one_case_or_group_are_told(tmp_path):
    rows = [score_row("a", case, 0.5) for case in ("2DBox_CT_1", "2DBox_CT_2", "2DBox_US_1")]
    rows = [dataclasses.replace(row, modality=row.case.split("_")[1]) for row in rows]
    write_scores(tmp_path, *rows)
    told = "1 of 2 modalities (2D and 3D apart) have one case"
    ranking = rank_runs([tmp_path], rules=RankingRules(**QUICK))
    assert [told in words for words in ranking.warnings].count(True) == 1
    groups = tmp_path / "groups.csv"
    groups.write_text("case,group\n2DBox_CT_1,p\n2DBox_CT_2,p\n")
    grouped = rank_runs([tmp_path], rules=RankingRules(**QUICK), groups=groups)
    assert any("2 of 2 modalities" in words for words in grouped.warnings)


def test_runs_are_ranked_together_and_a_case_of_one_run_counts_against_the_others(tmp_path):
    write_scores(tmp_path / "one", score_row("a", "x"), score_row("a", "y"))
    write_scores(tmp_path / "two", score_row("b", "x"))
    ranking = rank_runs([tmp_path / "one", tmp_path / "two"], rules=RankingRules(**QUICK))
    assert result_of(ranking, "a").statuses == {"ok": 2}
    assert result_of(ranking, "b").statuses == {"not run": 1, "ok": 1}
    assert result_of(ranking, "b").mean.dsc == 0.5


def described(run, team, ranking=None, **more):
    protocol = {"name": "made up", **more}
    if ranking is not None:
        protocol["ranking"] = ranking
    (run / team).mkdir(parents=True, exist_ok=True)
    describe_team(run, team, protocol=protocol)


def test_rules_and_failure_values_are_the_protocols(tmp_path):
    rules = {"scheme": "aggregate-then-rank", "bootstraps": 7, "weights": {"seconds": 0}}
    for team in "ab":
        described(tmp_path, team, rules, failure_dsc=0.25, failure_nsd=0.5, failure_time_s=99)
    write_scores(tmp_path, score_row("a", "x"), score_row("b", "x", 0.0, status="crash"))
    ranking = rank_runs([tmp_path])
    assert ranking.rules["failure"] == {"dsc": 0.25, "nsd": 0.5, "seconds": 99.0}
    assert ranking.rules["weights"] == {"dsc": 1.0, "nsd": 1.0, "seconds": 0.0}
    assert [scheme.name for scheme in ranking.boards[0].schemes] == [
        "aggregate-then-rank", "rank-then-average", "test-then-rank",
    ]  # fmt: skip
    assert sum(ranking.boards[0].schemes[0].standings[0].place_counts) == 7
    assert result_of(ranking, "b").mean.nsd == 0.5


def test_teams_under_different_rules_need_a_choice(tmp_path, capsys):
    described(tmp_path, "a", {"alpha": 0.01})
    described(tmp_path, "b", {"alpha": 0.05})
    write_scores(tmp_path, score_row("a", "x"), score_row("b", "x"))
    assert main(["rank", str(tmp_path)]) == 1
    assert "expected one [ranking] table" in capsys.readouterr().err
    own = tmp_path / "own.toml"
    own.write_text('[ranking]\nscheme = "test-then-rank"\nbootstraps = 5\n')
    assert main(["rank", str(tmp_path), "--protocol", str(own)]) == 0
    assert read_ranking(tmp_path / "rank.json").rules["scheme"] == "test-then-rank"


def test_a_damaged_team_json_names_file_and_fault(tmp_path):
    write_scores(tmp_path, score_row("a", "x"))
    (tmp_path / "a" / "team.json").write_text('{"protocol": {"ranking": {"alfa": 1}}}')
    with pytest.raises(RankError, match=r"team\.json.*alfa"):
        rank_runs([tmp_path])
    (tmp_path / "a" / "team.json").write_text("{")
    with pytest.raises(RankError, match="expected JSON"):
        rank_runs([tmp_path])


def test_hardware_is_that_of_the_records_or_of_the_host(tmp_path):
    for team, processor in (("a", "fast"), ("b", "fast"), ("c", "slow")):
        add_result(tmp_path, team, "x")
        describe_team(tmp_path, team, host={"name": team, "processor": processor, "processors": 4})
    write_scores(tmp_path, *(score_row(team, "x") for team in "abc"))
    ranking = rank_runs([tmp_path], rules=RankingRules(**QUICK))
    assert ranking.hardware == {"a": ("fast 4",), "b": ("fast 4",), "c": ("slow 4",)}
    assert ranking.boards[0].timed_cases == 0
    assert any("seconds of 1 of 1 cases are not compared" in each for each in ranking.warnings)


def test_only_times_to_rank_by_and_none_that_compare_is_an_error(tmp_path):
    for team in "ab":
        add_result(tmp_path, team, "x")
        describe_team(tmp_path, team, host={"processor": team})
    write_scores(tmp_path, *(score_row(team, "x") for team in "ab"))
    rules = RankingRules(weights={"dsc": 0, "nsd": 0, "seconds": 1}, **QUICK)
    with pytest.raises(RankError, match="expected seconds to compare"):
        rank_runs([tmp_path], rules=rules)


def test_groups_come_from_a_table_by_case_or_by_file(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("file,group\n2D/CT/x.npz,anna\n2D/CT/y.npz,anna\n2D/CT/z.npz,\n")
    assert read_groups(table) == {"x": "anna", "y": "anna"}
    write_scores(tmp_path, *(score_row("a", case) for case in "xyz"))
    ranking = rank_runs([tmp_path], groups=table, rules=RankingRules(**QUICK))
    assert (ranking.grouped_cases, ranking.boards[0].groups) == (2, 2)
    assert "groups" in ranking.inputs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case\nx\n", "expected columns group and case"),
        ("", "found none"),
        ("case,group\nx,1\nx,2\n", "line 3: x: expected one group, found 1 and 2"),
        ("case,group\nx\n", "line 2: expected a case and a group"),
        ("case,group\nother,1\n", "expected groups of these cases, found none"),
    ],
)
def test_a_table_of_groups_that_means_nothing_is_refused(tmp_path, text, message):
    table = tmp_path / "groups.csv"
    table.write_text(text)
    write_scores(tmp_path, score_row("a", "x"))
    with pytest.raises(RankError, match=message):
        rank_runs([tmp_path], groups=table)


def test_a_team_in_two_runs_is_refused(tmp_path):
    for run in ("one", "two"):
        write_scores(tmp_path / run, score_row("a", "x"))
    with pytest.raises(RankError, match="a: expected in one run"):
        rank_runs([tmp_path / "one", tmp_path / "two"])


def test_a_run_that_was_not_scored_is_an_error(tmp_path, capsys):
    assert main(["rank", str(tmp_path)]) == 1
    assert "run score first" in capsys.readouterr().err


def test_scores_without_any_truth_are_an_error(tmp_path):
    write_scores(tmp_path, score_row("a", "x", None, nsd=None, status="no truth"))
    with pytest.raises(RankError, match="cases with a truth, found none"):
        rank_runs([tmp_path])


def test_one_team_alone_is_first_under_every_scheme(tmp_path):
    write_scores(tmp_path, score_row("a", "x"))
    for scheme in SCHEMES:
        ranking = rank_runs([tmp_path], rules=RankingRules(scheme=scheme, **QUICK))
        standing = ranking.boards[0].schemes[0].standings[0]
        assert (standing.place, standing.tier, standing.first) == (1, 1, 1.0)
        assert ranking.boards[0].schemes[0].kendall.values == ()
