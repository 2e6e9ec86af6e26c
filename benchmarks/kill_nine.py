"""Kill -9 the harness at random moments of a long run: is anything lost, repeated or left behind?

    python benchmarks/kill_nine.py --image medsam-laptop:latest

A run of 200 cases whose command does nothing is killed 20 times, each time resumed, and then
finished.  Bar: every case has exactly one record, and nothing is left behind: no container, no
cgroup in any hierarchy, no work folder of the run and no temporary folder.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evaluation.running.cgroups import CGROUPS  # noqa: E402
from evaluation.running.engine import connect  # noqa: E402
from evaluation.running.protocol import Protocol  # noqa: E402
from evaluation.running.records import read_records  # noqa: E402
from evaluation.running.runner import LOCK_LABEL, DockerRunner  # noqa: E402


def write_cases(folder: Path, count: int) -> None:
    """Write small pictures."""
    folder.mkdir()
    for number in range(count):
        image = np.zeros((8, 9, 3), np.uint8)
        np.savez_compressed(folder / f"2DBox_US_{number:04}.npz", imgs=image, boxes=[[1, 2, 5, 6]])


def left_behind(run: Path, temporary: Path) -> list[str]:
    """Return the containers, cgroups and folders of a run that are still there."""
    engine = connect()
    try:
        runner = DockerRunner(engine, Protocol(), run / ".lock")
        label = f"{LOCK_LABEL}={run / '.lock'}"
        found = engine.containers(all=True, filters={"label": label})
        containers = [f"container {entry['Id'][:12]}" for entry in found]
    finally:
        engine.close()
    patterns = [f"{runner.cgroups}*", f"*/{runner.cgroups}*"]  # v2, and each hierarchy of v1
    cgroups = [f"cgroup {path}" for pattern in patterns for path in CGROUPS.glob(pattern)]
    folders = [f"folder {path}" for path in (*run.glob(".work"), *temporary.iterdir())]
    return [*containers, *cgroups, *folders]


def main() -> int:
    """Print what became of the cases; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", default="medsam-laptop:latest", help="default: %(default)s")
    parser.add_argument("--cases", type=int, default=200, metavar="N")
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    seen_left = 0
    with tempfile.TemporaryDirectory(prefix="kill-nine-") as base:
        cases, run, temporary = Path(base, "cases"), Path(base, "run"), Path(base, "tmp")
        write_cases(cases, args.cases)
        temporary.mkdir()
        records = run / "noop" / "records.jsonl"
        command = [sys.executable, "-m", "evaluation", "run", "--team", f"noop={args.image}"]
        command += ["--cases", str(cases), "--out", str(run), "--command", "/bin/sh -c :"]
        command += ["--start-up-runs", "0", "--sentinel", "0"]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        for kill in range(args.kills):
            share = args.cases * kill // (args.kills + 1)  # kills are spread over the whole run
            with subprocess.Popen(
                command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
            ) as harness:
                while harness.poll() is None and len(read_records(records)) < share:
                    time.sleep(0.05)
                time.sleep(moments.uniform(0, 1.5))
                harness.send_signal(signal.SIGKILL)
            left = left_behind(run, temporary)
            seen_left += len(left)
            recorded = len(read_records(records))
            print(f"kill {kill + 1}: {recorded} records, {len(left)} things to clear", flush=True)
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        counts = Counter(record.case for record in read_records(records))
        left = left_behind(run, temporary)
    once = sum(count == 1 for count in counts.values())
    print(f"{args.cases} cases, {once} with exactly one record")
    print(f"{seen_left} things were left by the kills, {len(left)} after the last run", *left)
    return 0 if once == args.cases == len(counts) and not left else 1


if __name__ == "__main__":
    sys.exit(main())
