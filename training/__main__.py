"""``python -m training prepare | finetune | export | validate``: from labelled cases to a
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
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.step == "prepare":
        from data_splits.split import read_split
        from training.store import write_store

        folders = {"packed": args.packed, "packed_train": args.packed_train}
        cases = [
            (c, folders[c.pool] / c.file) for c in read_split(args.split) if c.split != "unused"
        ]
        print(f"{write_store(cases, args.store)} cases in {args.store}")
    elif args.step == "finetune":
        from training.finetune import FinetuneConfig, finetune, shortened

        print(
            finetune(args.store, args.run, shortened(FinetuneConfig(), args.steps), args.warm_start)
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
