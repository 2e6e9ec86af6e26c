"""Programs built from a checkout."""

import os
import shutil
import subprocess
from pathlib import Path


def run_binary(line: list[Path | None], work: Path) -> None:
    """Run a program built from a checkout; OpenVINO's libraries are those of its wheel."""
    import openvino

    if line[0] is None:
        raise SystemExit("--program: expected the binary built from the checkout's cpp/")
    libraries = Path(openvino.__file__).parent / "libs"
    shutil.rmtree(work / "cache", ignore_errors=True)
    subprocess.run(
        [str(part) for part in line], check=True, cwd=work,
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
    )  # fmt: skip
