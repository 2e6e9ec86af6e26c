"""The command `rank`: means, ranks and ties worked out by hand."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.__main__ import main
from evaluation.errors import RankError
from evaluation.ranking.leaderboard import Means, build_boards, complete, shared_ranks
from evaluation.ranking.rank import rank_runs, read_leaderboard
from tests.evaluation.builders import score_row, write_scores


def board_of(*rows, name="overall"):
    teams = {}
    for row in rows:
        teams.setdefault(row.team, []).append(row)
    completed, _ = complete(teams)
    return next(board for board in build_boards(completed) if board.name == name)


def standings_of(*rows, name="overall"):
    return {standing.team: standing for standing in board_of(*rows, name=name).standings}


def test_the_mean_weighs_modalities_and_not_cases():
    """Three CT cases at 1.0, 0.8, 0.6 and one PET case at 0.2: (0.8 + 0.2) / 2."""
    rows = [score_row("a", f"ct{k}", dsc) for k, dsc in enumerate((1.0, 0.8, 0.6))]
    rows.append(score_row("a", "pet", 0.2, modality="PET", wall_s=5.0))
    standing = standings_of(*rows)["a"]
    assert standing.modalities["CT"] == Means(dsc=0.8, nsd=0.8, seconds=1.0)
    assert standing.mean == Means(dsc=0.5, nsd=0.5, seconds=3.0)


def test_order_is_by_the_mean_of_three_ranks():
    """a: ranks 1, 2, 3; b: 2, 1, 1; c: 3, 3, 2."""
    rows = [
        score_row("a", "x", 0.9, nsd=0.7, wall_s=9.0),
        score_row("b", "x", 0.8, nsd=0.8, wall_s=1.0),
        score_row("c", "x", 0.7, nsd=0.6, wall_s=2.0),
    ]
    standings = board_of(*rows).standings
    assert [(s.team, s.place) for s in standings] == [("b", 1), ("a", 2), ("c", 3)]
    assert standings[0].ranks == {"dsc": 2, "nsd": 1, "seconds": 1}
    assert standings[0].mean_rank == pytest.approx(4 / 3, abs=1e-6)


def test_teams_with_equal_results_share_a_place_and_the_next_place_is_empty():
    rows = [score_row(team, "x", dsc) for team, dsc in (("b", 0.9), ("a", 0.9), ("c", 0.1))]
    assert [(s.team, s.place) for s in board_of(*rows).standings] == [("a", 1), ("b", 1), ("c", 3)]


def test_noise_in_the_last_digits_breaks_no_tie():
    rows = [score_row("a", "x", 0.1 + 0.2), score_row("b", "x", 0.3)]
    assert [s.place for s in board_of(*rows).standings] == [1, 1]


def test_only_cases_that_are_ok_have_a_time():
    rows = [
        score_row("a", "x", 1.0, wall_s=4.0),
        score_row("a", "y", 0.0, status="crash", wall_s=0.01),
    ]
    standing = standings_of(*rows)["a"]
    assert standing.mean == Means(dsc=0.5, nsd=0.5, seconds=4.0)
    assert standing.statuses == {"crash": 1, "ok": 1}


def test_a_team_that_never_finishes_a_case_ranks_last_in_seconds():
    rows = [
        score_row("slow", "x", wall_s=1000.0),
        score_row("dead", "x", 0.0, status="time-out", wall_s=60.0),
    ]
    standings = standings_of(*rows)
    assert standings["dead"].mean.seconds is None
    assert (standings["slow"].ranks["seconds"], standings["dead"].ranks["seconds"]) == (1, 2)


def test_a_case_without_truth_is_left_out_for_every_team():
    rows = [
        score_row("a", "x", 0.5),
        score_row("a", "y", None, nsd=None, status="no truth"),
        score_row("b", "x", 0.5),
        score_row("b", "y", 1.0),
    ]
    board = board_of(*rows)
    assert board.cases == 1
    assert [s.mean.dsc for s in board.standings] == [0.5, 0.5]


def test_two_and_three_dimensions_have_boards_of_their_own():
    rows = [
        score_row("a", "x", 0.9, dimensions=2),
        score_row("a", "y", 0.5, dimensions=3),
        score_row("a", "z", 0.1, dimensions=3, modality="MR"),
    ]
    assert standings_of(*rows, name="2D")["a"].mean.dsc == 0.9
    assert standings_of(*rows, name="3D")["a"].mean.dsc == pytest.approx(0.3)
    # CT pools its 2D and 3D cases: (0.7 + 0.1) / 2
    assert standings_of(*rows)["a"].mean.dsc == pytest.approx(0.4)


def test_a_board_without_cases_is_left_out():
    completed, _ = complete({"a": [score_row("a", "x")]})
    assert [board.name for board in build_boards(completed)] == ["overall", "2D"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_shared_ranks_are_those_of_scipy(values):
    expected = stats.rankdata(values, method="min").tolist()
    assert shared_ranks(values, higher_is_better=False) == expected
    assert shared_ranks([-value for value in values], higher_is_better=True) == expected


def test_files_and_text_tell_the_same_and_are_the_same_bytes_again(tmp_path, capsys):
    run = tmp_path / "run"
    write_scores(
        run,
        score_row("first", "x", 0.91234),
        score_row("first", "y", 0.8, dimensions=3, modality="Ultrasound"),
        score_row("second", "x", 0.0, status="crash"),
        score_row("second", "y", 0.7, dimensions=3, modality="Ultrasound"),
    )
    assert main(["rank", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "overall: cases 2, modalities 2" in printed
    assert "0.9123" in printed
    assert "second: 1 of 2 failed: 1 crash" in printed
    files = [run / f"leaderboard.{kind}" for kind in ("json", "csv", "md")]
    first = [path.read_bytes() for path in files]

    content = json.loads(first[0])
    assert [board["name"] for board in content["boards"]] == ["overall", "2D", "3D"]
    with (run / "leaderboard.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 2 * 3  # boards, teams, metrics
    assert rows[0]["CT"] == "0.91234"
    assert "| 1 | first | DSC | 1 |" in first[2].decode()

    assert rank_runs([run], tmp_path / "elsewhere") == printed.rstrip("\n")
    assert [(tmp_path / "elsewhere" / path.name).read_bytes() for path in files] == first


def test_a_leaderboard_reads_back_as_it_was_written(tmp_path):
    rows = [score_row("a", "x", 1 / 3), score_row("b", "x", 0.0, status="crash", wall_s=None)]
    write_scores(tmp_path, *rows)
    rank_runs([tmp_path])
    completed, _ = complete({"a": rows[:1], "b": rows[1:]})
    assert read_leaderboard(tmp_path / "leaderboard.json") == build_boards(completed)


def test_runs_are_ranked_together_and_a_case_of_one_run_counts_against_the_others(tmp_path):
    write_scores(tmp_path / "one", score_row("a", "x"), score_row("a", "y"))
    write_scores(tmp_path / "two", score_row("b", "x"))
    rank_runs([tmp_path / "one", tmp_path / "two"])
    board = read_leaderboard(tmp_path / "one" / "leaderboard.json")[0]
    assert [(s.team, s.mean.dsc, s.statuses) for s in board.standings] == [
        ("a", 1.0, {"ok": 2}),
        ("b", 0.5, {"not run": 1, "ok": 1}),
    ]


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
