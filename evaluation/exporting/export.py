"""The command `export`: results as Codabench, Grand Challenge and challengeR take them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from evaluation.errors import UsageError
from evaluation.exporting import challenger, codabench, grand_challenge
from evaluation.ranking.rank import common_rules, read_scores
from evaluation.ranking.score_matrix import build_matrix
from evaluation.ranking.team_facts import read_facts
from evaluation.scoring.score_tables import replace_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `export`."""
    parser.add_argument(
        "format", choices=sorted(FORMATS), metavar="FORMAT", help=", ".join(sorted(FORMATS))
    )
    parser.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN", help="run folders, scored (not for a bundle)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    bundle = parser.add_argument_group("codabench-bundle")
    bundle.add_argument(
        "--truth", type=Path, metavar="DIR", help="folder of <case>.npz with gts; goes in it"
    )
    bundle.add_argument(
        "--title", default="Segmentation", metavar="TEXT", help="of the competition"
    )
    bundle.add_argument("--start", metavar="TIME", help="of its phase, YYYY-MM-DD HH:MM:SS, UTC")
    bundle.add_argument(
        "--docker-image",
        metavar="IMAGE",
        help="that scores, as the worker pulls it; scoring_image/ in the bundle makes one",
    )
    table = parser.add_argument_group("challenger")
    table.add_argument(
        "--task", choices=challenger.TASKS, default="all", help="what challengeR takes as a task"
    )


def execute(args: argparse.Namespace) -> int:
    """Write one format and say where it is."""
    is_bundle = args.format == "codabench-bundle"
    if is_bundle == bool(args.runs):
        expected, found = ("no RUN", "one") if is_bundle else ("RUN", "none")
        raise UsageError(f"{args.format}: expected {expected}, found {found}")
    FORMATS[args.format](args)
    print(f"export: {args.out}")
    return 0


def _codabench(args: argparse.Namespace) -> None:
    scores, folders = read_scores(args.runs)
    for team, rows in scores.items():
        failure = read_facts(folders[team]).failure
        codabench.write_results(args.out / team, rows, failure)


def _codabench_bundle(args: argparse.Namespace) -> None:
    from evaluation.exporting.codabench_bundle import write_bundle  # Pillow, for the logo alone

    missing = [name for name in ("truth", "start", "docker_image") if getattr(args, name) is None]
    if missing:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise UsageError(f"codabench-bundle: expected {flags}, found none")
    write_bundle(
        args.out,
        args.truth,
        title=args.title,
        start=args.start,
        docker_image=args.docker_image,
    )


def _grand_challenge(args: argparse.Namespace) -> None:
    scores, folders = read_scores(args.runs)
    facts = {team: read_facts(folder) for team, folder in folders.items()}
    for team, rows in scores.items():
        grand_challenge.write_metrics(args.out / team, rows, facts[team].failure)
    settings = grand_challenge.phase_settings(common_rules(facts).weights)
    written = json.dumps(settings, indent=1)
    replace_file(args.out / grand_challenge.SETTINGS_FILE, f"{written}\n")


def _challenger(args: argparse.Namespace) -> None:
    scores, folders = read_scores(args.runs)
    facts = {team: read_facts(folder) for team, folder in folders.items()}
    rules = common_rules(facts)
    matrix = build_matrix(
        scores,
        {team: fact.failure for team, fact in facts.items()},
        hardware={team: fact.hardware for team, fact in facts.items()},
    )
    challenger.write_tables(args.out, matrix, args.task, rules.bootstraps, rules.seed, rules.alpha)


FORMATS: dict[str, Callable[[argparse.Namespace], None]] = {
    "challenger": _challenger,
    "codabench": _codabench,
    "codabench-bundle": _codabench_bundle,
    "grand-challenge": _grand_challenge,
}
"""Name of a format -> what writes it."""
