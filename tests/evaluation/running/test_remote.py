"""Cases on two workers of a Dask scheduler, both on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.__main__ import main
from evaluation.running.measuring import read_ticks
from evaluation.running.outcomes import Status
from evaluation.running.records import CaseRecord, read_records
from evaluation.running.run_folder import RunFolder
from evaluation.running.runner import LOCK_LABEL
from evaluation.running.worker import SETTLED_S, WORK_PREFIX, _remove_abandoned

REPOSITORY = Path(__file__).parents[3]

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

Factory = Callable[..., Any]

# what a child's end leaves to the interpreter is not ours to mend
pytestmark = [pytest.mark.docker, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def start(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dask", *words]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=silent, stderr=silent)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers that take a container each."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    started = [start("scheduler", *local, "--port", "0", "--scheduler-file", str(file))]
    options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    options += ["--local-directory", str(folder)]
    for number in (1, 2):
        words = ["--resources", "container=1", "--name", f"w{number}"]
        started.append(start("worker", *options, *words))
    try:
        wait_until(file.exists)
        address = str(json.loads(file.read_text())["address"])
        wait_until(lambda: workers_of(address) == 2)
        yield address
    finally:
        for process in reversed(started):  # a worker whose scheduler is gone would wait for it
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and see it end, however slow the machine is at the moment."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def workers_of(address: str) -> int:
    from distributed import Client

    with Client(address, timeout=20) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])


def wait_until(condition: Callable[[], Any], limit_s: float = 240) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def run(scheduler: str, tmp_path: Path, *teams: str) -> int:
    words = [word for team in teams for word in ("--team", team)]
    words += ["--cases", str(tmp_path / "cases"), "--out", str(tmp_path / "run")]
    words += ["--start-up-runs", "1", "--sentinel", "4"]
    return main(["run", *words, "--scheduler", scheduler, "--memory", "64m"])


def history(tmp_path: Path, team: str) -> list[CaseRecord]:
    return read_records(tmp_path / "run" / team / "records.jsonl")


def test_two_workers_share_the_cases_and_nothing_is_lost_or_repeated(
    scheduler: str, make_image: Factory, make_case: Factory, tmp_path: Path
) -> None:
    names = [f"2DBox_US_{number}" for number in range(6)]
    for name in names:
        make_case(name, truth=True)
    good = make_image("grep -q gts inputs/* && exit 1; sleep 0.2\n" + COPY_MASK + "echo done")
    bad = make_image("exit 3")
    assert run(scheduler, tmp_path, f"good={good}", f"bad={bad}") == 0
    records = history(tmp_path, "good")
    assert Counter(record.case for record in records) == Counter(names)
    assert {record.status for record in records} == {Status.OK}
    assert {record.status for record in history(tmp_path, "bad")} == {Status.CRASH}
    assert all(record.limits["cgroup"]["memory_bytes"] == 64 << 20 for record in records)
    folder = tmp_path / "run" / "good"
    assert sorted(path.stem for path in (folder / "masks").iterdir()) == names
    assert (folder / "logs" / "2DBox_US_3.log").read_bytes() == b"done\n"
    workers = json.loads((folder / "team.json").read_text())["workers"]
    assert len(workers) == 2
    assert all(worker["processor"] and worker["memory_bytes"] for worker in workers)
    team = json.loads((folder / "team.json").read_text())
    assert team["hardware"] == [records[0].hardware]
    assert len(team["start_up"]["runs_s"]) == 1
    ticks = read_ticks(tmp_path / "run")
    assert len(ticks) >= 4  # each worker before its first case and at the end
    assert {tick.host for tick in ticks} == {workers[0]["name"]}
    assert run(scheduler, tmp_path, f"good={good}", f"bad={bad}") == 0
    assert history(tmp_path, "good") == records


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "kill -9"])
def test_a_case_that_nobody_waits_for_is_ended_at_once(
    scheduler: str,
    make_image: Factory,
    make_case: Factory,
    engine: Any,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    make_case()
    image = make_image(f"sleep 600 # {number}")
    words = ["--team", f"slow={image}", "--cases", str(tmp_path / "cases")]
    words += ["--out", str(tmp_path / "run"), "--start-up-runs", "0", "--sentinel", "0"]
    command = [sys.executable, "-m", "evaluation", "run", *words, "--scheduler", scheduler]
    running = {"ancestor": image, "label": LOCK_LABEL}
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as harness:
        try:
            wait_until(lambda: engine.containers(filters=running))
            (container,) = engine.containers(filters=running)
            base = Path(container["Labels"][LOCK_LABEL]).parent
            assert base.is_dir()
            harness.send_signal(number)
            assert harness.wait(120) == (130 if number is signal.SIGTERM else -9)
        finally:
            harness.kill()
    wait_until(lambda: not engine.containers(all=True, filters=running))
    wait_until(lambda: not base.exists())
    assert history(tmp_path, "slow") == []


def test_what_needs_one_machine_is_refused(
    scheduler: str,
    make_case: Factory,
    make_folder: Factory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_case()
    assert run(scheduler, tmp_path, f"team={make_folder()}") == 2
    assert "expected an image or archive, found a folder" in capsys.readouterr().err
    words = ["--team", "t=image:1", "--cases", str(tmp_path / "cases"), "--out", str(tmp_path)]
    assert main(["run", *words, "--scheduler", scheduler, "--protocol", "cvpr24-official"]) == 2
    assert "no keep-folders" in capsys.readouterr().err


def test_an_image_that_no_worker_has_is_named(
    scheduler: str, make_case: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_case()
    assert run(scheduler, tmp_path, "team=not-there:1") == 1
    assert "the engine has no image not-there:1" in capsys.readouterr().err


def test_folders_of_killed_workers_are_removed_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = tmp_path / f"{WORK_PREFIX}dead", tmp_path / f"{WORK_PREFIX}alive"
    strange = tmp_path / f"{WORK_PREFIX}strange"
    for folder in (dead, strange):
        (folder / "team").mkdir(parents=True)
    (dead / ".lock").touch()
    with RunFolder(alive):
        _remove_abandoned(tmp_path)
        assert dead.exists()  # it may be about to take its lock
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + SETTLED_S + 1)
        _remove_abandoned(tmp_path)
        assert not dead.exists()
        assert alive.exists() and strange.exists()
