"""What a participant is told before submitting."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.checking.odd_cases import MENDING, ORDINARY, write_cases
from evaluation.dataset import read_cases
from evaluation.running.network_witness import read_counter
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
    make_image: Factory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = make_image(ANSWER, **masks(tmp_path))
    with caplog.at_level("INFO"):
        assert main(["check", image]) == 0
    lines = [message for message in caplog.messages if message[:4] in ("pass", "warn", "FAIL")]
    assert len(lines) == 13
    assert all(line.startswith("pass") for line in lines), lines
    assert "two runs, the same masks (2 cases)" in caplog.text


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="counters of other users' processes")
def test_what_is_wrong_is_named_with_how_to_mend_it(
    make_image: Factory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = "nc -w 1 192.0.2.1 80; test -e inputs/*tiny* && exit 1\n"
    script += "dd if=/dev/zero of=outputs/cache bs=1M count=2\n"
    image = make_image(script + ANSWER, **masks(tmp_path))
    with caplog.at_level("INFO"):
        assert main(["check", image, "--out", str(tmp_path / "kept")]) == 1
    assert "packets tried to leave" in caplog.text
    assert "turn telemetry and update checks off" in caplog.text
    assert "2.0 MiB beside the mask" in caplog.text
    assert "FAIL tiny                  crash: exit code 1" in caplog.text
    assert "pad small images before the encoder" in caplog.text
    assert "1 of 13 verdicts are FAIL" in caplog.text
    assert (tmp_path / "kept" / "check" / "logs" / "2DBox_US_tiny.log").is_file()
