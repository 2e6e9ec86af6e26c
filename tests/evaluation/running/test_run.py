"""The command `run`: order, resume, counts, exit codes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.__main__ import main
from evaluation.errors import EngineError, HarnessFault
from evaluation.running import runners, schedule
from evaluation.running.outcomes import Status
from evaluation.running.process_runner import ProcessRunner
from evaluation.running.records import read_records
from evaluation.running.run_folder import RunFolder

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

REPOSITORY = Path(__file__).parents[3]

Factory = Callable[..., Any]


def words(tmp_path: Path, *teams: str) -> list[str]:
    given = [word for team in teams for word in ("--team", team)]
    folders = ["--cases", str(tmp_path / "cases"), "--out", str(tmp_path / "run")]
    return ["run", *given, *folders, "--runner", "process"]


def test_teams_take_turns_and_each_case_begins_with_another(
    make_case: Factory, make_folder: Factory, tmp_path: Path
) -> None:
    for name in "abc":
        make_case(name)
    order = tmp_path / "order"
    teams = []
    for team in ("x", "y"):
        script = f"echo {team} $(ls inputs) >> {order}\n{COPY_MASK}"
        teams.append(f"{team}={make_folder(script, team)}")
    assert main(words(tmp_path, *teams)) == 0
    assert order.read_text().split("\n")[:-1] == [
        *("x a.npz", "y a.npz", "y b.npz", "x b.npz", "x c.npz", "y c.npz"),
    ]


def test_counts_are_told_by_status(
    make_case: Factory,
    make_folder: Factory,
    run_team: Factory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in "abc":
        make_case(name)
    script = COPY_MASK + "test -e inputs/b.npz && exit 1; exit 0"
    with caplog.at_level("INFO"):
        assert run_team(make_folder(script), "--runner", "process").exit_code == 0
    assert "team: 3 cases: 2 ok, 1 crash" in caplog.messages


def test_what_is_recorded_is_not_run_again(
    make_case: Factory, make_folder: Factory, run_team: Factory
) -> None:
    make_case("a")
    folder = make_folder(COPY_MASK + "test -e inputs/b.npz && exit 1; exit 0")
    first = run_team(folder, "--runner", "process")
    make_case("b")
    second = run_team(folder, "--runner", "process")
    assert second.history[:1] == first.history
    assert [(r.case, r.status) for r in second.history] == [("a", Status.OK), ("b", Status.CRASH)]
    assert run_team(folder, "--runner", "process").history == second.history


@pytest.mark.parametrize("change", ["limit", "submission", "case", "mask"])
def test_a_change_runs_again_what_it_must(
    make_case: Factory, make_folder: Factory, run_team: Factory, change: str
) -> None:
    make_case("a")
    make_case("b")
    folder = make_folder()
    first = run_team(folder, "--runner", "process")
    flags = ["--time-limit", "99"] if change == "limit" else []
    if change == "submission":
        make_folder("exit 1")
    if change == "case":
        make_case("a", spacing=[1, 2, 3])
    if change == "mask":
        (first.folder / "masks" / "a.npz").unlink()
    second = run_team(folder, "--runner", "process", *flags)
    again = [record.case for record in second.history[2:]]
    assert again == (["a", "b"] if change in ("limit", "submission") else ["a"])
    kept = [] if change == "submission" else ["a.npz", "b.npz"]
    assert sorted(mask.name for mask in (second.folder / "masks").iterdir()) == kept


def test_a_harness_fault_is_recorded_told_and_run_again(
    make_case: Factory,
    make_folder: Factory,
    run_team: Factory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in "abc":
        make_case(name)
    original = ProcessRunner.run_case

    def faulty(self: ProcessRunner, submission: Any, case: str, folders: Any) -> Any:
        if case == "b":
            raise HarnessFault("b: the engine fell over")
        return original(self, submission, case, folders)

    folder = make_folder()
    with monkeypatch.context() as patch:
        patch.setattr(ProcessRunner, "run_case", faulty)
        result = run_team(folder, "--runner", "process")
    assert result.exit_code == 1
    assert result.records["b"].status is Status.HARNESS_FAULT
    assert result.records["b"].wall_s is None
    result = run_team(folder, "--runner", "process")
    assert result.exit_code == 0
    assert [record.case for record in result.history] == ["a", "b", "c", "b"]


def test_a_dead_engine_ends_the_run_early(
    make_case: Factory,
    make_folder: Factory,
    run_team: Factory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(9):
        make_case(f"case{number}")

    def dead(*_: Any) -> Any:
        raise HarnessFault("no answer")

    monkeypatch.setattr(ProcessRunner, "run_case", dead)
    result = run_team(make_folder(), "--runner", "process")
    assert result.exit_code == 1
    assert len(result.history) == schedule.MOST_FAULTS_IN_A_ROW
    assert "3 harness faults in a row, the last: no answer" in capsys.readouterr().err


def test_kill_minus_nine_loses_and_repeats_nothing(
    make_case: Factory, make_folder: Factory, run_team: Factory, tmp_path: Path
) -> None:
    names = [f"case{number:02}" for number in range(40)]
    for name in names:
        make_case(name, truth=True)
    folder = make_folder("sleep 0.02\n" + COPY_MASK)
    command = [sys.executable, "-m", "evaluation", *words(tmp_path, f"team={folder}")]
    records = tmp_path / "run" / "team" / "records.jsonl"
    moments = random.Random(1)
    for _ in range(4):
        before = records.stat().st_size if records.exists() else 0
        with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as harness:
            deadline = time.monotonic() + 30
            while not records.exists() or records.stat().st_size == before:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.3))
            harness.send_signal(signal.SIGKILL)
    interrupted = len(read_records(records))
    assert 4 <= interrupted < len(names)
    result = run_team(folder, "--runner", "process")
    assert [record.case for record in result.history] == names
    assert {record.status for record in result.history} == {Status.OK}
    assert sorted(mask.stem for mask in (result.folder / "masks").glob("*.npz")) == names
    assert not (tmp_path / "run" / ".work").exists()


def test_one_harness_at_a_time_works_in_a_folder(
    make_case: Factory,
    make_folder: Factory,
    run_team: Factory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_case()
    with RunFolder(tmp_path / "run"):
        assert run_team(make_folder(), "--runner", "process").exit_code == 1
    assert "another harness is working" in capsys.readouterr().err


def test_without_an_engine_folders_run_as_processes_and_others_are_refused(
    make_case: Factory,
    make_folder: Factory,
    run_team: Factory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_engine() -> Any:
        raise EngineError("no Docker Engine answers; install it")

    monkeypatch.setattr(runners, "connect", no_engine)
    make_case()
    result = run_team(make_folder())
    assert result.exit_code == 0
    assert json.loads((result.folder / "team.json").read_text())["runner"] == "process"
    assert "running predict.sh in processes instead" in caplog.text
    assert run_team("image:1").exit_code == 1
    assert "team (image): no Docker Engine answers; install it" in capsys.readouterr().err
    assert run_team(make_folder(), "--runner", "docker").exit_code == 1


def test_an_engine_that_does_not_answer_is_an_error_that_helps(
    make_case: Factory,
    run_team: Factory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    make_case()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    assert run_team("image:1").exit_code == 1
    message = capsys.readouterr().err
    assert "absent.sock" in message
    assert "apt-get install docker.io" in message


def test_wrong_usage_is_exit_code_two(
    make_case: Factory, run_team: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    make_case()
    assert run_team("./absent.tar").exit_code == 2
    assert "expected an archive or a folder" in capsys.readouterr().err
    assert run_team("image:1", "--memory", "1k").exit_code == 2
    for arguments in (["run"], ["run", "--memory", "much"], ["fly"], []):
        with pytest.raises(SystemExit) as ending:
            main(arguments)
        assert ending.value.code == 2


def test_a_folder_without_cases_is_an_error(
    run_team: Factory, make_folder: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_team(make_folder(), "--runner", "process").exit_code == 1
    assert "expected a folder of cases" in capsys.readouterr().err


def test_only_root_may_let_containers_run_as_others(
    make_case: Factory,
    run_team: Factory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class SilentEngine:
        base_url = "http+docker://localhost"

        def info(self) -> dict[str, str]:
            return {"CgroupDriver": "systemd"}

        def close(self) -> None:
            pass

    make_case()
    monkeypatch.setattr(runners, "connect", SilentEngine)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert run_team("image:1", "--user", "0:0").exit_code == 2
    assert f"expected 4321:{os.getegid()}, found 0:0" in capsys.readouterr().err
