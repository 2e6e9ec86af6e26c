"""Builders shared by all tests: cases from seeds, and the question whether an engine is there."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is first imported

# No test is timed: a busy machine must not fail one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

Boxes = Sequence[Sequence[float]] | NDArray[Any]


class CaseMaker(Protocol):
    """Writes a case file and returns its path; further keywords are further keys of the file."""

    def __call__(
        self,
        name: str = ...,
        shape: tuple[int, ...] = ...,
        boxes: Boxes = ...,
        seed: int = ...,
        folder: Path | None = ...,
        **keys: Any,
    ) -> Path: ...


def draw_objects(shape: tuple[int, ...], boxes: Boxes, seed: int) -> NDArray[np.uint8]:
    """Return a dark noisy picture or volume with a bright ellipse inscribed in each box.

    A shape of three numbers is a volume if the boxes have six, else a picture with channels.
    """
    generator = np.random.default_rng(seed)
    image = generator.normal(60, 6, shape)
    is_volume = any(len(box) == 6 for box in boxes)
    axes = 3 if is_volume else 2
    grid = np.meshgrid(*(np.arange(extent) for extent in shape[:axes]), indexing="ij")
    for box in boxes:
        low, high = np.array(box[:axes])[::-1], np.array(box[axes:])[::-1]  # x first -> x last
        radius = (high - low + 1) / 2
        centre = (low + high) / 2
        inside = sum(((grid[i] - centre[i]) / radius[i]) ** 2 for i in range(axes)) <= 1
        image[inside] += 120
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture
def make_case(tmp_path: Path) -> CaseMaker:
    """Write cases into a folder `cases`; the same arguments give the same arrays.

    No boxes are boxes of four numbers; for a volume without any, give an array (0, 6).
    """

    def make(
        name: str = "2DBox_US_1",
        shape: tuple[int, ...] = (60, 80, 3),
        boxes: Boxes = ((10, 12, 45, 40),),
        seed: int = 0,
        folder: Path | None = None,
        **keys: Any,
    ) -> Path:
        folder = folder or tmp_path / "cases"
        folder.mkdir(exist_ok=True)
        rows = np.array(boxes)
        arrays: dict[str, Any] = {
            "imgs": draw_objects(shape, boxes, seed),
            "boxes": rows if rows.ndim == 2 else np.zeros((0, 4)),
        }
        path = folder / f"{name}.npz"
        np.savez_compressed(path, **(arrays | keys))
        return path

    return make


def refuse_or_skip(reason: str) -> None:
    """End a test that needs an engine: skipped, or failed if MEDSAM_REQUIRE_DOCKER=1."""
    if os.environ.get("MEDSAM_REQUIRE_DOCKER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker_client() -> str:
    """Path of the docker command, with an engine that answers it."""
    command = shutil.which("docker")
    if command is None:
        refuse_or_skip("the docker command is not installed (apt-get install docker.io)")
        raise AssertionError
    answer = subprocess.run([command, "version"], capture_output=True, text=True, timeout=60)
    if answer.returncode != 0:
        refuse_or_skip(f"no Docker Engine answers: {answer.stderr.strip()}")
    return command
