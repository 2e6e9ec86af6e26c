"""The image under test, and a way to run it as its users do."""

import os
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import refuse_or_skip

ROOT = Path(__file__).resolve().parents[2]

OWN_COMMAND = ("--network", "none", "-v", "{inputs}:/inputs:ro", "-v", "{outputs}:/outputs")
"""What docs/container.md tells users to run."""

ORGANISERS_COMMAND = (
    *("-m", "8G", "-v", "{inputs}/:/workspace/inputs/", "-v", "{outputs}/:/workspace/outputs/"),
    *("{image}", "/bin/bash", "-c", "sh predict.sh"),
)
"""CVPR24_time_eval.py:72."""

PATIENCE_S = 300

Masks = dict[str, NDArray[np.unsignedinteger]]


@dataclass(frozen=True)
class Outcome:
    """What a container left."""

    exit_code: int
    stdout: str
    stderr: str
    outputs: Path

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.outputs.iterdir())

    @property
    def masks(self) -> Masks:
        """The label maps by file name; each file holds `segs` and nothing else."""
        masks = {}
        for path in self.outputs.iterdir():
            with np.load(path, allow_pickle=False) as archive:
                assert archive.files == ["segs"]
                masks[path.name] = archive["segs"]
        return masks


RunImage = Callable[..., Outcome]


@pytest.fixture(scope="session")
def image(docker_client: str) -> str:
    """Reference of the image: the one in MEDSAM_TEST_IMAGE, else built now."""
    given = os.environ.get("MEDSAM_TEST_IMAGE")
    if given:
        return given
    tag = "medsam-laptop:test"
    build = subprocess.run([ROOT / ".ci/build_image.sh", tag], capture_output=True, text=True)
    if build.returncode != 0:
        refuse_or_skip(f"the image cannot be built: {build.stderr[-2000:]}")
    return tag


@pytest.fixture
def run_image(docker_client: str, image: str, tmp_path: Path) -> RunImage:
    """Run the image on `cases`, masks into the folder named by `out`.

    Flags go before the image, `command` after it. `form` is a whole command line of the contract.
    """

    def run(
        *flags: str,
        command: tuple[str, ...] = (),
        form: tuple[str, ...] = OWN_COMMAND,
        out: str = "masks",
    ) -> Outcome:
        inputs, outputs = tmp_path / "cases", tmp_path / out
        for folder, mode in ((inputs, 0o755), (outputs, 0o777)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
        if "{image}" not in form:
            form = (*form, "{image}", *command)
        words = [word.format(inputs=inputs, outputs=outputs, image=image) for word in form]
        name = f"medsam-test-{uuid.uuid4().hex[:12]}"
        line = [docker_client, "container", "run", "--rm", "--name", name, *flags, *words]
        try:
            ended = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            subprocess.run([docker_client, "rm", "--force", name], capture_output=True)
            raise
        return Outcome(ended.returncode, ended.stdout, ended.stderr, outputs)

    return run


@pytest.fixture
def ask_image(run_image: RunImage) -> Callable[[str], str]:
    """Run a line of shell in the image and return what it printed."""

    def ask(line: str) -> str:
        outcome = run_image(command=("sh", "-c", line))
        assert outcome.exit_code == 0, outcome.stderr
        return outcome.stdout

    return ask
