"""What a case costs besides its graphs, in our container: whole runs against no-op runs of the same
image, in turns.

    python benchmarks/non_graph_time.py [--image IMAGE] [--cases DIR] [NAME ...]

Of every turn: wall time of ``docker run IMAGE`` on the case, less that of ``docker run IMAGE
true``, less the time inside the encoder's and the decoder's graphs, which a third run tells
(``--profile`` itself takes 10 to 20 ms).  Loading the graphs, reading, resizing, drawing and
writing all count.  Printed: medians (bar: 0.20 s in 2D).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ["docker", "run", "--rm", "--network", "none"]
GRAPHS = ("encoder graph", "decoder graph")


def seconds_of(line: list[str]) -> float:
    """Wall time of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", default="medsam-laptop:latest", help="default: %(default)s")
    parser.add_argument("--cases", type=Path, default=ROOT / "examples" / "cases", metavar="DIR")
    parser.add_argument("-n", "--runs", type=int, default=9, help="default: %(default)s")
    parser.add_argument("names", nargs="*", default=["2DBox_US_phantom-head"])
    args = parser.parse_args()
    print("| case | whole s | no-op s | graphs s | the rest s |\n| --- |" + " ---: |" * 4)
    for name in args.names:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            inputs, outputs = Path(folder, "inputs"), Path(folder, "outputs")
            inputs.mkdir()
            outputs.mkdir()
            os.chmod(outputs, 0o777)
            shutil.copy(args.cases / f"{name}.npz", inputs)
            line = [*DOCKER, "-v", f"{inputs}:/inputs:ro", "-v", f"{outputs}:/outputs", args.image]
            for _ in range(args.runs + 1):
                whole = seconds_of([*line, "sh", "predict.sh"])
                nothing = seconds_of([*line, "true"])
                seconds_of([*line, "sh", "predict.sh", "--profile", "/outputs/trace"])
                events = json.loads((outputs / "trace").read_text())["traceEvents"]
                graphs = sum(e["dur"] for e in events if e["name"] in GRAPHS) / 1e6
                rows.append((whole, nothing, graphs, whole - nothing - graphs))
        medians = [statistics.median(column) for column in zip(*rows[1:], strict=True)]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in medians) + " |", flush=True)


if __name__ == "__main__":
    main()
