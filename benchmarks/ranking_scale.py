"""Ranking at the size of the challenge: made-up scores of 25 teams on 4,400 cases.

    python benchmarks/ranking_scale.py make RUN [--teams 25] [--cases 4400] [--seed 0]
    python benchmarks/ranking_scale.py time [RUN]

`make` writes a run folder as `run` and `score` leave it, without masks: team.json, records.jsonl,
scores.csv, and groups.csv beside the teams. Teams differ by a skill of their own, cases by a
difficulty that all teams share, so that neighbours on the board are hard to tell apart; a part of
the cases of every team fails, in every way that there is. `time` ranks it and prints what it took.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from evaluation.ranking.rank import rank_runs
from evaluation.running.outcomes import Status
from evaluation.running.protocol import Protocol
from evaluation.running.records import CaseRecord
from evaluation.running.run_folder import TeamFolder, write_json
from evaluation.scoring.score_tables import ScoreRow, write_table

STRATA = (
    *(("CT", 3, 0.25), ("MR", 3, 0.14), ("PET", 3, 0.01), ("CT", 2, 0.05), ("MR", 2, 0.04)),
    *(("Ultrasound", 2, 0.17), ("X-Ray", 2, 0.12), ("Endoscopy", 2, 0.12), ("Fundus", 2, 0.03)),
    *(("Microscopy", 2, 0.03), ("OCT", 2, 0.04)),
)
"""Modality, dimensions and share of the cases; uneven, as the validation set is."""

FAILURES = (Status.CRASH, Status.TIME_OUT, Status.OUT_OF_MEMORY, Status.WRONG_SHAPE)

HOST = {"name": "synthetic", "processor": "made up", "machine": "x86_64", "processors": 8}
HARDWARE = "made up (x86_64), 8 of 8 processors, 8192 MiB, 1 at once"


def make_run(run: Path, teams: int, cases: int, seed: int) -> None:
    """Write the run folder; the same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    names, strata = _cases(cases)
    difficulty = rng.normal(0.0, 1.0, cases)
    volume = np.array([dimensions == 3 for _, dimensions in strata])
    for number in range(teams):
        skill = 1.6 + 0.9 * (teams - number) / teams
        logit = skill - 0.8 * difficulty + rng.normal(0.0, 0.5, cases)
        dsc = 1 / (1 + np.exp(-logit))
        nsd = 1 / (1 + np.exp(-logit - 0.3 - rng.normal(0.0, 0.4, cases)))
        speed = 1.0 + 20.0 * rng.beta(1.2, 4.0)
        seconds = speed * rng.lognormal(0.0, 0.1, cases) * np.where(volume, 3.0, 1.0)
        failed = rng.random(cases) < rng.choice([0.0, 0.002, 0.02])
        _write_team(run, f"team{number + 1:02d}", names, strata, dsc, nsd, seconds, failed, rng)
    lines = [f"{name},{name.rsplit('_', 1)[0]}-{index // 2}" for index, name in enumerate(names)]
    (run / "groups.csv").write_text("\n".join(["case,group", *lines]) + "\n", encoding="utf-8")


def _cases(cases: int) -> tuple[list[str], list[tuple[str, int]]]:
    names, strata = [], []
    shares = np.cumsum([share for _, _, share in STRATA])
    for index in range(cases):
        modality, dimensions, _ = STRATA[int(np.searchsorted(shares, (index + 0.5) / cases))]
        names.append(f"{dimensions}DBox_{modality}_{index:05d}")
        strata.append((modality, dimensions))
    order = sorted(range(cases), key=lambda index: names[index])
    return [names[index] for index in order], [strata[index] for index in order]


def _write_team(
    run: Path,
    team: str,
    names: list[str],
    strata: list[tuple[str, int]],
    dsc: np.ndarray,
    nsd: np.ndarray,
    seconds: np.ndarray,
    failed: np.ndarray,
    rng: np.random.Generator,
) -> None:
    places = TeamFolder(run / team)
    places.create()
    protocol = Protocol(user="1000:1000")
    write_json(
        places.description,
        {"team": team, "protocol": asdict(protocol), "host": HOST, "runner": "docker"},
    )
    rows, records = [], []
    for index, case in enumerate(names):
        status = FAILURES[rng.integers(len(FAILURES))] if failed[index] else Status.OK
        row = _row(team, case, strata[index], status, dsc[index], nsd[index], seconds[index])
        rows.append(row)
        records.append(json.dumps(asdict(_record(row, protocol.digest)), sort_keys=True))
    write_table(run / team / "scores.csv", ScoreRow, rows)
    places.records.write_text("\n".join(records) + "\n", encoding="utf-8")


def _row(
    team: str, case: str, stratum: tuple[str, int], status: Status, dsc: float, nsd: float, s: float
) -> ScoreRow:
    ok = status is Status.OK
    volume = stratum[1] == 3
    dsc, nsd = (float(dsc), float(nsd)) if ok else (0.0, 0.0)
    official = round(nsd + (0.05 if volume else 0.2) * (1 - nsd), 4) if dsc > 0.2 else 0.0
    return ScoreRow(
        team=team, case=case, modality=stratum[0], dimensions=stratum[1], status=str(status),
        reason="" if ok else f"{status} made up", wall_s=round(float(s), 3), dsc=dsc, nsd=nsd,
        dsc_official=round(dsc, 4), nsd_official=official, official_remark="",
        dsc_difference=round(dsc, 4) - dsc, nsd_difference=official - nsd, labels=1,
        false_positive_labels=0, false_positive_voxels=0, instance_f1=float(dsc > 0.5),
        instance_dsc=dsc, instance_matches=int(dsc > 0.5), tolerance=2.0,
        spacing_mm="5 0.8 0.8" if volume else "1 1",
        spacing_origin="truth" if volume else "pixels",
    )  # fmt: skip


def _record(row: ScoreRow, digest: str) -> CaseRecord:
    return CaseRecord(
        case=row.case, modality=row.modality, dimensions=row.dimensions or 2,
        status=Status(row.status), reason=row.reason, exit_code=0 if row.status == "ok" else 1,
        oom_killed=False, wall_s=row.wall_s, started_at="2024-01-01T00:00:00+00:00",
        runner="docker", submission=f"sha256:{row.team}", case_sha256="0", protocol_sha256=digest,
        host=str(HOST["name"]), hardware=HARDWARE,
    )  # fmt: skip


def time_ranking(run: Path) -> None:
    """Rank a run folder in this process and print seconds and peak memory."""
    start = time.perf_counter()
    ranking = rank_runs([run], groups=run / "groups.csv")
    took_s = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("| teams | cases | bootstraps | schemes | seconds | peak MiB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    board = ranking.boards[0]
    print(
        f"| {len(ranking.teams)} | {board.cases} | {ranking.rules['bootstraps']} "
        f"| {len(board.schemes)} | {took_s:.1f} | {peak_mib:.0f} |"
    )


def main() -> None:
    """Make or time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("make", "time"))
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--teams", type=int, default=25)
    parser.add_argument("--cases", type=int, default=4400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "make":
        if args.run is None:
            parser.error("make needs RUN")
        make_run(args.run, args.teams, args.cases, args.seed)
    elif args.run is not None:
        time_ranking(args.run)
    else:
        with tempfile.TemporaryDirectory() as folder:
            sizes = ["--teams", str(args.teams), "--cases", str(args.cases)]
            line = [sys.executable, __file__, "make", folder, *sizes, "--seed", str(args.seed)]
            subprocess.run(line, check=True)
            time_ranking(Path(folder))


if __name__ == "__main__":
    main()
