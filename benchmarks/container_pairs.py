"""Our container against another, run as the challenge's organisers run them, in turns.

    python benchmarks/container_pairs.py --peer IMAGE --cases DIR [--bare] [-n 9] [NAME ...]

Every turn has four runs of ``docker run -m 8g``: each image on the case (``sh predict.sh``, cases
in /workspace/inputs, masks into /workspace/outputs) and each image doing nothing (``true``).  Both
containers get the same flags, ``--network none --cpus 2``; with --bare the other one gets neither.
A container keeps its outputs folder from turn to turn, for MedficientSAM has its compiled graphs
there; the mask is taken away after every run, and one turn before the first is not counted.
Printed: medians of wall seconds, and the median over the turns of the ratio ours/theirs.
peer_images.py makes the other images.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

LIMITED = ("docker", "run", "--rm", "-m", "8g")
ISOLATED = ("--network", "none", "--cpus", "2")
INSIDE = "/workspace"


def wall_s(line: list[str]) -> float:
    """Seconds of a command that must succeed."""
    began = time.perf_counter()
    ended = subprocess.run(line, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(line)}: status {ended.returncode}: {ended.stderr[-2000:]}")
    return seconds


class Side:
    """One image with its folders."""

    def __init__(self, image: str, flags: tuple[str, ...], case: Path, folder: Path) -> None:
        self.image, self.flags = image, flags
        inputs, outputs = folder / "inputs", folder / "outputs"
        for made in (inputs, outputs):
            made.mkdir(parents=True)
            made.chmod(0o777)  # containers run as users of their own
        shutil.copy(case, inputs)
        (inputs / case.name).chmod(0o644)
        self.mask = outputs / case.name
        self.mounts = ("-v", f"{inputs}:{INSIDE}/inputs", "-v", f"{outputs}:{INSIDE}/outputs")

    def run_s(self, *command: str) -> float:
        """Wall seconds of one container."""
        return wall_s([*LIMITED, *self.flags, *self.mounts, self.image, *command])

    def whole_s(self) -> float:
        """Wall seconds of one container on the case."""
        seconds = self.run_s("/bin/bash", "-c", "sh predict.sh")
        self.mask.unlink()  # which says that it was there
        return seconds


def compare(case: Path, args: argparse.Namespace, folder: Path) -> str:
    """One row of the table."""
    ours = Side(args.image, ISOLATED, case, folder / "ours")
    peer = Side(args.peer, () if args.bare else ISOLATED, case, folder / "peer")
    turns = []
    for _ in range(args.runs + 1):
        whole = (ours.whole_s(), peer.whole_s())
        turns.append((*whole, ours.run_s("true"), peer.run_s("true")))
    counted = turns[1:]
    medians = [statistics.median(column) for column in zip(*counted, strict=True)]
    ratio = statistics.median(turn[0] / turn[1] for turn in counted)
    beyond = statistics.median((t[0] - t[2]) / max(t[1] - t[3], 1e-3) for t in counted)
    cells = [case.stem, *(f"{value:.2f}" for value in medians), f"**{ratio:.2f}**", f"{beyond:.2f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", default="medsam-laptop:latest", help="default: %(default)s")
    parser.add_argument("--peer", required=True, metavar="IMAGE")
    parser.add_argument("--cases", type=Path, required=True, metavar="DIR")
    parser.add_argument("--bare", action="store_true", help="the other with -m 8g alone")
    parser.add_argument("-n", "--runs", type=int, default=9, help="turns (default: %(default)s)")
    parser.add_argument("names", nargs="*", help="cases; default: all of --cases")
    args = parser.parse_args()
    names = args.names or [path.stem for path in sorted(args.cases.glob("*.npz"))]
    print(
        "| case | ours: wall s | theirs: wall s | ours: no-op s | theirs: no-op s | ratio"
        " | ratio less no-op |\n| --- |" + " ---: |" * 6
    )
    for name in names:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            print(compare(args.cases / f"{name}.npz", args, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
