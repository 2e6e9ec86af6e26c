"""Times with what a reader needs to trust them: start-up, drift, repeats, processors of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.errors import UsageError
from evaluation.running.lanes import split_processors, work_off
from evaluation.running.measuring import SENTINEL_FILE, Tick, drift, read_ticks
from evaluation.running.outcomes import Status

Factory = Callable[..., Any]

REPOSITORY = Path(__file__).parents[3]

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

TICK = Tick("2024-05-25T12:00:00+00:00", 1.0, 0.9, 0.1, "sha256:0", "host")


def test_drift_is_the_spread_as_a_part_of_the_median() -> None:
    assert drift([]) is drift([TICK]) is None
    assert drift([TICK, TICK]) == 0
    walls = [replace(TICK, wall_s=wall_s) for wall_s in (1.0, 2.0, 2.5)]
    assert drift(walls) == pytest.approx(1.5 / 2.0)


def test_drift_compares_one_image_on_one_machine_only() -> None:
    slow = replace(TICK, wall_s=9.0)
    assert drift([TICK, replace(slow, host="other"), replace(slow, submission="sha256:1")]) is None


def test_processors_are_shared_out_without_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 6})
    assert split_processors(1) == [""]
    assert split_processors(2) == ["0,1", "2,5"]
    assert split_processors(5) == ["0", "1", "2", "5", "6"]
    with pytest.raises(UsageError, match="expected at most 5 .processors., found 6"):
        split_processors(6)


def taker(turns: range) -> Callable[[str], int | None]:
    waiting = iter(turns)
    return lambda lane: next(waiting, None)


def test_every_turn_is_done_once_and_lanes_work_at_the_same_time() -> None:
    done: list[tuple[str, int]] = []
    meeting = threading.Barrier(2, timeout=10)

    def do(lane: str, turn: int) -> None:
        if turn < 2:
            meeting.wait()
        done.append((lane, turn))

    work_off(taker(range(20)), ["a", "b"], do, threading.Event(), lambda: None)
    assert sorted(turn for _, turn in done) == list(range(20))
    assert {lane for lane, turn in done if turn < 2} == {"a", "b"}


def test_an_error_in_one_lane_stops_the_others_and_is_raised() -> None:
    stop, cleared = threading.Event(), threading.Event()
    done: list[int] = []

    def do(lane: str, turn: int) -> None:
        if turn == 3:
            raise UsageError("no more")
        if turn > 3:
            cleared.wait(10)
        done.append(turn)

    with pytest.raises(UsageError, match="no more"):
        work_off(taker(range(1000)), ["a", "b"], do, stop, cleared.set)
    assert cleared.is_set()
    assert len(done) < 10


@pytest.mark.docker
def test_start_up_and_sentinel_are_stored(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    for number in range(3):
        make_case(f"2DBox_US_{number}")
    image = make_image()
    result = run_team(image, "--start-up-runs", "2", "--sentinel", "2")
    start_up = json.loads((result.folder / "team.json").read_text())["start_up"]
    assert len(start_up["runs_s"]) == 2
    assert start_up["command"] == ["/bin/bash", "-c", ":"]
    assert start_up["median_s"] == pytest.approx(sum(start_up["runs_s"]) / 2)  # of two
    ticks = read_ticks(result.folder.parent)
    assert len(ticks) == 3  # before, after the second case, at the end
    assert all(tick.wall_s > 0 and tick.submission == image for tick in ticks)


@pytest.mark.docker
def test_repeats_give_median_and_spread_after_a_warm_up(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    record = run_team(make_image(), "--repeats", "3", "--warm-up", "1").only
    assert record.status is Status.OK
    assert len(record.wall_runs_s) == 3
    assert record.wall_s == sorted(record.wall_runs_s)[1]
    spread_s = max(record.wall_runs_s) - min(record.wall_runs_s)
    assert record.wall_spread_s == pytest.approx(spread_s, abs=1e-5)
    assert record.masks_differ is False


@pytest.mark.docker
def test_masks_that_differ_between_repeats_are_told(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    script = "read up rest < /proc/uptime; "
    script += "case $up in *[13579]) m=mask.npz;; *) m=other.npz;; esac\n"
    script += "for f in inputs/*.npz; do cp $m outputs/${f##*/}; done\n"
    from tests.evaluation.running.test_hostile import GOOD, npz

    image = make_image(script, **{"other.npz": npz(("segs.npy", GOOD))})
    record = run_team(image, "--repeats", "12").only
    assert record.masks_differ is True


@pytest.mark.docker
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_parallel_cases_have_processors_of_their_own(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    for number in range(6):
        make_case(f"2DBox_US_{number}")
    script = "grep Cpus_allowed_list /proc/self/status; sleep 0.3\n" + COPY_MASK
    result = run_team(make_image(script), "--jobs", "2", "--sentinel", "4")
    assert result.exit_code == 0
    assert [record.status for record in result.history] == [Status.OK] * 6
    used = {record.cpuset for record in result.history}
    assert used == set(split_processors(2))
    for record in result.history:
        assert record.limits["host_config"]["CpusetCpus"] == record.cpuset
        log = (result.folder / "logs" / f"{record.case}.log").read_text()
        assert log.split() == ["Cpus_allowed_list:", record.cpuset]
    assert (result.folder.parent / SENTINEL_FILE).is_file()


@pytest.mark.docker
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_parallel_cases_end_at_once_when_the_run_is_stopped(
    make_image: Factory, make_case: Factory, engine: Any, tmp_path: Path
) -> None:
    for number in range(4):
        make_case(f"2DBox_US_{number}")
    image = make_image("sleep 600 # in parallel")
    words = ["--team", f"slow={image}", "--cases", str(tmp_path / "cases"), "--jobs", "2"]
    words += ["--out", str(tmp_path / "run"), "--start-up-runs", "0", "--sentinel", "0"]
    command = [sys.executable, "-m", "evaluation", "run", *words]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as harness:
        try:
            deadline = time.monotonic() + 240
            while len(engine.containers(filters={"ancestor": image})) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            harness.send_signal(signal.SIGTERM)  # as Ctrl-C, which background jobs ignore
            assert harness.wait(120) == 130
        finally:
            harness.kill()
    assert engine.containers(all=True, filters={"ancestor": image}) == []
    assert not (tmp_path / "run" / ".work").exists()


def test_only_containers_have_processors_of_their_own(
    make_case: Factory, make_folder: Factory, run_team: Factory, capsys: Any
) -> None:
    make_case()
    folder: Path = make_folder()
    assert run_team(folder, "--runner", "process", "--jobs", "2").exit_code == 2
    assert "jobs: expected 1 without Docker Engine, found 2" in capsys.readouterr().err


def test_a_torn_time_of_the_sentinel_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / SENTINEL_FILE
    good = json.dumps(TICK.__dict__)
    path.write_text(f'{good}\n{{"at": "2024\n{good[:-1]}, "of_a_later_version": 1}}\n{good[:30]}')
    assert read_ticks(tmp_path) == [TICK]
    assert "sentinel.jsonl:2: expected a time" in caplog.text

    class Trial:
        machine = {"name": "host"}

        def run_command(self, submission: Any, command: Any) -> Any:
            from evaluation.running.outcomes import CaseRun

            return CaseRun(wall_s=1.0, exit_code=0, log=b"")

    class Submitted:
        digest = "sha256:0"

    from evaluation.running.measuring import Sentinel

    Sentinel(Submitted(), tmp_path, 1).tick(Trial())  # type: ignore[arg-type]
    assert len(read_ticks(tmp_path)) == 2
