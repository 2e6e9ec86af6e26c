"""``check``: look at a folder of cases, truth or masks before anyone runs or scores on it.

Every trap is named with its fix. With --fix and --out, files in which something can be put right
without a doubt are written there, put right; nothing is changed in place.
"""

import argparse
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from data_splits.case_findings import case_findings
from data_splits.casefile import read_npz, write_npz
from data_splits.errors import DataError, UsageError, one_line
from data_splits.findings import Arrays, Finding, Level, error, warning
from data_splits.label_findings import mask_findings, truth_findings

KINDS = ("cases", "truth", "masks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``check``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--kind", choices=KINDS, help="what it holds (default: by the keys of the first file)"
    )
    parser.add_argument("--cases", type=Path, help="the cases of truth or masks")
    parser.add_argument("--fix", action="store_true", help="write files put right to --out")
    parser.add_argument("--out", type=Path, metavar="DIR")


def execute(args: argparse.Namespace) -> int:
    """Print findings; 1 when an error is left that --fix did not put right."""
    if not args.folder.is_dir():
        raise UsageError(f"{args.folder}: expected a folder of npz files, found none")
    if args.fix and (args.out is None or args.out.resolve() == args.folder.resolve()):
        raise UsageError("--fix: expected --out, another folder")
    paths = sorted(p for p in args.folder.glob("*.npz"))
    if not paths:
        raise UsageError(f"{args.folder}: expected npz files, found none")
    kind = args.kind or kind_of(paths)
    counts: Counter[str] = Counter()
    left = 0
    for path, findings in _all(
        paths, args.folder, kind, args.cases, args.out if args.fix else None
    ):
        for finding in findings:
            done = finding.fixed and args.fix
            counts[f"{finding.level}{' fixed' if done else ''}"] += 1
            left += finding.level is Level.ERROR and not done
            note = "fixed" if done else "--fix does it" if finding.fixed else "fix"
            tqdm.write(f"{finding.level}: {path}: {finding.what}; {note}: {finding.fix}")
    summary = ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "nothing found"
    print(f"{len(paths)} {kind}: {summary}")
    return 1 if left else 0


def kind_of(paths: list[Path]) -> str:
    """What a folder holds, by the first file that can be read."""
    for path in paths:
        try:
            keys = read_npz(path)
        except DataError:
            continue
        if "segs" in keys:
            return "masks"
        return "cases" if "imgs" in keys else "truth"
    return "cases"


def check_file(path: Path, kind: str, case: Arrays | None) -> tuple[list[Finding], Arrays | None]:
    """Findings of one file, and its arrays, put right where that is safe."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        names = []
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        return [
            error(
                "twice",
                f"{twice[0].removesuffix('.npy')}: stored twice [B7]: programs "
                "differ in which they read",
                "write the file anew",
            )
        ], None
    try:
        arrays = read_npz(path)
    except DataError as fault:
        return [error("unreadable", one_line(fault), "make it again")], None
    if kind == "cases":
        return list(case_findings(path.stem, arrays)), arrays
    look = truth_findings if kind == "truth" else mask_findings
    return list(look(path.stem, arrays, case)), arrays


def _all(
    paths: list[Path], folder: Path, kind: str, cases: Path | None, out: Path | None
) -> Iterator[tuple[str, list[Finding]]]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for path in tqdm(paths, desc=kind, disable=not sys.stderr.isatty()):
        case, told = _case_of(path, cases, kind)
        findings, arrays = check_file(path, kind, case)
        if out is not None and arrays is not None and any(f.fixed for f in findings):
            write_npz(out / path.name, arrays)
        yield path.name, told + findings
    if cases is not None and kind != "cases":
        there = {path.name for path in paths}
        for case_path in sorted(cases.glob("*.npz")):
            if case_path.name not in there:
                what = f"expected one for this case, found none [A5]: {kind}"
                yield case_path.name, [error("none", what, "make it; it scores 0 otherwise")]
    for other in sorted(folder.iterdir()):
        if other.suffix != ".npz":
            found = warning("extra", "no npz: programs that list the folder meet it", "remove it")
            yield other.name, [found]


def _case_of(path: Path, cases: Path | None, kind: str) -> tuple[Arrays | None, list[Finding]]:
    if cases is None or kind == "cases":
        return None, []
    if not (cases / path.name).is_file():
        return None, [error("no-case", "expected a case of this name, found none", "rename it")]
    try:
        return read_npz(cases / path.name), []
    except DataError as fault:
        return None, [error("case-unreadable", one_line(fault), "check the cases first")]
