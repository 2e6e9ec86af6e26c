"""What a participant is told before submitting."""

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.checking.odd_cases import MENDING, ORDINARY, write_cases
from evaluation.checking.verdicts import Evidence, Level, Verdict, judge_all
from evaluation.dataset import read_cases
from evaluation.running.measuring import StartUp
from evaluation.running.network_witness import read_counter
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord
from evaluation.running.trial import Trial
from tests.evaluation.conftest import mask_bytes

Factory = Callable[..., Any]

ANSWER = "for f in inputs/*; do n=${f##*/}; cp $n outputs/$n; done\n"


def masks(tmp_path: Path) -> dict[str, bytes]:
    write_cases(tmp_path / "made-up")
    cases = read_cases(tmp_path / "made-up")
    return {f"{case.name}.npz": mask_bytes(case.shape) for case in cases} | {
        "2DBox_US_no-boxes.npz": _empty((64, 64))
    }


def _empty(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, segs=np.zeros(shape, np.uint8))
    return stream.getvalue()


def test_the_made_up_cases_are_what_they_are_called(tmp_path: Path) -> None:
    write_cases(tmp_path)
    cases = {case.name: case for case in read_cases(tmp_path)}
    assert set(cases) == {*ORDINARY, *MENDING}
    assert cases["2DBox_Microscopy_300boxes"].boxes == 300
    assert cases["2DBox_US_no-boxes"].boxes == 0
    assert cases["3DBox_CT_one-slice"].shape == (1, 64, 64)
    assert all(case.dimensions == int(name[0]) for name, case in cases.items())


def test_counters_are_read_in_both_forms() -> None:
    assert read_counter("Ip: A OutNoRoutes B\nIp: 1 7 2\nTcp: X\nTcp: 3\n", "OutNoRoutes") == 7
    assert read_counter("Ip6InDelivers 1\nIp6OutNoRoutes 9\n", "Ip6OutNoRoutes") == 9
    assert read_counter("", "OutNoRoutes") == 0


@pytest.mark.docker
def test_a_good_image_passes_everything(
    make_image: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(ANSWER, **masks(tmp_path))
    assert main(["check", image]) == 0
    page = capsys.readouterr().out
    lines = [line for line in page.splitlines() if line[:4] in ("pass", "warn", "FAIL")]
    assert len(lines) == 13
    assert all(line.startswith("pass") for line in lines), lines
    assert "two runs, the same masks (2 cases)" in page
    assert "0 of 13 verdicts are FAIL" in page


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="counters of other users' processes")
def test_what_is_wrong_is_named_with_how_to_mend_it(
    make_image: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "nc -w 1 192.0.2.1 80; test -e inputs/*tiny* && exit 1\n"
    script += "dd if=/dev/zero of=outputs/cache bs=1M count=2\n"
    image = make_image(script + ANSWER, **masks(tmp_path))
    assert main(["check", image, "--out", str(tmp_path / "kept")]) == 1
    page = capsys.readouterr().out
    assert "packets tried to leave" in page
    assert "turn telemetry and update checks off" in page
    assert "2.0 MiB beside the mask" in page
    assert "FAIL tiny                  will fail: crash: exit code 1" in page
    assert "pad small images before the encoder" in page
    assert "1 of 13 verdicts are FAIL: tiny" in page
    assert (tmp_path / "kept" / "check" / "logs" / "2DBox_US_tiny.log").is_file()


@pytest.mark.docker
def test_each_verdict_is_printed_as_soon_as_it_is_known(
    make_image: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(ANSWER, **masks(tmp_path))
    seen: list[str] = []
    original = Trial.run

    def watched(self: Trial, submission: Any, case: Any, *words: Any) -> Any:
        seen.append(capsys.readouterr().out)
        return original(self, submission, case, *words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trial, "run", watched)
        assert main(["check", image]) == 0
    assert "image size" in seen[0]  # before the first case is run
    assert "contract, 2D" in seen[1]
    assert "contract, 3D" in seen[2]


def test_the_slowest_step_is_named() -> None:
    start_up = StartUp(0.3, 0.1, (0.3, 0.2), ("sh",))

    def slowest(*walls_s: float) -> str:
        records = {str(wall_s): record(wall_s) for wall_s in walls_s}
        verdicts = judge_all(Evidence(Protocol(), records, start_up))
        return next(verdict.finding for verdict in verdicts if verdict.subject == "slowest step")

    assert slowest(0.21, 0.3).startswith("the container's start: in 0.3, 0.30 s are")
    assert slowest(2.0, 3.0).startswith("your program's start")
    assert slowest(1.0, 9.0).startswith("the work on the case: in 9.0, 9.00 s are")
    assert "program's start 0.80 s, the work on the case 8.00 s" in slowest(1.0, 9.0)


def record(wall_s: float) -> CaseRecord:
    return CaseRecord(
        case=str(wall_s),
        modality="CT",
        dimensions=3,
        status=Status.OK,
        reason="",
        exit_code=0,
        oom_killed=False,
        wall_s=wall_s,
        started_at="",
        runner="docker",
        submission="",
        case_sha256="",
        protocol_sha256="",
    )


def test_what_is_not_the_submissions_fault_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    assert main(["check", "image:1"]) == 3
    assert "not by fault of the submission: no Docker Engine answers" in capsys.readouterr().err
    assert main(["check", "./absent.tar"]) == 2


def test_a_check_that_is_ended_clears_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM is as Ctrl-C, so that what runs a container comes to its end."""
    ended: list[str] = []

    def tried(*_: object) -> Iterator[Verdict]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
            yield Verdict(Level.PASS, "nothing", "")
        finally:
            ended.append("cleared")

    monkeypatch.setattr("evaluation.checking.check.try_submission", tried)
    assert main(["check", "image"]) == 130
    assert ended == ["cleared"]
