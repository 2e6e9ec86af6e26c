"""The command `all` is the four commands, one after the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation import pipeline
from evaluation.__main__ import COMMANDS, build_parser, main

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
    for name in ("a/scores.csv", "b/scores.csv", "leaderboard.json", "report.html"):
        assert (out / name).stat().st_size > 0


@pytest.mark.parametrize("name", ["score", "rank", "report"])
def test_later_stages_get_what_their_own_commands_would(name: str) -> None:
    words = ["--team", "a=x", "--cases", "c", "--out", "r", "--truth", "t"]
    everything = build_parser("all").parse_args(["all", *words])
    given = vars(pipeline.stage_arguments(COMMANDS[name][0], everything))
    shared = [] if name == "rank" else ["--truth", "t", "--cases", "c"]
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
