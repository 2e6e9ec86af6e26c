"""Cases, submissions and tiny images made on the fly."""

import io
import os
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.errors import EngineError
from evaluation.running.engine import connect
from evaluation.running.records import CaseRecord, last_records, read_records

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"
"""Script of a submission that answers every case with the mask in its folder."""

APPLETS = "sh cp cat ls ln dd id sleep mkdir mkfifo chmod yes head nc grep true kill setsid date"

IMAGES = f"medsam-laptop-test-{uuid.uuid4().hex[:8]}"
"""First part of the names of images: two test runs on one engine must not take each other's."""


def mask_bytes(shape: tuple[int, ...] = (8, 9)) -> bytes:
    """An output file: a label map of ones under `segs`."""
    stream = io.BytesIO()
    np.savez_compressed(stream, segs=np.ones(shape, np.uint8))
    return stream.getvalue()


@dataclass(frozen=True)
class RunResult:
    """What a run of one team left."""

    exit_code: int
    folder: Path
    """Folder of the team in the run folder."""
    history: list[CaseRecord]

    @property
    def records(self) -> dict[str, CaseRecord]:
        return last_records(self.history)

    @property
    def only(self) -> CaseRecord:
        (record,) = self.history
        return record


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Path]:
    """Write a small 2D case, or with `depth` a 3D one, and return its path."""

    def make(name: str = "2DBox_US_1", depth: int = 0, truth: bool = False, **more: Any) -> Path:
        folder = tmp_path / "cases"
        folder.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {"imgs": np.zeros((8, 9, 3), np.uint8), "boxes": [[1, 2, 5, 6]]}
        if depth:
            arrays["imgs"] = np.zeros((depth, 8, 9), np.uint8)
            arrays["boxes"] = [[1, 2, 0, 5, 6, depth - 1]]
            arrays["spacing"] = np.array([1.0, 1.0, 2.0])
        if truth:
            arrays["gts"] = np.ones(arrays["imgs"].shape[: 3 if depth else 2], np.uint8)
        path = folder / f"{name}.npz"
        np.savez_compressed(path, **(arrays | more))
        return path

    return make


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a submission folder with the given predict.sh and a mask.npz."""

    def make(script: str = COPY_MASK, name: str = "submission") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "predict.sh").write_text(script)
        (folder / "mask.npz").write_bytes(mask_bytes())
        return folder

    return make


@pytest.fixture
def run_team(tmp_path: Path) -> Callable[..., RunResult]:
    """Run one team on all cases made so far through the command line; repeated calls resume."""

    def run(source: str | Path, *flags: str) -> RunResult:
        words = ["run", "--team", f"team={source}", "--cases", str(tmp_path / "cases")]
        words += ["--start-up-runs", "0", "--sentinel", "0"]  # tests of these ask for them
        exit_code = main([*words, "--out", str(tmp_path / "run"), *flags])
        folder = tmp_path / "run" / "team"
        return RunResult(exit_code, folder, read_records(folder / "records.jsonl"))

    return run


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """Docker Engine; without one the test is skipped, or fails if MEDSAM_REQUIRE_DOCKER=1."""
    try:
        client = connect()
        if shutil.which("busybox") is None:
            client.close()
            raise EngineError("busybox is not installed (apt-get install busybox-static)")
    except EngineError as error:
        if os.environ.get("MEDSAM_REQUIRE_DOCKER") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture(scope="session")
def make_image(engine: Any) -> Iterator[Callable[..., str]]:
    """Import an image of busybox with the given predict.sh and files; returns its digest."""
    made: list[str] = []

    def make(script: str = COPY_MASK, tag: str = "", volume: str = "", **files: bytes) -> str:
        answer = engine.import_image_from_data(
            image_tar(script, files),
            repository=tag or None,
            changes=["WORKDIR /workspace", 'CMD ["sh", "predict.sh"]']
            + ([f"VOLUME {volume}"] if volume else []),
        )
        made.append(answer.split('"status":"')[1].split('"')[0])
        return made[-1]

    yield make
    for digest in made:
        engine.remove_image(digest, force=True)


def image_tar(script: str, more: Mapping[str, bytes]) -> bytes:
    """The root file system of a test image; `more` goes into its workspace."""
    stream = io.BytesIO()
    busybox = Path(shutil.which("busybox") or "").resolve().read_bytes()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for folder in ("bin", "tmp", "workspace", "workspace/inputs", "workspace/outputs"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        for name in APPLETS.split():
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        files = {
            "bin/busybox": busybox,
            "bin/bash": b'#!/bin/sh\nexec /bin/sh "$@"\n',
            "workspace/predict.sh": script.encode(),
            "workspace/mask.npz": mask_bytes(),
        } | {f"workspace/{name}": content for name, content in more.items()}
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()
