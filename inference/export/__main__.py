"""Turn a published checkpoint into a model bundle that python -m inference --model runs.

ARCH        architecture, one of those below; daft and daft-2024 take a folder of checkpoints
--checkpoint  .pth, .pt, .ckpt or .safetensors, with or without the usual wrappers

exit status: 0 the bundle is there, its graphs checked; 2 it is not
"""

import argparse
import logging
import sys
from pathlib import Path

from inference.errors import InferenceError


def make_parser(names: list[str]) -> argparse.ArgumentParser:
    """The command line for architectures ``names``."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("architecture", metavar="ARCH", choices=names, help=", ".join(names))
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", required=True)
    parser.add_argument("--out", type=Path, metavar="BUNDLE", required=True)
    parser.add_argument(
        "--fidelity", choices=("corrected", "published"), default="corrected",
        help="what the bundle does unless the command line that runs it says otherwise"
        " (default: %(default)s)",
    )  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        from inference.export.architectures import ARCHITECTURES
        from inference.export.bundles import export_bundle
    except ImportError as error:
        print(f"error: expected requirements-export.txt, found: {error}", file=sys.stderr)
        return 2
    args = make_parser(list(ARCHITECTURES)).parse_args(argv)
    try:
        export_bundle(args.architecture, args.checkpoint, args.out, args.fidelity)
    except InferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
