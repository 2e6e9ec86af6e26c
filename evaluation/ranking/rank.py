"""The command `rank`: the scores of one or more runs into one leaderboard.

Writes rank.json (everything), leaderboard.csv and leaderboard.md and prints the same as text.
Nothing in them depends on when or where the command ran: the same scores always give the same
bytes. docs/ranking.md says what the numbers mean.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.dataset import digest_of
from evaluation.errors import RankError
from evaluation.ranking.bootstrap import remark_on_strata
from evaluation.ranking.groups import read_groups
from evaluation.ranking.leaderboard import build_boards
from evaluation.ranking.results import METRICS, RANK_FILE, Ranking, as_json
from evaluation.ranking.score_matrix import (
    ScoreMatrix,
    build_matrix,
    official_matrix,
    unscored_cases,
)
from evaluation.ranking.tables import as_csv, as_markdown, as_text
from evaluation.ranking.team_facts import TeamFacts, read_facts
from evaluation.running.protocol_options import read_protocol
from evaluation.running.ranking_rules import RankingRules
from evaluation.scoring.score_tables import ScoreRow, replace_file, scored_teams

logger = logging.getLogger(__name__)

LEADERBOARD_CSV = "leaderboard.csv"
LEADERBOARD_MD = "leaderboard.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rank`."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run folder, scored by score"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder for {RANK_FILE} and leaderboard.* (default: the first RUN)",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        metavar="CSV",
        help="patient group of each case: columns group and case (or file)",
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME_OR_FILE",
        help="rank by the [ranking] table of this protocol (default: that of the runs)",
    )


def execute(args: argparse.Namespace) -> int:
    """Rank the teams, write the three files and print the boards."""
    rules = None
    if args.protocol is not None:
        rules = read_protocol(args.protocol).get("ranking", RankingRules())
    ranking = write_ranking(args.runs, out=args.out, groups=args.groups, rules=rules)
    for warning in ranking.warnings:
        logger.warning("rank: %s", warning)
    print(as_text(dataclasses.replace(ranking, warnings=())))
    return 0


def write_ranking(
    runs: Sequence[Path],
    *,
    out: Path | None = None,
    groups: Path | None = None,
    rules: RankingRules | None = None,
) -> Ranking:
    """Write the ranking of all teams of some runs and return it."""
    ranking = rank_runs(runs, groups=groups, rules=rules)
    folder = runs[0] if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / RANK_FILE, as_json(ranking))
    replace_file(folder / LEADERBOARD_CSV, as_csv(ranking))
    replace_file(folder / LEADERBOARD_MD, as_markdown(ranking))
    return ranking


def rank_runs(
    runs: Sequence[Path], *, groups: Path | None = None, rules: RankingRules | None = None
) -> Ranking:
    """Rank all teams of some runs, by the rules of their protocol unless others are given."""
    scores, folders = read_scores(runs)
    facts = {team: read_facts(folder) for team, folder in folders.items()}
    chosen = rules or common_rules(facts)
    known_groups = {} if groups is None else read_groups(groups)
    matrix = build_matrix(
        scores,
        {team: fact.failure for team, fact in facts.items()},
        known_groups,
        {team: fact.hardware for team, fact in facts.items()},
    )
    grouped = sum(case in known_groups for case in matrix.cases)
    if groups is not None and not grouped:
        raise RankError(f"{groups}: expected groups of these cases, found none of them")
    inputs = {team: fact.scores_sha256 for team, fact in facts.items()}
    if groups is not None:
        inputs["groups"] = digest_of(groups)
    return Ranking(
        rules=_stored_rules(chosen, facts),
        metrics=METRICS,
        teams=matrix.teams,
        nsd_tolerance=tuple(sorted({row.tolerance for rows in scores.values() for row in rows})),
        unscored_cases=unscored_cases(scores),
        grouped_cases=grouped,
        hardware=_hardware(facts),
        warnings=tuple(_warnings(matrix, facts, scores)),
        inputs=inputs,
        boards=build_boards(matrix, official_matrix(matrix, scores), chosen),
    )


def read_scores(runs: Sequence[Path]) -> tuple[dict[str, list[ScoreRow]], dict[str, Path]]:
    """Read scores and folders of all teams of some runs, by name; a team is in one run only."""
    folders: dict[str, Path] = {}
    scores: dict[str, list[ScoreRow]] = {}
    for run in runs:
        for team, rows in scored_teams(run).items():
            if team in folders:
                raise RankError(
                    f"{team}: expected in one run, found in {folders[team].parent} and {run}"
                )
            folders[team] = run / team
            scores[team] = rows
    return dict(sorted(scores.items())), dict(sorted(folders.items()))


def common_rules(facts: Mapping[str, TeamFacts]) -> RankingRules:
    """Return the rules that all teams were run under; the usual ones where none are stored."""
    stated = [(team, fact.rules) for team, fact in sorted(facts.items()) if fact.rules is not None]
    for team, rules in stated:
        if rules != stated[0][1]:
            raise RankError(
                f"expected one [ranking] table, found those of {stated[0][0]} and {team} to "
                "differ; choose one by --protocol"
            )
    return stated[0][1] if stated else RankingRules()


def _stored_rules(rules: RankingRules, facts: Mapping[str, TeamFacts]) -> dict[str, Any]:
    failure = next(iter(sorted(facts.items())))[1].failure
    return {**dataclasses.asdict(rules), "failure": dataclasses.asdict(failure)}


def _hardware(facts: Mapping[str, TeamFacts]) -> dict[str, tuple[str, ...]]:
    return {
        team: tuple(sorted({key for key in fact.hardware.values() if key}))
        for team, fact in facts.items()
    }


def _warnings(
    matrix: ScoreMatrix, facts: Mapping[str, TeamFacts], scores: Mapping[str, Sequence[ScoreRow]]
) -> list[str]:
    """Say what a reader of the boards must know."""
    found = [
        f"{case} has no truth and is left out for every team" for case in unscored_cases(scores)
    ]
    untimed = int((matrix.measured.any(axis=0) & ~matrix.timed).sum())
    if untimed:
        found.append(
            f"seconds of {untimed} of {len(matrix.cases)} cases are not compared: "
            "they were not taken on equal, known hardware for every team"
        )
    elif not any(_hardware(facts).values()):
        found.append("the hardware of no case is recorded: seconds are compared all the same")
    if remark := remark_on_strata(matrix):
        found.append(remark)
    tolerances = sorted({row.tolerance for rows in scores.values() for row in rows})
    if len(tolerances) > 1:
        shown = ", ".join(f"{tolerance:g}" for tolerance in tolerances)
        found.append(f"the NSD of these teams has different tolerances: {shown}")
    protocols = sorted({fact.protocol for fact in facts.values()})
    if len(protocols) > 1:
        shown = ", ".join(name or "none" for name in protocols)
        found.append(f"these teams were run under different protocols: {shown}")
    if len({fact.failure for fact in facts.values()}) > 1:
        found.append("these teams' failures count as different values")
    return found
