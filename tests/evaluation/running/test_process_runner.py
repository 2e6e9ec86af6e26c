"""The same outcomes from plain processes, where there is no Docker Engine."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.running.logs import DROPPED_NOTE
from evaluation.running.outcomes import Status
from tests.evaluation.conftest import mask_bytes

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"

Factory = Callable[..., Any]


@pytest.fixture
def run(make_folder: Factory, run_team: Factory) -> Factory:
    def run_script(script: str, *flags: str, shape: tuple[int, ...] = (8, 9)) -> Any:
        folder = make_folder(script)
        (folder / "mask.npz").write_bytes(mask_bytes(shape))
        return run_team(folder, "--runner", "process", *flags)

    return run_script


def test_a_good_submission_is_ok(make_case: Factory, run: Factory) -> None:
    make_case("3DBox_CT_1", depth=3)
    result = run(COPY_MASK + "echo done", shape=(3, 8, 9))
    assert result.exit_code == 0
    assert (result.only.status, result.only.exit_code) == (Status.OK, 0)
    assert (result.only.modality, result.only.dimensions) == ("CT", 3)
    assert (result.folder / "masks" / "3DBox_CT_1.npz").is_file()
    assert (result.folder / "logs" / "3DBox_CT_1.log").read_bytes() == b"done\n"
    description = json.loads((result.folder / "team.json").read_text())
    assert description["runner"] == "process"
    assert description["versions"]["interpreter"] == sys.executable


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("echo broken; exit 3", Status.CRASH, "exit code 3: broken"),
        ("kill -9 $$", Status.CRASH, "exit code 137 (signal 9)"),
        ("true", Status.MISSING_OUTPUT, "exit code 0, but expected a.npz in the outputs"),
        (
            "ln -s $PWD/mask.npz outputs/a.npz",
            Status.UNREADABLE_OUTPUT,
            "a.npz: expected a regular",
        ),
        (
            "rm outputs; mkdir outputs; cp mask.npz outputs/a.npz",
            Status.MISSING_OUTPUT,
            "exit code",
        ),
        ("echo x > outputs/a.npz", Status.UNREADABLE_OUTPUT, "a.npz: expected an npz file"),
    ],
)
def test_every_failure_has_its_status(
    make_case: Factory, run: Factory, script: str, status: Status, reason: str
) -> None:
    make_case("a")
    result = run(script)
    assert result.exit_code == 0
    assert result.only.status is status
    assert result.only.reason.startswith(reason)
    assert not list((result.folder / "masks").iterdir())


def test_the_time_limit_ends_all_processes(make_case: Factory, run: Factory) -> None:
    make_case()
    result = run("sleep 917.25 & sleep 917.25", "--time-limit", "0.5")
    assert result.only.status is Status.TIME_OUT
    assert 0.5 <= result.only.wall_s < 3
    assert not sleeping("917.25")


def test_background_processes_end_with_the_case(make_case: Factory, run: Factory) -> None:
    make_case()
    script = "setsid sleep 918.25 &\nnohup sleep 918.25 >/dev/null 2>&1 &\n"
    result = run(script + COPY_MASK)
    assert result.only.status is Status.OK
    assert result.only.wall_s < 5
    assert not sleeping("918.25")


def test_a_run_is_timed_to_the_millisecond(make_case: Factory, run: Factory) -> None:
    make_case()
    result = run("sleep 0.3\n" + COPY_MASK)
    assert 0.3 <= result.only.wall_s < 0.45


def test_a_flooded_log_keeps_its_end_only(make_case: Factory, run: Factory) -> None:
    make_case("a")
    result = run("yes | head -c 3000000; echo the end; exit 1", "--log-limit", "10k")
    log = (result.folder / "logs" / "a.log").read_bytes()
    assert log.startswith(DROPPED_NOTE) and log.endswith(b"the end\n")
    assert len(log) == len(DROPPED_NOTE) + 10 * 1024


def test_a_submission_works_in_a_folder_of_links(
    make_case: Factory, make_folder: Factory, run: Factory
) -> None:
    make_case("a")
    make_case("b")
    folder = make_folder()
    (folder / "inputs").mkdir()
    (folder / "inputs" / "stale.npz").write_text("x")
    script = """
    ls; ls inputs outputs $TMPDIR; touch outputs/state $TMPDIR/state
    command -v python3; echo ${PYTHONPATH-unset}
    """
    result = run(script + COPY_MASK)
    logs = [(result.folder / "logs" / f"{case}.log").read_text().splitlines() for case in "ab"]
    assert logs[0][:4] == ["inputs", "mask.npz", "outputs", "predict.sh"]
    assert [line for line in logs[0] if line.endswith(".npz")] == ["mask.npz", "a.npz"]
    assert not any("state" in line for line in logs[1])
    assert logs[0][-2:] == [str(Path(sys.executable).parent / "python3"), "unset"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["inputs", "mask.npz", "predict.sh"]


def test_the_truth_is_not_shown(make_case: Factory, run: Factory) -> None:
    make_case("a", truth=True)
    result = run(
        COPY_MASK + "grep -q boxes inputs/* && echo boxes; grep -q gts inputs/* && echo gts\n:"
    )
    assert (result.folder / "logs" / "a.log").read_text() == "boxes\n"


def test_a_folder_without_predict_sh_and_an_image_are_refused(
    make_case: Factory, run_team: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_case()
    assert run_team(tmp_path, "--runner", "process").exit_code == 1
    assert "expected predict.sh" in capsys.readouterr().err
    assert run_team("image:1", "--runner", "process").exit_code == 1
    assert "needs Docker Engine" in capsys.readouterr().err


def sleeping(seconds: str) -> bool:
    """Whether a process with that argument runs; the kernel may need a moment to end one."""
    for _ in range(20):
        commands = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    commands.append((entry / "cmdline").read_bytes())
                except OSError:
                    continue
        if not any(seconds.encode() in command for command in commands):
            return False
        time.sleep(0.05)
    return True


def test_no_mask_of_a_repeat_is_left_where_a_later_one_fails(
    make_case: Factory, make_folder: Factory, run_team: Factory, tmp_path: Path
) -> None:
    case = make_case()
    runs = tmp_path / "runs"
    script = f"echo >> {runs}; [ $(wc -l < {runs}) = 1 ] || exit 7\n" + COPY_MASK
    result = run_team(make_folder(script), "--runner", "process", "--repeats", "2")
    assert (result.only.status, result.only.exit_code) == (Status.CRASH, 7)
    assert result.only.masks_differ is None and result.only.mask_sha256 is None
    assert not list((result.folder / "masks").iterdir()), case
