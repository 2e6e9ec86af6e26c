"""``all``: run, score, rank and report in one command, each exactly as its own command does it."""

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

from evaluation.running import run

LATER_STAGES = ("evaluation.scoring.scores", "evaluation.ranking.rank", "evaluation.report.report")
"""Modules of the stages after ``run``, in order; each has ``add_arguments`` and ``execute``."""

RUN_ALONE = "out"
"""Argument that names the run folder for ``run``; later stages keep their own default for it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run`` and the options of the later stages; same names are shared."""
    run.add_arguments(parser)
    taken = {option for action in parser._actions for option in action.option_strings}
    for stage in LATER_STAGES:
        for action in _arguments(stage):
            if action.option_strings and taken.isdisjoint(action.option_strings):
                parser._add_action(action)
                taken.update(action.option_strings)


def execute(args: argparse.Namespace) -> int:
    """Do the four stages on one run folder and return the worst exit code.

    Nothing is scored after a run that the harness could not finish: it would look like the teams'
    doing.
    """
    worst = run.execute(args)
    if worst != 0:
        return worst
    for stage in LATER_STAGES:
        worst = max(
            worst, int(importlib.import_module(stage).execute(stage_arguments(stage, args)))
        )
    return worst


def stage_arguments(stage: str, args: argparse.Namespace) -> argparse.Namespace:
    """Return what a later stage's own parser would have made of the same words.

    Its run folder, or list of run folders, is the one that ``run`` wrote.
    """
    folder: Path = args.out
    values = {}
    for action in _arguments(stage):
        if not action.option_strings:
            values[action.dest] = [folder] if action.nargs in ("+", "*") else folder
        elif action.dest == RUN_ALONE:
            values[action.dest] = action.default
        else:
            values[action.dest] = getattr(args, action.dest)
    return argparse.Namespace(**values)


def _arguments(stage: str) -> Iterator[argparse.Action]:
    """Yield the arguments that a stage declares, its help apart."""
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(stage).add_arguments(parser)
    yield from parser._actions
