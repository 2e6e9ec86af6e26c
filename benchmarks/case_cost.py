"""What one case costs, cold and warm: whole processes or whole containers, in turns.

    python benchmarks/case_cost.py                    # python -m inference on two demo cases
    python benchmarks/case_cost.py --image IMAGE      # docker run IMAGE on the same

*Cold* compiles both graphs (no compiled graph is kept); *warm* finds them compiled.  The two
alternate, so that a machine whose speed drifts slows both.  Printed: minimum, median and maximum of
the wall time, and the median ratio.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = ("2DBox_US_phantom-head", "3DBox_CT_phantom-abdomen")


def run_once(case: Path, cache: Path, image: str | None) -> float:
    """Seconds of one whole run on one case in fresh folders."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, "inputs"), Path(folder, "outputs")
        inputs.mkdir()
        outputs.mkdir()
        outputs.chmod(0o777)
        shutil.copy(case, inputs)
        if image is None:
            command = [sys.executable, "-m", "inference", "-i", str(inputs), "-o", str(outputs)]
            environment = {**os.environ, "MEDSAM_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
        else:
            command = ["docker", "run", "--rm", "--network", "none", "-m", "8G"]
            command += ["-v", f"{inputs}:/inputs:ro", "-v", f"{outputs}:/outputs"]
            command += ["-e", f"MEDSAM_CACHE={cache}"] if cache.name == "none" else []
            command += [image]
            environment = dict(os.environ)
        began = time.perf_counter()
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        seconds = time.perf_counter() - began
        if not (outputs / case.name).is_file():
            raise RuntimeError(f"{case.name}: expected a mask, found none")
        return seconds


def main() -> None:
    """Print a table of cold and warm seconds for every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", help="run this image instead of a process")
    parser.add_argument("--cases", type=Path, default=ROOT / "examples" / "cases", metavar="DIR")
    parser.add_argument("--names", nargs="+", default=CASES, help="default: %(default)s")
    parser.add_argument("-n", "--runs", type=int, default=7, help="default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warm_cache = Path(folder, "warm")
        print("| case | state | min s | median s | max s | median ratio cold/warm |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for name in args.names:
            case = args.cases / f"{name}.npz"
            run_once(case, warm_cache, args.image)  # fills the cache, warms the page cache
            seconds: dict[str, list[float]] = {"cold": [], "warm": []}
            for i in range(args.runs):
                # a folder that is not there keeps nothing in a container, a fresh one in a process
                nowhere = Path("/none") if args.image else Path(folder, f"{name}-{i}")
                seconds["cold"].append(run_once(case, nowhere, args.image))
                seconds["warm"].append(run_once(case, warm_cache, args.image))
            pairs = zip(seconds["cold"], seconds["warm"], strict=True)
            ratio = statistics.median(c / w for c, w in pairs)
            for state, values in seconds.items():
                cells = (min(values), statistics.median(values), max(values))
                shown = " | ".join(f"{v:.2f}" for v in cells)
                print(f"| {name} | {state} | {shown} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
