"""What the harness adds to a case: its whole turn against a bare ``docker run`` of the same.

    python benchmarks/harness_overhead.py --image medsam-laptop:latest

Both run the same image under the same flags with a command that does nothing, in turns, so that a
machine whose speed drifts slows both.  The harness's turn is everything from staging the case to
the flushed record.  Bar: a median difference of at most 60 ms over at least 50 cases.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evaluation.dataset import digest_of, read_cases  # noqa: E402
from evaluation.running.engine import connect  # noqa: E402
from evaluation.running.protocol import Protocol  # noqa: E402
from evaluation.running.records import RecordLog  # noqa: E402
from evaluation.running.run_folder import RunFolder  # noqa: E402
from evaluation.running.runner import DockerRunner  # noqa: E402
from evaluation.running.staging import staged_case  # noqa: E402
from evaluation.running.teams import parse_team  # noqa: E402
from evaluation.running.trial import Trial  # noqa: E402

BAR_S = 0.060
NO_OP = ("/bin/sh", "-c", ":")


def bare_flags(protocol: Protocol, inputs: Path, outputs: Path) -> list[str]:
    """The protocol's limits as flags of docker run."""
    memory = str(protocol.memory_bytes)
    most = max(protocol.output_limit_bytes, protocol.tmp_bytes)
    return [
        *("--rm", "--network", protocol.network, "-m", memory, "--memory-swap", memory),
        *("--pids-limit", str(protocol.pids), "--read-only", "--cap-drop", "ALL"),
        *("--tmpfs", f"/tmp:rw,exec,nosuid,nodev,size={protocol.tmp_bytes},mode=1777"),
        *("--security-opt", "no-new-privileges:true", "--user", protocol.user),
        *("--ulimit", f"fsize={most}", "--log-driver", "json-file"),
        *("--log-opt", f"max-size={protocol.log_limit_bytes}", "--log-opt", "max-file=2"),
        *("-v", f"{inputs}:{protocol.inputs_at}:ro", "-v", f"{outputs}:{protocol.outputs_at}"),
    ]


def main() -> None:
    """Print medians of both and of their paired difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", default="medsam-laptop:latest", help="default: %(default)s")
    parser.add_argument("--cases", type=Path, default=ROOT / "examples" / "cases", metavar="DIR")
    parser.add_argument("-n", type=int, default=60, help="pairs; default: %(default)s")
    args = parser.parse_args()
    protocol = Protocol(command=NO_OP)
    bare, ours, walls = [], [], []
    with tempfile.TemporaryDirectory() as base, RunFolder(Path(base, "run")) as folder:
        inputs, outputs = Path(base, "inputs"), Path(base, "outputs")
        inputs.mkdir()
        outputs.mkdir()
        runner = DockerRunner(connect(), protocol, folder.lock)
        place = folder.team("bench")
        place.create()
        submission = runner.prepare(parse_team(f"bench={args.image}"), {}, place.build_log)
        command = ["docker", "run", *bare_flags(protocol, inputs, outputs), args.image, *NO_OP]
        cases = read_cases(args.cases)
        trial = Trial(runner, protocol, folder.work)
        with RecordLog(place.records) as log:
            for number in range(-2, args.n):
                case = cases[number % len(cases)]
                digest = digest_of(case.path)
                began = time.perf_counter()
                subprocess.run(command, check=True)
                middle = time.perf_counter()
                with staged_case(case, folder.work) as file:
                    record = trial.run(submission, case, digest, file, place)
                log.append(record)
                ended = time.perf_counter()
                if number >= 0:  # two pairs to warm up
                    bare.append(middle - began)
                    ours.append(ended - middle)
                    walls.append(record.wall_s or 0.0)
        runner.clear_leftovers()
        runner.close()
    difference = [o - b for o, b in zip(ours, bare, strict=True)]
    print(f"{args.n} pairs, seconds: minimum, median, maximum")
    for name, values in (("docker run", bare), ("harness", ours), ("its wall_s", walls)):
        print(f"{name:12}{min(values):8.3f}{statistics.median(values):8.3f}{max(values):8.3f}")
    overhead = statistics.median(difference)
    verdict = "holds" if overhead <= BAR_S else "is missed"
    print(f"median paired overhead {1000 * overhead:.1f} ms; the bar of 60 ms {verdict}")


if __name__ == "__main__":
    main()
