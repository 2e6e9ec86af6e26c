"""The organisers' timing script and our ``cvpr24-official`` on the same image and cases.

    git clone --branch LiteMedSAM https://github.com/bowang-lab/MedSAM CHECKOUT
    python benchmarks/official_script.py --script CHECKOUT/CVPR24_time_eval.py --cases DIR

Their script and ours take turns, whole runs of all cases.  Compared are the masks, label by label,
and the seconds a case: theirs is the time of ``docker run --rm``, ours ``turnaround_s``.  The
script imports pandas and torch; ``--python`` names an interpreter that has them, otherwise two
stand-ins with the three functions that it calls are put into its path.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evaluation.running.records import read_records  # noqa: E402

TEAM = "medsamlaptopbench"

STAND_INS = {
    "torch.py": "class cuda:\n    @staticmethod\n    def empty_cache():\n        pass\n",
    "pandas.py": "import csv\n\n\nclass DataFrame:\n    def __init__(self, data):\n"
    "        self.data = data\n\n    def to_csv(self, path, index):\n"
    "        with open(path, 'w', newline='') as stream:\n"
    "            rows = zip(*self.data.values())\n"
    "            csv.writer(stream).writerows([list(self.data), *rows])\n",
}


def run_theirs(base: Path, script: Path, python: str, archive: Path, cases: Path) -> Path:
    """Run the organisers' script in a fresh folder; return the folder of its results."""
    base.mkdir()
    (base / "team_docker").mkdir()
    os.link(archive, base / "team_docker" / archive.name)
    shutil.copy(script, base / script.name)
    environment = dict(os.environ)
    if python == sys.executable:
        stand_ins = base / "stand_ins"
        stand_ins.mkdir()
        for name, text in STAND_INS.items():
            (stand_ins / name).write_text(text)
        environment["PYTHONPATH"] = str(stand_ins)
    words = ["-i", str(cases), "-o", "./seg", "-d", "./team_docker"]
    quiet = subprocess.DEVNULL
    command = [python, script.name, *words]
    subprocess.run(command, cwd=base, env=environment, check=True, stdout=quiet, stderr=quiet)
    return base / "seg" / TEAM


def run_ours(run: Path, image: str, cases: Path) -> Path:
    """Run the harness under the official protocol; return the folder of the team."""
    words = ["run", "--team", f"{TEAM}={image}", "--cases", str(cases), "--out", str(run)]
    words += ["--protocol", "cvpr24-official", "--start-up-runs", "0", "--sentinel", "0"]
    subprocess.run([sys.executable, "-m", "evaluation", *words], cwd=ROOT, check=True)
    return run / TEAM


def labels(path: Path) -> np.ndarray:
    """The mask in an output file."""
    with np.load(path) as archive:
        return np.asarray(archive["segs"])


def main() -> int:
    """Print a table of cases; 1 when any mask differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", type=Path, required=True, metavar="FILE")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the script")
    parser.add_argument("--image", default="medsam-laptop:latest", help="default: %(default)s")
    parser.add_argument("--cases", type=Path, required=True, metavar="DIR", help="ten or so")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    args = parser.parse_args()
    names = sorted(path.stem for path in args.cases.glob("*.npz"))
    theirs: dict[str, list[float]] = {name: [] for name in names}
    ours: dict[str, list[float]] = {name: [] for name in names}
    walls: dict[str, list[float]] = {name: [] for name in names}
    different: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        base, archive = Path(folder), Path(folder, f"{TEAM}.tar.gz")
        subprocess.run(["docker", "tag", args.image, f"{TEAM}:latest"], check=True)
        save = f"docker save {TEAM}:latest | gzip -1 > {archive}"
        subprocess.run(["bash", "-o", "pipefail", "-c", save], check=True)
        cases = args.cases.resolve()
        for number in range(args.rounds):
            script = args.script.resolve()
            first = run_theirs(base / f"theirs{number}", script, args.python, archive, cases)
            second = run_ours(base / f"ours{number}", args.image, cases)
            with (first / f"{TEAM}_running_time.csv").open() as stream:
                for row in csv.DictReader(stream):
                    theirs[Path(row["CaseName"]).stem].append(float(row["RunningTime"]))
            for record in read_records(second / "records.jsonl"):
                ours[record.case].append(record.turnaround_s or 0.0)
                walls[record.case].append(record.wall_s or 0.0)
            for name in names:
                pair = labels(first / f"{name}.npz"), labels(second / "masks" / f"{name}.npz")
                if not np.array_equal(*pair):
                    different.add(name)
    print("| case | theirs s | ours s | our wall_s | spread of theirs s | masks |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for name in names:
        spread = max(theirs[name]) - min(theirs[name])
        cells = [statistics.median(values[name]) for values in (theirs, ours, walls)]
        shown = " | ".join(f"{value:.3f}" for value in (*cells, spread))
        print(f"| {name} | {shown} | {'differ' if name in different else 'same'} |")
    medians = [[statistics.median(each) for each in values.values()] for values in (theirs, ours)]
    differences = [o - t for t, o in zip(*medians, strict=True)]
    print(f"median difference, ours less theirs: {1000 * statistics.median(differences):+.0f} ms")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
