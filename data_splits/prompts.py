"""``boxes``: prompts from truth label maps, for cases that have none or for robustness studies.

With several seeds each gets a folder of its own. As npz the cases are copied with the new boxes; as
csv or json the boxes alone are written, named and counted as in the npz cases, which need not lie
as the scanner's file does.
"""

import argparse
import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_splits.boxes import Boxes, BoxRule, prompt_boxes, slice_boxes
from data_splits.casefile import read_npz, write_npz
from data_splits.errors import DataError, SourceError, UsageError, one_line

COLUMNS_3D = ("x_min", "y_min", "z_min", "x_max", "y_max", "z_max")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes``."""
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="folder of npz with gts")
    parser.add_argument("--cases", type=Path, help="folder of the cases, for --to npz")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--to", choices=("npz", "csv", "json"), default="npz")
    parser.add_argument("--loosen-px", type=float, default=0.0, help="every side outwards")
    parser.add_argument("--loosen-percent", type=float, default=0.0, help="of the box's extent")
    parser.add_argument("--loosen-slices", type=int, default=0, help="first and last slice")
    parser.add_argument("--jitter-px", type=float, default=0.0, help="each side outwards, 0 to N")
    parser.add_argument("--jitter-both-px", type=float, default=0.0, help="each side, in or out")
    parser.add_argument(
        "--jitter-per-256", action="store_true",
        help="jitter counts pixels of a 256-pixel image, as in the challenge's training",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument(
        "--per-slice", action="store_true", help="a box in each slice of a volume (csv or json)"
    )


def execute(args: argparse.Namespace) -> int:
    """Write boxes for every truth; 1 when some was refused."""
    paths = sorted(p for p in args.truth.glob("*.npz") if not p.name.startswith("."))
    if not paths:
        raise UsageError(f"{args.truth}: expected truth (*.npz), found none")
    if args.to == "npz" and (args.cases is None or args.per_slice):
        raise UsageError("--to npz: expected --cases and no --per-slice (a case has one box each)")
    try:
        rule = BoxRule(
            args.loosen_px, args.loosen_percent, args.jitter_px, args.jitter_both_px,
            args.loosen_slices, args.jitter_per_256,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error
    bad = 0
    for seed in args.seeds:
        out = args.out / f"seed-{seed}" if len(args.seeds) > 1 else args.out
        out.mkdir(parents=True, exist_ok=True)
        listed: list[tuple[str, Boxes, Boxes | None]] = []
        for path in tqdm(paths, desc=f"seed {seed}", disable=not sys.stderr.isatty()):
            try:
                labels = _labels(path)
                if args.per_slice and labels.ndim == 3:
                    where, boxes = slice_boxes(labels)
                    listed.append((path.name, boxes, where))
                    continue
                boxes = prompt_boxes(labels, rule, generator_of(path.stem, seed))
                if args.to == "npz":
                    write_case(args.cases / path.name, boxes, out / path.name)
                listed.append((path.name, boxes, None))
            except DataError as error:
                bad += 1
                tqdm.write(f"refused: {path.name}: {one_line(error)}", file=sys.stderr)
        if args.to != "npz":
            write_list(out / f"boxes.{args.to}", listed)
    print(f"boxes of {len(paths)} cases, {len(args.seeds)} seed(s), written to {args.out}")
    return 1 if bad else 0


def generator_of(name: str, seed: int) -> np.random.Generator:
    """Randomness of one case: the same whatever else is in the folder."""
    return np.random.default_rng([seed, *name.encode()])


def write_case(case: Path, boxes: Boxes, target: Path) -> None:
    """Copy a case with other boxes."""
    arrays = read_npz(case)
    if "imgs" not in arrays:
        raise SourceError(f"{case.name}: expected key imgs, found {', '.join(arrays) or 'none'}")
    write_npz(target, arrays | {"boxes": boxes})


def write_list(path: Path, listed: list[tuple[str, Boxes, Boxes | None]]) -> None:
    """boxes.csv (a row a box: file, box; per slice also label and slice) or boxes.json
    (file -> rows)."""
    if path.suffix == ".json":
        text = json.dumps({name: boxes.tolist() for name, boxes, _ in listed}, indent=1)
    else:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "label", "slice", *COLUMNS_3D))
        for name, boxes, where in listed:
            for index, box in enumerate(boxes.tolist()):
                label, depth = (index + 1, "") if where is None else where[index].tolist()
                full = box if len(box) == 6 else [*box[:2], "", *box[2:], ""]
                writer.writerow((name, label, depth, *full))
        text = stream.getvalue()
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def _labels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]]:
    arrays = read_npz(path)
    if "gts" not in arrays:
        raise SourceError(f"expected key gts, found {', '.join(arrays) or 'none'}")
    labels = arrays["gts"]
    if labels.dtype.kind not in "biu" or labels.ndim not in (2, 3):
        raise SourceError(f"gts: expected whole labels, found {labels.dtype} {labels.shape}")
    return labels
