"""Most memory that one case takes in a process of its own.

    python benchmarks/memory_peak.py --cache DIR [--model BUNDLE]

A picture of 2604 x 1726 with 4 boxes (bar: 400 MiB) and a volume of 300 x 512 x 512 with 10 boxes
(bar: 1 GiB), both made here.  Peak: the process's largest resident set, mapped files included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed_cases import write_picture, write_volume

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="compiled graphs")
    parser.add_argument("--model", type=Path, help="default: the bundle that ships")
    parser.add_argument("--engine", default="openvino")
    args = parser.parse_args()
    print("| case | peak MiB | bar MiB | seconds |\n| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, bar in (("2DBox_XR_picture", 400), ("3DBox_CT_volume", 1024)):
            inputs = Path(folder, name)
            inputs.mkdir()
            if name.startswith("2D"):
                write_picture(inputs / f"{name}.npz", 2604, 1726, 4)
            else:
                write_volume(inputs / f"{name}.npz", 300, 512, 10)
            line = [sys.executable, "-m", "inference", "-i", inputs, "-o", Path(folder, "masks")]
            line += ["--cache", args.cache, "--engine", args.engine]
            line += ["--model", args.model] if args.model else []
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
            began = time.perf_counter()
            with subprocess.Popen(line, env=environment) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - began
            if process.returncode != 0:
                raise RuntimeError(f"{name}: expected exit status 0, found {process.returncode}")
            print(f"| {name} | {used.ru_maxrss / 1024:.0f} | {bar} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
