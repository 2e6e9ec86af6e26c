"""The command `all` is the four commands, one after the other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation import pipeline
from evaluation.__main__ import COMMANDS, build_parser, main
from evaluation.running.outcomes import Status
from evaluation.scoring.score_tables import scored_teams

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

Factory = Callable[..., Any]


def test_all_goes_from_cases_to_the_report(
    make_case: Factory, make_folder: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = np.zeros((8, 9), np.uint8)
    half[:, :4] = 1
    cases = make_case("2DBox_US_1", truth=True).parent
    make_case("2DBox_CT_1", truth=True, gts=half)
    teams = ["--team", f"a={make_folder(COPY_MASK, 'a')}", "--team", f"b={make_folder(':', 'b')}"]
    out = tmp_path / "run"
    words = ["all", *teams, "--cases", str(cases), "--truth", str(cases), "--out", str(out)]
    assert main([*words, "--runner", "process"]) == 0
    printed = capsys.readouterr().out
    # ones everywhere: DSC 1 where the truth is that, 2*32/(32+72) where it is 32 of 72 pixels
    assert "1.0000" in printed and "0.6154" in printed
    assert str(out / "report.html") in printed
    for name in ("a/scores.csv", "b/scores.csv", "rank.json", "leaderboard.csv", "report.html"):
        assert (out / name).stat().st_size > 0


@pytest.mark.parametrize("name", ["score", "rank", "report"])
def test_later_stages_get_what_their_own_commands_would(name: str) -> None:
    words = ["--team", "a=x", "--cases", "c", "--out", "r", "--truth", "t"]
    everything = build_parser("all").parse_args(["all", *words])
    given = vars(pipeline.stage_arguments(COMMANDS[name][0], everything))
    shared = ["--truth", "t", "--cases", "c"]
    if name == "rank":  # by the rules of the protocol that the run is made under
        shared = ["--protocol", everything.protocol]
    expected = vars(build_parser(name).parse_args([name, "r", *shared]))
    assert given == {key: expected[key] for key in set(expected) - {"command", "execute"}}


def test_a_run_that_the_harness_could_not_finish_is_not_scored(
    make_case: Factory, make_folder: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = str(make_case(truth=True).parent)
    monkeypatch.setattr(pipeline.run, "execute", lambda args: 1)
    words = ["--cases", cases, "--truth", cases, "--out", str(tmp_path / "run")]
    assert main(["all", "--team", f"a={make_folder()}", *words]) == 1
    assert not (tmp_path / "run").exists()


def test_changed_failure_values_run_nothing_again_and_score_anew(
    make_case: Factory, make_folder: Factory, run_team: Factory, tmp_path: Path
) -> None:
    make_case("2DBox_US_1", truth=True)
    source, run = make_folder("exit 3\n"), tmp_path / "run"

    def score(*values: str) -> tuple[Any, ...]:
        result = run_team(source, "--runner", "process", *values)
        assert len(result.history) == 1
        assert result.only.status is Status.CRASH
        assert main(["score", str(run), "--truth", str(tmp_path / "cases")]) == 0
        ((row,),) = scored_teams(run).values()
        return row.dsc, row.nsd, row.wall_s if row.status == "ok" else None

    assert score() == (0.0, 0.0, None)
    assert score("--failure-dsc", "0.25", "--failure-nsd", "0.5") == (0.25, 0.5, None)
    assert score("--failure-dsc", "0.125") == (0.125, 0.0, None)
    protocol = json.loads((run / "team" / "team.json").read_text())["protocol"]
    assert protocol["failure_time_s"] == 3600
