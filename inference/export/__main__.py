"""Turn a published checkpoint into a model bundle that python -m inference --model runs.

ARCH        architecture, one of those below; daft and daft-2024 take a folder of checkpoints
--checkpoint  .pth, .pt, .ckpt or .safetensors, with or without the usual wrappers

python -m inference.export wrap ARCH ...  does it with ready-made ONNX or OpenVINO files, without
torch; see wrap --help

exit status: 0 the bundle is there, its graphs checked; 2 it is not
"""

import argparse
import logging
import sys
from pathlib import Path

from inference.errors import InferenceError
from inference.export.systems import SYSTEMS

WRAP = """Wrap ready-made graphs of a team (ONNX or OpenVINO IR) into a model bundle; torch is not
needed.  One model: --encoder and --decoder, and where the decoder is a mask decoder alone (DAFT)
--prompt-encoder and --positions.  daft and daft-2024: --folder with EXPERT_image_encoder.xml,
EXPERT_mask_decoder.xml, the prompt encoder and positional_encoding.npy, as their scripts write it.
"""


def make_parser(names: list[str]) -> argparse.ArgumentParser:
    """The command line for architectures ``names``."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("architecture", metavar="ARCH", choices=names, help=", ".join(names))
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", required=True)
    parser.add_argument(
        "--scribbles", action="store_true", help="also answer scribbles (key scribbles, no boxes)"
    )
    return _with_target(parser)


def make_wrap_parser(names: list[str]) -> argparse.ArgumentParser:
    """The command line of ``wrap``."""
    parser = argparse.ArgumentParser(prog="python -m inference.export wrap", description=WRAP)
    parser.add_argument("architecture", metavar="ARCH", choices=names, help=", ".join(names))
    parser.add_argument("--encoder", type=Path, metavar="FILE")
    parser.add_argument("--decoder", type=Path, metavar="FILE")
    parser.add_argument("--prompt-encoder", type=Path, metavar="FILE")
    parser.add_argument("--positions", type=Path, metavar="NPY", help="positional_encoding.npy")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="the graphs of all experts")
    return _with_target(parser)


def _with_target(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
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
    words = sys.argv[1:] if argv is None else argv
    try:
        if words[:1] == ["wrap"]:
            wrap(words[1:])
        else:
            export(words)
    except ImportError as error:
        print(f"error: expected requirements-export.txt, found: {error}", file=sys.stderr)
        return 2
    except InferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def export(words: list[str]) -> None:
    """A checkpoint into a bundle."""
    args = make_parser(list(SYSTEMS)).parse_args(words)
    from inference.export.bundles import export_bundle

    export_bundle(args.architecture, args.checkpoint, args.out, args.fidelity, args.scribbles)


def wrap(words: list[str]) -> None:
    """Ready-made graphs into a bundle."""
    parser = make_wrap_parser(list(SYSTEMS))
    args = parser.parse_args(words)
    single = [args.encoder, args.decoder, args.prompt_encoder, args.positions]
    from inference.export.ready_made import GraphFiles
    from inference.export.wrapping import wrap_bundle

    if args.folder is not None and not any(single):
        source: GraphFiles | Path = args.folder
    elif args.folder is None and args.encoder and args.decoder:
        source = GraphFiles(args.encoder, args.decoder, args.prompt_encoder, args.positions)
    else:
        parser.error("expected --encoder and --decoder, or --folder alone")
    wrap_bundle(args.architecture, source, args.out, args.fidelity)


if __name__ == "__main__":
    sys.exit(main())
