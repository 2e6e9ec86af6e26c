"""A challenge's whole size: how soon does a resumed run of 4,400 cases and 25 teams go on?

    python benchmarks/run_scale.py

No container is started: records and masks of all cases are written as a run leaves them, but for
the last case, and the harness resumes with a runner that answers at once. Printed are the seconds
until it runs the first open case, from the last case to the exit (all counts are read back from
disk), and the most memory that it had; then the same once more with nothing left to do.
"""

import argparse
import dataclasses
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evaluation import __main__ as command_line  # noqa: E402
from evaluation.dataset import digest_of, read_cases  # noqa: E402
from evaluation.running.cgroups import CgroupLimits  # noqa: E402
from evaluation.running.limits import in_force  # noqa: E402
from evaluation.running.outcomes import CaseRun, Status  # noqa: E402
from evaluation.running.process_runner import ProcessRunner  # noqa: E402
from evaluation.running.protocol import GIB, Protocol  # noqa: E402
from evaluation.running.records import CaseRecord  # noqa: E402
from evaluation.running.run_folder import RunFolder  # noqa: E402
from evaluation.running.teams import folder_digest  # noqa: E402

HOST_CONFIG = {
    **{"Memory": 8 * GIB, "MemorySwap": 8 * GIB, "NanoCpus": 0, "PidsLimit": 512},
    **{"CpusetCpus": "", "NetworkMode": "none", "ReadonlyRootfs": True, "CapDrop": ["ALL"]},
    **{"SecurityOpt": ["no-new-privileges:true"], "Privileged": False},
    "Tmpfs": {"/tmp": "rw,exec,nosuid,nodev,size=1073741824,mode=1777"},
}
"""What Docker Engine says of a container of the default protocol: the bulk of a record."""


def write_cases(folder: Path, count: int) -> None:
    """Write small pictures."""
    folder.mkdir()
    for number in range(count):
        image = np.full((8, 9, 3), number % 256, np.uint8)
        np.savez(folder / f"2DBox_US_{number:05}.npz", imgs=image, boxes=[[1, 2, 5, 6]])


def write_teams(folder: Path, count: int) -> list[Path]:
    """Write submissions that differ."""
    teams = [folder / f"team{number:02}" for number in range(count)]
    for team in teams:
        team.mkdir(parents=True)
        (team / "predict.sh").write_text(f": {team.name}\n")
    return teams


def write_history(run: Path, cases: Path, teams: list[Path]) -> int:
    """Write what a run leaves of all cases but the last; return the number of records."""
    limits = in_force(HOST_CONFIG, CgroupLimits(8 * GIB, 0, 512, None, "0-11"), 2)
    found = read_cases(cases)[:-1]
    digests = [digest_of(case.path) for case in found]
    run.mkdir()
    content = io.BytesIO()
    np.savez_compressed(content, segs=np.ones((8, 9), np.uint8))
    mask = content.getvalue()
    for team in teams:
        place = RunFolder(run).team(team.name)
        place.create()
        digest, _ = folder_digest(team.resolve())
        with place.records.open("w") as stream:
            for case, case_digest in zip(found, digests, strict=True):
                record = CaseRecord(
                    case=case.name,
                    modality=case.modality,
                    dimensions=case.dimensions,
                    status=Status.OK,
                    reason="",
                    exit_code=0,
                    oom_killed=False,
                    wall_s=0.731294,
                    started_at="2024-05-25T12:00:00.000+00:00",
                    runner=ProcessRunner.name,
                    submission=digest,
                    case_sha256=case_digest,
                    protocol_sha256=Protocol().digest,
                    limits=limits,
                )
                stream.write(json.dumps(dataclasses.asdict(record), sort_keys=True) + "\n")
                place.mask(case.name).write_bytes(mask)
    return len(found) * len(teams)


def resume(words: list[str]) -> int:
    """Run the harness in this process with a runner that answers at once, and print its times."""
    runs: list[float] = []
    began = time.monotonic()

    def answer(self: ProcessRunner, submission: Any, case: str, folders: Any) -> CaseRun:
        runs.append(time.monotonic())
        np.savez_compressed(folders.outputs / f"{case}.npz", segs=np.ones((8, 9), np.uint8))
        return CaseRun(wall_s=0.5, exit_code=0, log=b"")

    ProcessRunner.run_case = answer  # type: ignore[method-assign]
    code = command_line.main(words)
    ended = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first, last = (runs[0] - began, ended - runs[-1]) if runs else (None, None)
    figures = {"cases": len(runs), "first_s": first, "last_s": last, "peak_mib": peak}
    print(json.dumps({**figures, "all_s": ended - began, "code": code}))
    return code


def measure(words: list[str]) -> dict[str, Any]:
    """Return the figures of one resumed run, in a process of its own."""
    command = [sys.executable, __file__, "--resume", *words]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    """Print the figures; 1 when a case was run that need not have been."""
    if sys.argv[1:2] == ["--resume"]:
        return resume(sys.argv[2:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=4400, metavar="N")
    parser.add_argument("--teams", type=int, default=25, metavar="N")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="run-scale-") as temporary:
        base = Path(temporary)
        write_cases(base / "cases", args.cases)
        teams = write_teams(base / "teams", args.teams)
        records = write_history(base / "run", base / "cases", teams)
        words = ["run", "--runner", "process", "--cases", str(base / "cases")]
        words += ["--out", str(base / "run")]
        words += [word for team in teams for word in ("--team", f"{team.name}={team}")]
        some, none = measure(words), measure(words)
    print(f"{records} records stored, {some['cases']} cases open")
    print(f"resumed: first case after {some['first_s']:.1f} s, ", end="")
    print(f"exit {some['last_s']:.1f} s after the last, peak {some['peak_mib']:.0f} MiB")
    print(f"nothing open: exit after {none['all_s']:.1f} s, peak {none['peak_mib']:.0f} MiB")
    return 0 if (some["cases"], none["cases"]) == (args.teams, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
