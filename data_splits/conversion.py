"""``convert``: images with labels -> cases/, truth/, and what came of each in conversion.csv."""

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, fields
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from data_splits.boxes import BoxRule
from data_splits.convert import Converted, Settings, convert_case, read_names, refused
from data_splits.errors import DataError, UsageError, one_line
from data_splits.geometry import check_orientation
from data_splits.intensity import rule_from
from data_splits.labels import SMALL_OBJECTS, SmallObjects
from data_splits.organisers import OrganiserSettings, convert_as_organisers
from data_splits.pairing import (
    Job,
    jobs_by_name,
    jobs_of_coco,
    jobs_of_table,
    modality_word,
    single_job,
)
from data_splits.readers import is_source

Work = Callable[[Job], Converted]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert``."""
    files = parser.add_argument_group("what")
    files.add_argument(
        "images", type=Path, nargs="?", metavar="IMAGES",
        help="an image, a DICOM folder, or a folder of images",
    )  # fmt: skip
    files.add_argument(
        "--labels", type=Path, nargs="+", default=[], metavar="LABELS",
        help="label map, SEG, RTSTRUCT, mask picture, COCO json; several masks of one image; or "
        "a folder of files or folders named as the images",
    )  # fmt: skip
    files.add_argument(
        "--table", type=Path, metavar="CSV",
        help="instead: image, labels (;), name, modality, group, source, licence, redistributable",
    )  # fmt: skip
    files.add_argument("--image-suffix", default="", help="end of image names, such as _0000")
    files.add_argument("--label-suffix", default="", help="end of label names, such as _mask")
    files.add_argument("--series", default="", metavar="UID", help="series of a DICOM folder")
    files.add_argument("--out", type=Path, required=True, metavar="DIR")
    files.add_argument("--workers", type=int, default=0, metavar="N", help="default: one a core")
    files.add_argument("--modality", default="", help="CT, MR, PET, US, XRay, ... (DICOM tells it)")
    _add_array_arguments(parser)


def _add_array_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how")
    how.add_argument(
        "--window", metavar="RULE",
        help="abdomen, lung, brain, ..., LEVEL/WIDTH, LOW..HIGH, percentiles[:LOW,HIGH], "
        "suv[:LOW,HIGH], minmax (default: by modality)",
    )  # fmt: skip
    how.add_argument(
        "--orientation", default="acquired", metavar="CODE",
        help="acquired (default: the scanner's slices), stored, or where x, y, z grow to: LPS",
    )  # fmt: skip
    how.add_argument(
        "--instances", nargs="+", default=[], metavar="LABEL",
        help="labels (number, name or all) whose components become objects of their own",
    )  # fmt: skip
    how.add_argument("--remove-labels", type=int, nargs="+", metavar="N", help="made background")
    how.add_argument(
        "--small-objects", default="keep", metavar="RULE",
        help="keep (default), challenge (drop below 1000 voxels, then below 100 pixels of a "
        "slice), 2025 (100, 10), or VOXELS,PIXELS",
    )  # fmt: skip
    how.add_argument("--names", type=Path, metavar="JSON", help="names of label values")
    how.add_argument(
        "--margin-slices", type=int, metavar="N",
        help="keep the labelled slices, what lies between them, and N on either side",
    )  # fmt: skip
    how.add_argument("--always-3d", action="store_true", help="one slice is a volume, too")
    how.add_argument("--loosen-px", type=float, default=0.0, help="boxes: every side outwards")
    how.add_argument("--jitter-px", type=float, default=0.0, help="boxes: outwards by 0 to this")
    how.add_argument("--seed", type=int, default=0)
    how.add_argument(
        "--like", choices=("organisers",),
        help="the arrays of the organisers' pre_CT_MR.py, its defects included: slices without "
        "labels cut out, gaps in the labels, label 12 removed, imgs and gts in one file",
    )  # fmt: skip
    how.add_argument("--tumour", type=int, metavar="N", help="with --like: label to be split")


def execute(args: argparse.Namespace) -> int:
    """Convert everything; 1 when some case was refused."""
    jobs = _jobs(args)
    twice = [job.name for job in jobs if [j.name for j in jobs].count(job.name) > 1][:1]
    if twice:
        raise UsageError(f"expected one case a name, found several called {twice[0]}")
    work = _work(args)
    rows = []
    with tqdm(total=len(jobs), desc="cases", disable=not sys.stderr.isatty()) as bar:
        for row in run_jobs(jobs, work, args.workers):
            rows.append(row)
            bar.update()
            if row.status != "ok":
                tqdm.write(f"refused: {row.case}: {row.reason}", file=sys.stderr)
            elif row.notes:
                tqdm.write(f"note: {row.case}: {row.notes}", file=sys.stderr)
    rows.sort(key=lambda row: row.case)
    write_rows(args.out / "conversion.csv", rows)
    bad = sum(row.status != "ok" for row in rows)
    print(f"{len(rows) - bad} of {len(rows)} cases converted to {args.out}, {bad} refused")
    return 1 if bad else 0


def run_jobs(jobs: Sequence[Job], work: Work, workers: int) -> Iterator[Converted]:
    """Do every job; yields a row for each, as they end."""
    count = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if count <= 1:
        for job in jobs:
            yield _done(job, work)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload(["data_splits.conversion"])  # imports take seconds: once
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        waiting = {pool.submit(_done, job, work): job for job in jobs}
        for future in as_completed(waiting):
            try:
                yield future.result()
            except BrokenProcessPool:
                yield refused(waiting[future], "the worker process died (not enough memory?)")


def write_rows(path: Path, rows: Sequence[Converted]) -> None:
    """Write ``conversion.csv`` whole."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(Converted)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    partial.replace(path)


def _done(job: Job, work: Work) -> Converted:
    try:
        return work(job)
    except DataError as error:
        return refused(job, one_line(error))
    except MemoryError:
        return refused(job, "not enough memory")
    except Exception as error:  # one bad file must never stop the rest, whatever a reader raises
        return refused(job, f"{job.image.name}: {type(error).__name__}: {one_line(error)}")


class _Ours:
    """Work that can be sent to another process."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self.settings, self.out = settings, out

    def __call__(self, job: Job) -> Converted:
        return convert_case(job, self.settings, self.out)


class _Organisers:
    """The same for ``--like organisers``."""

    def __init__(self, settings: OrganiserSettings, out: Path) -> None:
        self.settings, self.out = settings, out

    def __call__(self, job: Job) -> Converted:
        return convert_as_organisers(job, self.settings, self.out)


def _jobs(args: argparse.Namespace) -> list[Job]:
    try:
        modality = modality_word(args.modality) if args.modality else ""
    except ValueError as error:
        raise UsageError(f"--modality: {error}") from error
    if (args.table is None) == (args.images is None):
        raise UsageError("expected IMAGES or --table, and not both")
    if args.table is not None:
        return jobs_of_table(args.table)
    for path in (args.images, *args.labels):
        if not path.exists():
            raise UsageError(f"{path}: expected a file or folder, found none")
    if len(args.labels) == 1 and args.labels[0].suffix.lower() == ".json":
        folder = args.images if args.images.is_dir() else args.images.parent
        return jobs_of_coco(folder, args.labels[0], modality)
    if is_source(args.images):
        return [single_job(args.images, args.labels, modality)]
    if args.images.is_dir():
        if len(args.labels) > 1 or (args.labels and not args.labels[0].is_dir()):
            raise UsageError(f"--labels: expected one folder beside a folder, found {args.labels}")
        labels = args.labels[0] if args.labels else None
        return jobs_by_name(args.images, labels, modality, args.image_suffix, args.label_suffix)
    raise UsageError(f"{args.images}: expected an image or a folder of images")


def _work(args: argparse.Namespace) -> Work:
    made = ("cases", "truth") if args.like is None else (".",)
    for name in made:
        try:
            (args.out / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{args.out}: expected a folder to write to: {error}") from error
    try:
        rule = rule_from(args.window) if args.window else None
        if args.like is not None:
            removed = (12,) if args.remove_labels is None else tuple(args.remove_labels)
            window = (0.0, 0.0) if rule is None else (rule.low, rule.high)
            if rule is not None and rule.kind != "window":
                raise ValueError(f"--like organisers: expected a window, found {args.window}")
            return _Organisers(OrganiserSettings(window, removed, args.tumour), args.out)
        settings = Settings(
            rule=rule,
            orientation=check_orientation(args.orientation),
            instances=tuple(args.instances),
            remove=tuple(args.remove_labels or ()),
            small=small_objects(args.small_objects),
            names=read_names(args.names) if args.names else {},
            margin_slices=args.margin_slices,
            always_3d=args.always_3d,
            boxes=BoxRule(loosen_px=args.loosen_px, jitter_px=args.jitter_px),
            seed=args.seed,
            series_uid=args.series,
        )
    except (ValueError, OSError) as error:
        raise UsageError(one_line(error)) from error
    return _Ours(settings, args.out)


def small_objects(text: str) -> SmallObjects:
    """A named rule or VOXELS,PIXELS; ValueError for anything else."""
    if text in SMALL_OBJECTS:
        return SMALL_OBJECTS[text]
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"--small-objects: expected {', '.join(SMALL_OBJECTS)} or VOXELS,PIXELS")
    return SmallObjects(int(parts[0]), int(parts[1]))
