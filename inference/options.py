"""Segment every npz case of a folder: one mask npz of the same name for each.

input:   imgs, (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (D, H, W), any real numbers;
         boxes, both ends inclusive, (N, 4) x_min, y_min, x_max, y_max
         or (N, 6) x_min, y_min, z_min, x_max, y_max, z_max
output:  segs, label i for box i; where two masks meet, the model that ships gives a pixel to the
         object inside the other, else to the surer mask, in volumes to the smaller box; the
         published models give it to the later box

NIfTI volumes and PNG pictures are cases, too, where a boxes file lies beside them (formats.py), and
are answered in their own format.

A case that cannot be read is refused with one line; the others are still done.

exit status: 0 every case done; 1 some case refused; 2 wrong call, bundle or engine
"""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from inference.bundle import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from argparse import ArgumentParser


def defaults() -> dict[str, Any]:
    """Every option as it is where the command line does not say it."""
    return {
        "input": None,
        "output": None,
        "model": os.environ.get("MEDSAM_BUNDLE") or DEFAULT_BUNDLE,
        "engine": "openvino",
        "precision": "auto",
        "fidelity": None,
        "threads": 0,
        "cache": os.environ.get("MEDSAM_CACHE") or None,
        "compile_only": False,
        "profile": None,
        "verbose": False,
    }


def options(argv: list[str]) -> Any:
    """The options of a command line; an empty one is not worth the import of argparse (8 ms)."""
    return make_parser().parse_args(argv) if argv else SimpleNamespace(**defaults())


def make_parser() -> "ArgumentParser":
    """The command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m inference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folders = parser.add_argument_group("folders")
    folders.add_argument(
        "-i", "--input", type=Path, metavar="DIR",
        help="npz cases (default: /inputs if that folder exists, else ./inputs)",
    )  # fmt: skip
    folders.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="where the masks go (default: /outputs if that folder exists, else ./outputs)",
    )  # fmt: skip
    model = parser.add_argument_group("model and engine")
    model.add_argument(
        "--model", type=Path, metavar="BUNDLE",
        help="folder with bundle.json (default: $MEDSAM_BUNDLE, else the bundle that ships)",
    )  # fmt: skip
    model.add_argument(
        "--engine", choices=("openvino", "onnxruntime"),
        help="default: %(default)s",
    )  # fmt: skip
    model.add_argument(
        "--precision", choices=("auto", "f32", "bf16"),
        help="arithmetic; bf16 is for openvino on a processor that has it; auto: bf16 where the"
        " processor is fast in it and the bundle's record says that it costs next to nothing,"
        " else f32 (default: %(default)s)",
    )  # fmt: skip
    model.add_argument(
        "--fidelity", choices=("corrected", "published"),
        help="published: as the model's team released it, known defects included"
        " (default: as the bundle says, else corrected)",
    )  # fmt: skip
    model.add_argument(
        "--threads", type=int, metavar="N",
        help="default: as many as the container or process may use",
    )  # fmt: skip
    model.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="keep compiled graphs here; one that does not fit this processor or cannot be read"
        " is compiled anew (default: $MEDSAM_CACHE, else nowhere)",
    )  # fmt: skip
    parser.add_argument(
        "--compile-only", action="store_true",
        help="check the bundle, compile its graphs into the cache and exit",
    )  # fmt: skip
    parser.add_argument(
        "--profile", type=Path, metavar="FILE",
        help="write where the time went to FILE, a trace for chrome://tracing or"
        " ui.perfetto.dev, and print the table on stderr",
    )  # fmt: skip
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="tell each case's time and what is compiled"
    )
    parser.set_defaults(**defaults())
    return parser
