"""One container a case: every way to end gets its own status, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requests.exceptions import ReadTimeout

from evaluation.running.kernel_log import is_readable
from evaluation.running.logs import DROPPED_NOTE
from evaluation.running.outcomes import Status
from evaluation.running.runner import LOCK_LABEL, DockerRunner
from tests.evaluation.conftest import mask_bytes

pytestmark = pytest.mark.docker

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

REPOSITORY = Path(__file__).parents[3]

Factory = Callable[..., Any]


def test_a_good_container_is_ok(make_image: Factory, make_case: Factory, run_team: Factory) -> None:
    make_case("2DBox_US_1")
    result = run_team(make_image(COPY_MASK + "echo done"))
    assert result.exit_code == 0
    record = result.only
    assert (record.status, record.reason, record.exit_code) == (Status.OK, "", 0)
    assert (record.modality, record.dimensions) == ("Ultrasound", 2)
    assert 0 < record.wall_s < 60
    mask = result.folder / "masks" / "2DBox_US_1.npz"
    with np.load(mask) as archive:
        assert archive["segs"].shape == (8, 9)
    assert record.mask_bytes == mask.stat().st_size
    assert (result.folder / "logs" / "2DBox_US_1.log").read_bytes() == b"done\n"


def test_the_description_names_digest_engine_and_protocol(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    image = make_image()
    result = run_team(image, "--memory", "64m")
    description = json.loads((result.folder / "team.json").read_text())
    assert description["digest"] == image == result.only.submission
    assert description["runner"] == "docker"
    assert description["protocol"]["memory_bytes"] == 64 << 20
    assert description["protocol_sha256"] == result.only.protocol_sha256
    assert description["versions"]["docker_engine"]


def test_a_good_mask_does_not_excuse_a_crash(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    result = run_team(make_image(COPY_MASK + "echo cannot go on; exit 3"))
    assert result.exit_code == 0  # the harness has done its job
    assert result.only.status is Status.CRASH
    assert result.only.reason == "exit code 3: cannot go on"
    assert not list((result.folder / "masks").iterdir())


def test_exit_code_zero_without_output_is_a_missing_output(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case("2DBox_US_1")
    result = run_team(make_image("echo fine > outputs/result.txt"))
    assert result.only.status is Status.MISSING_OUTPUT
    assert result.only.reason == (
        "exit code 0, but expected 2DBox_US_1.npz in the outputs, found result.txt"
    )


def test_a_sleeper_is_stopped_at_the_time_limit(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    result = run_team(make_image(COPY_MASK + "sleep 1000"), "--time-limit", "1.5")
    assert result.only.status is Status.TIME_OUT
    assert 1.5 <= result.only.wall_s < 6
    assert not list((result.folder / "masks").iterdir())


@pytest.mark.skipif(not is_readable(), reason="the engine's flag alone is lost now and then")
@pytest.mark.parametrize("word", ["exec", ""], ids=["main process", "child"])
def test_memory_beyond_the_limit_is_seen_as_such(
    make_image: Factory, make_case: Factory, run_team: Factory, word: str
) -> None:
    make_case()
    script = f"{word} dd if=/dev/zero of=/dev/null bs=200M count=1"
    result = run_team(make_image(script), "--memory", "32m")
    assert result.only.status is Status.OUT_OF_MEMORY
    assert result.only.oom_killed


def test_a_kill_that_is_not_for_memory_is_a_crash(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    result = run_team(make_image("sh -c 'kill -9 $$'; exit 137"))
    assert result.only.status is Status.CRASH
    assert result.only.reason.startswith("exit code 137 (signal 9)")


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("ln -s /etc/passwd outputs/2DBox_US_1.npz", "a symbolic link"),
        ("mkdir outputs/2DBox_US_1.npz", "a folder"),
        ("mkfifo outputs/2DBox_US_1.npz", "a pipe"),
        ("cp mask.npz outputs/a; ln outputs/a outputs/2DBox_US_1.npz", "2 hard links"),
        ("echo nonsense > outputs/2DBox_US_1.npz", "npz file"),
    ],
)
def test_what_is_no_plain_mask_file_is_unreadable(
    make_image: Factory, make_case: Factory, run_team: Factory, script: str, found: str
) -> None:
    make_case("2DBox_US_1")
    result = run_team(make_image(script), "--output-limit", "1m")
    assert result.only.status is Status.UNREADABLE_OUTPUT
    assert found in result.only.reason
    assert not list((result.folder / "masks").iterdir())


def test_a_command_that_the_image_lacks_is_a_crash(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    result = run_team(make_image(), "--command", "/opt/absent --fast")
    assert result.exit_code == 0
    assert result.only.status is Status.CRASH
    assert result.only.exit_code == 127
    assert "/opt/absent" in result.only.reason


def test_a_container_is_confined(
    make_image: Factory, make_case: Factory, run_team: Factory, tmp_path: Path
) -> None:
    make_case("2DBox_US_1")
    original = (tmp_path / "cases" / "2DBox_US_1.npz").read_bytes()
    script = """
    id -u
    ls inputs
    for f in inputs/2DBox_US_1.npz inputs/new predict.sh /bin/new; do
        (echo x > $f) 2>/dev/null && echo "wrote $f"
    done
    nc -w 2 192.0.2.1 80 2>/dev/null && echo "reached the network"
    ls /sys/class/net
    grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status
    echo x > /tmp/scratch && echo "tmp is writable"
    """
    result = run_team(make_image(script + COPY_MASK))
    assert result.only.status is Status.OK
    log = (result.folder / "logs" / "2DBox_US_1.log").read_text().split("\n")
    user = str(os.geteuid() or 1000)
    assert log[:3] == [user, "2DBox_US_1.npz", "lo"]
    assert [line.split() for line in log[3:6]] == [
        ["CapEff:", "0" * 16],
        ["CapBnd:", "0" * 16],
        ["NoNewPrivs:", "1"],
    ]
    assert log[6:] == ["tmp is writable", ""]
    assert (tmp_path / "cases" / "2DBox_US_1.npz").read_bytes() == original
    if os.geteuid() == 0:
        assert result.only.network_attempts == 1


def test_the_truth_is_never_mounted(
    make_image: Factory, make_case: Factory, run_team: Factory, tmp_path: Path
) -> None:
    make_case("3DBox_CT_1", depth=4, truth=True)
    # names of arrays are plain text in a zip file
    script = (
        COPY_MASK + "grep -q boxes inputs/* && echo boxes; grep -q gts inputs/* && echo gts; true"
    )
    result = run_team(make_image(script, **{"mask.npz": mask_bytes((4, 8, 9))}))
    assert result.only.status is Status.OK
    assert (result.folder / "logs" / "3DBox_CT_1.log").read_text() == "boxes\n"


def test_a_flooded_log_keeps_its_end_only(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case("2DBox_US_1")
    long_line = "x" * 200
    script = f"yes {long_line} | head -n 40000; echo the end; exit 1"
    result = run_team(make_image(script), "--log-limit", "20k")
    log = (result.folder / "logs" / "2DBox_US_1.log").read_bytes()
    assert log.startswith(DROPPED_NOTE)
    assert log.endswith(b"the end\n")
    assert len(log) <= len(DROPPED_NOTE) + 20 * 1024
    assert result.only.reason.endswith("the end")


def test_background_processes_end_with_the_container(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    marker = "7316.25"
    result = run_team(make_image(f"setsid sleep {marker} &\n" + COPY_MASK))
    assert result.only.status is Status.OK
    assert result.only.wall_s < 30
    assert not processes_with(marker)


def test_nothing_carries_over_from_case_to_case(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case("2DBox_US_1")
    make_case("2DBox_US_2")
    script = "ls outputs /tmp inputs; echo x > outputs/state; echo x > /tmp/state\n" + COPY_MASK
    result = run_team(make_image(script))
    logs = [(result.folder / "logs" / f"2DBox_US_{n}.log").read_text() for n in (1, 2)]
    assert logs[1] == logs[0].replace("US_1", "US_2")


def test_a_killed_harness_leaves_a_container_that_the_next_start_removes(
    engine: Any, make_image: Factory, make_case: Factory, run_team: Factory, tmp_path: Path
) -> None:
    for number in range(4):
        make_case(f"2DBox_US_{number}")
    image = make_image("sleep 0.2\n" + COPY_MASK)
    words = ["run", "--team", f"team={image}", "--cases", str(tmp_path / "cases")]
    words += ["--start-up-runs", "0", "--sentinel", "0"]
    command = [sys.executable, "-m", "evaluation", *words, "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as harness:
        records = tmp_path / "run" / "team" / "records.jsonl"
        wait_until(lambda: records.exists() and records.read_bytes().count(b"\n") == 2)
        wait_until(lambda: containers_of(engine, tmp_path))
        harness.send_signal(signal.SIGKILL)
    assert containers_of(engine, tmp_path)
    result = run_team(image)
    assert sorted(record.case for record in result.history) == [f"2DBox_US_{n}" for n in range(4)]
    assert {record.status for record in result.history} == {Status.OK}
    assert not containers_of(engine, tmp_path)
    assert not (tmp_path / "run" / ".work").exists()


def test_an_engine_that_hangs_once_costs_nothing(
    make_image: Factory, make_case: Factory, run_team: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_case()
    image, observe, hangs = make_image(), DockerRunner._observe, [True]

    def hang_once(self: DockerRunner, *words: Any) -> Any:
        if hangs.pop() if hangs else False:
            raise ReadTimeout("no answer in 120 s")
        return observe(self, *words)

    monkeypatch.setattr(DockerRunner, "_observe", hang_once)
    result = run_team(image)
    assert result.only.status is Status.OK
    monkeypatch.setattr(DockerRunner, "_observe", lambda *_: hangs.append(True) or hang_once(*_))
    make_case("2DBox_US_2")
    record = run_team(image).records["2DBox_US_2"]
    assert record.status is Status.HARNESS_FAULT
    assert "no answer in 120 s" in record.reason


def test_ctrl_c_removes_the_container(
    engine: Any, make_image: Factory, make_case: Factory, tmp_path: Path
) -> None:
    make_case()
    words = ["run", "--team", f"team={make_image('sleep 1000')}", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "evaluation", *words, "--cases", str(tmp_path / "cases")]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as harness:
        wait_until(lambda: containers_of(engine, tmp_path))
        harness.send_signal(signal.SIGTERM)
        _, messages = harness.communicate(timeout=30)
    assert harness.returncode == 130
    assert "resumes" in messages
    assert not containers_of(engine, tmp_path)
    assert not (tmp_path / "run" / ".work").exists()


def containers_of(engine: Any, tmp_path: Path) -> list[Any]:
    label = f"{LOCK_LABEL}={tmp_path / 'run' / '.lock'}"
    return list(engine.containers(all=True, filters={"label": label}))


def processes_with(argument: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += [int(entry.name)] if argument.encode() in words else []
    return found


def wait_until(condition: Callable[[], Any], limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
