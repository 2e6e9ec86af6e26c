"""``python -m training prepare | finetune | export | validate | sources``: from labelled cases to a
bundle."""

import argparse
import logging
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one step of the pipeline; 0 when it finished."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    steps = parser.add_subparsers(required=True, dest="step")
    prepare = steps.add_parser("prepare", help="npz cases of a split into a store")
    prepare.add_argument(
        "--split", type=Path, required=True, help="csv written by python -m data_splits split"
    )
    prepare.add_argument(
        "--packed", type=Path, required=True, help="folder of the unpacked pool 'packed'"
    )
    prepare.add_argument(
        "--packed-train", type=Path, required=True, help="folder of the pool 'packed_train'"
    )
    prepare.add_argument("--store", type=Path, required=True)
    tune = steps.add_parser("finetune", help="train on masks; goes on where it stopped")
    tune.add_argument("--store", type=Path, required=True)
    tune.add_argument("--run", type=Path, required=True, help="folder of the run")
    tune.add_argument("--warm-start", type=Path, help="batch-norm-folded MobileNetV2 npz")
    tune.add_argument("--steps", type=int, help="optimiser steps (default: the config's)")
    export = steps.add_parser("export", help="a run's averaged weights into a bundle")
    export.add_argument("--run", type=Path, required=True, help="folder of the run")
    export.add_argument("--split", type=Path, required=True, help="the split it was trained on")
    export.add_argument("--bundle", type=Path, required=True, help="folder to write")
    sources = steps.add_parser("sources", help="what a bundle was trained on, as a table")
    sources.add_argument("--bundle", type=Path, required=True)
    check = steps.add_parser("validate", help="accuracy of a bundle, beside the inscribed ellipse")
    check.add_argument("--store", type=Path, required=True)
    check.add_argument("--bundle", type=Path, required=True)
    check.add_argument("--on", choices=("val", "test"), default="val", help="default: %(default)s")
    check.add_argument("--dims", nargs="+", default=["2D", "3D"], help="default: 2D 3D")
    check.add_argument(
        "--loosen", type=float, default=0.0, metavar="SHARE",
        help="move box sides outward by up to this share of the image side (default: tight)",
    )  # fmt: skip
    check.add_argument("--seed", type=int, default=0, help="of the loosening")
    check.add_argument("--csv", type=Path, help="write one line a case")
    check.add_argument("--record", action="store_true", help="write the means into bundle.json")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run = {
        "prepare": prepare_store,
        "finetune": run_finetune,
        "export": run_export,
        "sources": print_sources,
        "validate": run_validate,
    }[args.step]
    return run(args)


def prepare_store(args: argparse.Namespace) -> int:
    """Cases of the split into the store."""
    from data_splits.split import read_split
    from training.store import write_store

    folders = {"packed": args.packed, "packed_train": args.packed_train}
    cases = [(c, folders[c.pool] / c.file) for c in read_split(args.split) if c.split != "unused"]
    print(f"{write_store(cases, args.store)} cases in {args.store}")
    return 0


def run_finetune(args: argparse.Namespace) -> int:
    """Train, or go on."""
    from training.finetune import FinetuneConfig, finetune, shortened

    config = shortened(FinetuneConfig(), args.steps)
    print(finetune(args.store, args.run, config, args.warm_start))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Checkpoint to bundle."""
    from training.export import export_bundle

    export_bundle(args.run, args.bundle, args.split)
    print(args.bundle)
    return 0


def print_sources(args: argparse.Namespace) -> int:
    """Print the table of sources."""
    from training.export import sources_table

    print(sources_table(args.bundle))
    return 0


def run_validate(args: argparse.Namespace) -> int:
    """Print the accuracy table."""
    import numpy as np

    import inference
    from training.export import record_accuracy
    from training.store import read_store
    from training.validate import (
        accuracy_summary,
        accuracy_table,
        loosened,
        validate,
        write_accuracy,
    )

    cases = [c for c in read_store(args.store, args.on) if c.info.dims in args.dims]
    boxes = loosened(np.random.default_rng(args.seed), args.loosen) if args.loosen else None
    rows = validate(inference.load(args.bundle), cases, boxes)
    if args.csv:
        write_accuracy(rows, args.csv)
    if args.record:
        record_accuracy(args.bundle, {"split": args.on, "boxes": "tight", **accuracy_summary(rows)})
    print(accuracy_table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
