"""Divide labelled cases into train, val and test by group, deterministically.

A *group* is a patient, a scan or a video: cases of one group look alike, so they all go to one
side, across modalities and across 2D and 3D.  A *stratum* is one (dims, modality, source); within
each, groups are dealt out until every split has its share.
"""

import argparse
import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data_splits.errors import UsageError

DEFAULT_SPLIT = Path(__file__).parent / "default.csv"

SHARES: Mapping[str, float] = {"train": 0.65, "val": 0.10, "test": 0.25}
"""Wanted share of the groups of every stratum."""

SEED = "medsam-laptop-1"
"""Prefix of the digest that orders the groups; another word deals out another split."""

LINKED_GROUPS: Mapping[str, str] = {"AMD_1": "AMD_0", "AMD_2": "AMD_0", "AMD_3": "AMD_0"}
"""Groups that are one scan in truth: AMD-OCT's frames 1-14 run on from one listed group to the next
(seen by eye: frames 11 and 12, listed apart, are neighbours; their 32 x 32 thumbnails correlate at
0.994)."""

PLACED_GROUPS: Mapping[str, str] = {
    "AMD_0": "train",
    "IVOCT_024": "train",
    "IVOCT_034": "test",
    "BiomedParse_26-OCT-retinal": "test",
}
"""OCT has four groups in all, too few to be dealt: both sources of pictures are kept on the test
side, none in val."""


@dataclass(frozen=True)
class SplitCase:
    """One row of a split file."""

    file: str
    dims: str
    modality: str
    source: str
    group: str
    split: str
    pool: str
    licence: str
    redistributable: str
    sha256: str

    @property
    def stratum(self) -> tuple[str, str, str]:
        """(dims, modality, source)."""
        return (self.dims, self.modality, self.source)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``split``."""
    parser.add_argument(
        "data_dir", type=Path, metavar="DATA",
        help="folder with manifest.csv and packed cases, or a table such as conversion.csv with "
        "case or file, dims, modality, group",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_SPLIT, help="split file to write (default: %(default)s)"
    )
    parser.add_argument("--cases", type=Path, help="folder of a table's cases, for their digests")
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="fold0 to fold(K-1)")
    parser.add_argument(
        "--shares", default="", metavar="train=0.65,val=0.1,test=0.25", help="of the groups"
    )
    parser.add_argument("--seed", default=SEED, help="another word deals out another split")


def execute(args: argparse.Namespace) -> int:
    """Write the split of the labelled cases."""
    shares = _shares(args.shares, args.folds)
    if args.data_dir.is_file():
        cases = split_table(args.data_dir, args.cases, shares, args.seed)
    elif (args.data_dir / "manifest.csv").is_file():
        cases = split_cases(args.data_dir, shares, args.seed)
    else:
        raise UsageError(f"{args.data_dir}: expected a table or a folder with manifest.csv")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_split(cases, args.out)
    counts = Counter((c.dims, c.modality, c.split) for c in cases)
    for (dims, modality, name), count in sorted(counts.items()):
        print(f"{dims} {modality:12s} {name:6s} {count:5d}")
    return 0


def _shares(text: str, folds: int) -> Mapping[str, float]:
    """Shares as the command line gives them; the default ones without any."""
    if folds and text:
        raise UsageError("expected --folds or --shares, and not both")
    if folds:
        if folds < 2:
            raise UsageError(f"--folds: expected 2 or more, found {folds}")
        return {f"fold{i}": 1 / folds for i in range(folds)}
    if not text:
        return SHARES
    try:
        shares = {k.strip(): float(v) for k, v in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise UsageError(f"--shares: expected name=share,name=share, found {text}") from error
    if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) < 0:
        raise UsageError(f"--shares: expected shares that sum to 1, found {text}")
    return shares


def deal_groups(
    strata_of_group: Mapping[str, set[tuple[str, str, str]]],
    shares: Mapping[str, float] = SHARES,
    seed: str = SEED,
) -> dict[str, str]:
    """Give each group its split.

    Groups are visited in the order of their salted digest, and each goes to the split that lacks
    most in the strata it belongs to.  A stratum with one group alone trains; with two, the second
    is tested on.
    """
    groups_in: Counter[tuple[str, str, str]] = Counter(
        s for strata in strata_of_group.values() for s in strata
    )
    dealt: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    split_of: dict[str, str] = {}

    def place(group: str, split: str) -> None:
        split_of[group] = split
        for stratum in strata_of_group[group]:
            dealt[stratum][split] += 1

    for group in sorted(strata_of_group):
        if shares is SHARES and group in PLACED_GROUPS:
            place(group, PLACED_GROUPS[group])
    order = sorted(
        strata_of_group, key=lambda g: hashlib.sha256(f"{seed}/{g}".encode()).hexdigest()
    )
    for group in order:
        if group in split_of:
            continue
        strata = strata_of_group[group]
        lack = {
            s: sum(share * groups_in[t] - dealt[t][s] for t in strata)
            for s, share in shares.items()
        }
        place(group, max(lack, key=lambda s: lack[s]))
    return split_of


def read_manifests(data_dir: Path) -> list[dict[str, str]]:
    """Rows of ``manifest.csv`` (pool ``packed``) and ``manifest_train.csv`` (pool
    ``packed_train``), groups linked."""
    rows = []
    for name, pool in (("manifest.csv", "packed"), ("manifest_train.csv", "packed_train")):
        with (data_dir / name).open(newline="") as file:
            for row in csv.DictReader(file):
                if row["redistributable"] in ("yes", "unknown"):
                    group = LINKED_GROUPS.get(row["group"], row["group"])
                    rows.append({**row, "group": group, "pool": pool})
    return rows


def split_cases(
    data_dir: Path, shares: Mapping[str, float] = SHARES, seed: str = SEED
) -> list[SplitCase]:
    """Split every usable case under ``data_dir``; a training-only case whose group is not trained
    on is ``unused``.

    Groups that lie in both pools are dealt like the others, so that no stratum is left without a
    test side.
    """
    rows = read_manifests(data_dir)
    strata: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for row in rows:
        if row["pool"] == "packed":
            strata[row["group"]].add((row["dims"], row["modality"], row["source"]))
    split_of = deal_groups(strata, shares, seed)
    cases = []
    for row in rows:
        split = split_of.get(row["group"], "train")
        if row["pool"] == "packed_train" and split != "train":
            split = "unused"
        packed = (data_dir / row["pool"] / row["file"]).with_suffix(".case")
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        known = {f.name: row[f.name] for f in fields(SplitCase) if f.name in row}
        cases.append(SplitCase(**known, split=split, sha256=digest))
    return cases


def split_table(
    table: Path, cases: Path | None, shares: Mapping[str, float] = SHARES, seed: str = SEED
) -> list[SplitCase]:
    """Split the rows of a table, such as ``conversion.csv``; refused cases are left out.

    A row without group is a group of its own. ``cases`` holds the files, for their digests.
    """
    with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark first
        numbered = list(enumerate(csv.DictReader(file), 2))
    rows = {number: row for number, row in numbered if row.get("status", "ok") == "ok"}
    first = next(iter(rows.values()), {})
    if not {"dims", "modality"} <= set(first):
        raise UsageError(f"{table}: expected rows with dims and modality, found {list(first)}")
    strata: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for number, row in rows.items():
        if not row.get("file") and not row.get("case"):
            raise UsageError(f"{table}:{number}: expected case or file, found neither")
        row["file"] = row.get("file") or f"{row['case']}.npz"
        row["group"] = row.get("group") or row["file"]
        row["source"] = row.get("source") or ""
        strata[row["group"]].add((row["dims"], row["modality"], row["source"]))
    split_of = deal_groups(strata, shares, seed)
    found = []
    for row in rows.values():
        digest = row.get("sha256") or ""
        if cases is not None:
            path = cases / row["file"]
            if not path.is_file():
                raise UsageError(f"{path}: expected the case of {table.name}, found none")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        given = {k: row.get(k) or "" for k in ("licence", "redistributable")}
        place = {k: row[k] for k in ("file", "dims", "modality", "source", "group")}
        found.append(
            SplitCase(**place, **given, split=split_of[row["group"]], pool="", sha256=digest)
        )
    return found


def write_split(cases: Iterable[SplitCase], path: Path) -> None:
    """Write a split file, replacing it whole."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(SplitCase)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(case) for case in cases)
    partial.replace(path)


def read_split(path: Path) -> list[SplitCase]:
    """Read a split file."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [SplitCase(**row) for row in csv.DictReader(file)]
