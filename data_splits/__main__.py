"""``python -m data_splits split DATA_DIR --out FILE``: write the split of the labelled cases."""

import argparse
from collections import Counter
from pathlib import Path

from data_splits.split import split_cases, write_split

DEFAULT_SPLIT = Path(__file__).parent / "default.csv"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when the split was written."""
    parser = argparse.ArgumentParser(prog="python -m data_splits", description=__doc__)
    commands = parser.add_subparsers(required=True)
    split = commands.add_parser("split", help="divide the cases of DATA_DIR/manifest*.csv by group")
    split.add_argument(
        "data_dir", type=Path, metavar="DATA_DIR", help="folder with manifest.csv and packed cases"
    )
    split.add_argument(
        "--out", type=Path, default=DEFAULT_SPLIT, help="split file to write (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    cases = split_cases(args.data_dir)
    write_split(cases, args.out)
    counts = Counter((c.dims, c.modality, c.split) for c in cases)
    for (dims, modality, name), count in sorted(counts.items()):
        print(f"{dims} {modality:12s} {name:6s} {count:5d}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
