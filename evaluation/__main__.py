"""Command line of the harness: ``python -m evaluation COMMAND``."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from evaluation import __version__
from evaluation.errors import EvaluationError

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("evaluation.running.run", "run every team on every case, one fresh container a case"),
    "score": ("evaluation.scoring.scores", "score the masks of a run against the truth"),
    "curves": ("evaluation.scoring.curves", "NSD at many tolerances, for the report"),
    "rank": ("evaluation.ranking.rank", "turn the scores of one or more runs into a leaderboard"),
    "report": (
        "evaluation.report.report",
        "write one self-contained HTML page from stored results",
    ),
    "compare": ("evaluation.comparing.compare", "what a change brought: two results, paired"),
    "reproduce": (
        "evaluation.comparing.reproduce",
        "whether a result was reproduced: masks, agreement, equivalence at a margin",
    ),
    "verify": (
        "evaluation.comparing.verify",
        "whether every cell of a leaderboard follows from the records",
    ),
    "export": (
        "evaluation.exporting.export",
        "write results as Codabench, Grand Challenge or challengeR take them",
    ),
    "check": (
        "evaluation.checking.check",
        "what a participant runs before submitting: a page of verdicts",
    ),
    "selftest": (
        "evaluation.checking.selftest",
        "score submissions whose scores are known beforehand",
    ),
    "all": ("evaluation.pipeline", "run, score, rank and report, one after the other"),
}
"""Sub-command -> the module with its ``add_arguments`` and ``execute``, and its line in the help.

Only the chosen command's module is imported: ``report`` needs no Docker, ``run`` no plotting.
"""

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as a shell reports SIGINT."""


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but not those that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, "", []) or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser; only the sub-command ``chosen`` has its arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Run containers on cases, score their masks, rank them, report.",
    )
    parser.add_argument("--version", action="version", version=f"medsam-laptop {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module_name, line) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=line,
            description=line[0].upper() + line[1:] + ".",
            formatter_class=_HelpFormatter,
        )
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(execute=module.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code; expected errors become one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    args = build_parser(chosen).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return int(args.execute(args))
    except EvaluationError as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{args.command}: interrupted; the same command resumes", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
