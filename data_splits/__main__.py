"""Prepare a benchmark: a scanner's files to cases and back, prompts, splits, checks.

convert      images with labels -> cases/ and truth/ (npz of the challenge)
restore      masks -> NIfTI, NRRD, DICOM SEG or PNG on the grid of the source
boxes        prompts from truth: tight, loosened, jittered, per slice
split        which cases to train on, validate on, test on, by group, or k folds
check-split  what a split lets slip from one side to another
check        every trap in a folder of cases, truth or masks, with its fix
show         a contact sheet with boxes, truth and masks
"""

import argparse
import importlib
import sys
import warnings

from data_splits.errors import DataError, one_line

COMMANDS = {
    "convert": ("conversion", "images with labels -> cases and truth"),
    "restore": ("restore", "masks -> files on the grid of the source"),
    "boxes": ("prompts", "prompts from truth"),
    "split": ("split", "which cases to train on, validate on, test on; k folds"),
    "check-split": ("leaks", "what a split lets slip from one side to another"),
    "check": ("check", "every trap in a folder of cases, truth or masks"),
    "show": ("show", "a contact sheet with boxes, truth and masks"),
}
"""Module that does it and one line of help; only the module of the command called is imported, for
the readers take seconds."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 some case refused or some check failed, 2 wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m data_splits",
        description=(__doc__ or "").partition("\n")[0],
        epilog="COMMAND --help tells its options; docs/data_splits.md tells the rules.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    called = (sys.argv[1:] if argv is None else argv)[:1]
    for name, (module_name, help_line) in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_line, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if called == [name]:
            module = importlib.import_module(f"data_splits.{module_name}")
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(execute=module.execute)
    args = parser.parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status: int = args.execute(args)
            return status
    except DataError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
