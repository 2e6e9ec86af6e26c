"""``check-split``: what a split lets slip from training into testing.

- a group on two sides, the same digest twice across sides, one file listed twice;
- pictures that look the same on two sides (``picture_hash.py``), where --cases gives them;
- files that are missing or are no longer what the split recorded.
"""

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data_splits.casefile import read_npz
from data_splits.errors import DataError, SourceError, UsageError, one_line
from data_splits.picture_hash import LEAST_CORRELATION, Fingerprint, fingerprint, near_duplicates
from data_splits.split import SplitCase, read_split

APART = ("unused", "")
"""Values of ``split`` that are no side."""


@dataclass(frozen=True)
class Leak:
    """One finding."""

    kind: str
    """``group``, ``digest``, ``listed twice``, ``looks the same`` or ``file``."""
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``check-split``."""
    parser.add_argument("split", type=Path, metavar="SPLIT", help="csv that split wrote")
    parser.add_argument(
        "--cases", type=Path, nargs="+", default=[], metavar="DIR",
        help="where the cases lie, to look at the pictures; a file is taken from the first that "
        "has it",
    )  # fmt: skip
    parser.add_argument(
        "--likeness", type=float, default=LEAST_CORRELATION, metavar="R",
        help="pictures that correlate by this much look the same (default: %(default)s)",
    )  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Print every leak; 1 when there is one."""
    try:
        cases = read_split(args.split)
    except (OSError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{args.split}: expected a split file: {one_line(error)}") from error
    leaks = [*find_leaks(cases)]
    if args.cases:
        leaks += find_lookalikes(cases, args.cases, args.likeness)
    for leak in leaks:
        print(f"{leak.kind}: {leak.detail}")
    print(f"{len(cases)} cases, {len(leaks)} leaks")
    return 1 if leaks else 0


def find_leaks(cases: Sequence[SplitCase]) -> Iterator[Leak]:
    """Leaks that the table alone shows."""
    yield from _on_two_sides(cases, "group", lambda case: case.group)
    yield from _on_two_sides(cases, "digest", lambda case: case.sha256)
    seen: dict[tuple[str, str], str] = {}
    for case in cases:
        key = (case.pool, case.file)
        if key in seen:
            yield Leak("listed twice", f"{case.file} in {seen[key]} and {case.split}")
        seen[key] = case.split


def find_lookalikes(
    cases: Sequence[SplitCase], folders: Sequence[Path], likeness: float = LEAST_CORRELATION
) -> list[Leak]:
    """Leaks that only the pictures show: alike across sides, among cases of one modality and
    dimension; and files that are missing or changed."""
    leaks: list[Leak] = []
    prints: dict[tuple[str, str], dict[str, list[tuple[SplitCase, Fingerprint]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for case in tqdm(cases, desc="pictures", disable=not sys.stderr.isatty()):
        if case.split in APART:
            continue
        try:
            found = _fingerprint_of(case, folders)
        except DataError as error:
            leaks.append(Leak("file", one_line(error)))
            continue
        prints[case.dims, case.modality][case.split].append((case, found))
    for sides in prints.values():
        names = sorted(sides)
        for index, one in enumerate(names):
            for other in names[index + 1 :]:
                leaks += _alike(sides[one], sides[other], likeness)
    return leaks


def _alike(
    first: list[tuple[SplitCase, Fingerprint]],
    second: list[tuple[SplitCase, Fingerprint]],
    least: float,
) -> Iterator[Leak]:
    prints = [f for _, f in first], [f for _, f in second]
    for i, j, likeness in near_duplicates(*prints, least):
        one, other = first[i][0], second[j][0]
        yield Leak(
            "looks the same",
            f"{one.file} ({one.split}, group {one.group}) and {other.file} ({other.split}, "
            f"group {other.group}), correlation {likeness:.3f}",
        )


def _fingerprint_of(case: SplitCase, folders: Sequence[Path]) -> Fingerprint:
    path = next((f / case.file for f in folders if (f / case.file).is_file()), None)
    if path is None:
        raise SourceError(f"{case.file}: expected below {folders[0]}, found none")
    arrays = read_npz(path)
    if "imgs" not in arrays:
        raise SourceError(f"{case.file}: expected key imgs, found {', '.join(arrays)}")
    if case.sha256 and not case.pool:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != case.sha256:
            raise SourceError(f"{case.file}: expected the file of the split, found another content")
    return fingerprint(arrays["imgs"])


def _on_two_sides(
    cases: Sequence[SplitCase], kind: str, key: Callable[[SplitCase], str]
) -> Iterator[Leak]:
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for case in cases:
        if case.split not in APART and key(case):
            sides[key(case)].setdefault(case.split, case.file)
    for value, found in sorted(sides.items()):
        if len(found) > 1:
            where = ", ".join(f"{split} ({file})" for split, file in sorted(found.items()))
            yield Leak(kind, f"{value} in {where}")
