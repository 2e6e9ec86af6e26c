"""``restore``: predicted masks back onto the grid of the scanner's file.

The case says where its voxels lie (``casefile.py``); labels are turned, flipped and padded, never
interpolated. As NIfTI, NRRD, MetaImage, DICOM SEG (with the series it belongs to) or PNG.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from data_splits.casefile import Origin, origin_of, read_npz
from data_splits.errors import DataError, SourceError, UsageError, one_line
from data_splits.geometry import RAS_FROM_LPS, Grid, move
from data_splits.labels import LabelTable
from data_splits.seg_file import SeriesIndex, write_seg
from data_splits.sources import label_type
from data_splits.whole_file import write_whole

FORMATS = ("nifti", "nrrd", "mha", "dicom-seg", "png")

_SUFFIXES = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "dicom-seg": ".dcm", "png": ".png"}

Labels = NDArray[np.unsignedinteger]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``restore``."""
    parser.add_argument("masks", type=Path, metavar="MASKS", help="folder of npz with segs")
    parser.add_argument("--cases", type=Path, required=True, help="folder that convert wrote")
    parser.add_argument("--truth", type=Path, help="what convert wrote, for names and numbers")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--format", choices=("source", *FORMATS), default="source",
        help="default: the source's own; for DICOM a SEG if --source has the series, else NIfTI",
    )  # fmt: skip
    parser.add_argument("--source", type=Path, help="folder with the DICOM series, for SEG")
    parser.add_argument(
        "--numbers", choices=("case", "source"), default="case",
        help="case (default): label i for box i; source: the truth file's own numbers",
    )  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Restore every mask; 1 when some was refused."""
    paths = sorted(p for p in args.masks.glob("*.npz") if not p.name.startswith("."))
    if not paths:
        raise UsageError(f"{args.masks}: expected masks (*.npz), found none")
    if args.numbers == "source" and args.truth is None:
        raise UsageError("--numbers source: expected --truth, which knows them")
    args.out.mkdir(parents=True, exist_ok=True)
    series = SeriesIndex(args.source)
    bad = 0
    for path in tqdm(paths, desc="masks", disable=not sys.stderr.isatty()):
        try:
            restore_mask(path, args.cases, args.out, args.format, args.truth, args.numbers, series)
        except DataError as error:
            bad += 1
            tqdm.write(f"refused: {path.name}: {one_line(error)}", file=sys.stderr)
    print(f"{len(paths) - bad} of {len(paths)} masks restored to {args.out}, {bad} refused")
    return 1 if bad else 0


def restore_mask(
    path: Path,
    cases: Path,
    out: Path,
    wanted: str = "source",
    truth: Path | None = None,
    numbers: str = "case",
    series: SeriesIndex | None = None,
) -> Path:
    """Restore one mask and return the file written; raises SourceError with the reason."""
    arrays = read_npz(path)
    key = "segs" if "segs" in arrays else "gts"
    if key not in arrays:
        raise SourceError(f"expected key segs, found {', '.join(arrays) or 'none'}")
    case_path = cases / path.name
    if not case_path.is_file():
        raise SourceError(f"{case_path}: expected the case of this mask, found none")
    case = read_npz(case_path)
    labels = _checked(arrays[key], key, case)
    origin = origin_of(path.name, case, labels.shape)
    table = _table(truth, path.name, labels)
    on_source = on_source_grid(labels, origin)
    kind = _format(wanted, origin, series)
    if numbers == "source":
        on_source = _renumbered(on_source, table)
    ending = _SUFFIXES[kind]
    target = out / f"{path.stem}{ending}"
    if kind == "dicom-seg":
        if numbers == "source":
            raise SourceError("--numbers source: a SEG numbers its segments from 1; names are kept")
        datasets = (series or SeriesIndex(None)).files(origin)
        write_whole(
            target, lambda part: write_seg(part, on_source, table, origin, datasets), ending
        )
    else:
        grid = origin.source_grid
        write_whole(target, lambda part: _WRITERS[kind](part, on_source, grid), ending)
    return target


def on_source_grid(labels: Labels, origin: Origin) -> Labels:
    """A mask of the case, (H, W) or (D, H, W), as the source's array; a picture's as it is."""
    if origin.grid is None or origin.source_grid is None:
        return labels
    volume = labels[None] if labels.ndim == 2 else labels
    moved = move(volume, origin.grid, origin.source_grid, what="segs")
    return np.asarray(moved).astype(labels.dtype, copy=False)


def write_nifti(path: Path, labels: Labels, grid: Grid | None) -> None:
    """NIfTI-1 with the same affine as sform and qform (scanner coordinates)."""
    place = _required(grid)
    affine = RAS_FROM_LPS @ place.affine_lps
    image = nib.Nifti1Image(labels.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, path)


def write_itk(path: Path, labels: Labels, grid: Grid | None) -> None:
    """NRRD or MetaImage, by the file's suffix."""
    place = _required(grid)
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels))
    image.SetSpacing([float(v) for v in place.spacing_xyz_mm])
    image.SetOrigin([float(v) for v in place.origin_lps_mm])
    image.SetDirection([float(v) for v in place.direction_lps.ravel()])
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise SourceError(f"{path.name}: cannot be written: {one_line(error)[-200:]}") from error


def write_png(path: Path, labels: Labels, grid: Grid | None) -> None:
    """A grey picture whose values are the labels, 8 or 16 bits."""
    plane = labels[0] if labels.ndim == 3 and len(labels) == 1 else labels
    if plane.ndim != 2 or plane.dtype.itemsize > 2:
        raise SourceError(f"png: expected one slice of labels below 65536, found {labels.shape}")
    Image.fromarray(np.ascontiguousarray(plane)).save(path)


_WRITERS: dict[str, Callable[[Path, Labels, Grid | None], None]] = {
    "nifti": write_nifti,
    "nrrd": write_itk,
    "mha": write_itk,
    "png": write_png,
}


def _checked(labels: NDArray[Any], key: str, case: dict[str, NDArray[Any]]) -> Labels:
    if labels.dtype.kind not in "biu" or labels.ndim not in (2, 3):
        raise SourceError(f"{key}: expected whole labels, found {labels.dtype} {labels.shape}")
    if labels.size and int(labels.min()) < 0:
        raise SourceError(f"{key}: expected labels of 0 or more, found {labels.min()}")
    expected = case["imgs"].shape[: labels.ndim] if "imgs" in case else labels.shape
    if labels.shape != expected or (labels.ndim == 2) != ("spacing" not in case):
        raise SourceError(f"{key}: expected the case's shape {expected}, found {labels.shape}")
    return labels.astype(label_type(int(labels.max()) if labels.size else 0))


def _table(truth: Path | None, name: str, labels: Labels) -> LabelTable:
    """What each label is: by the truth, else by its number."""
    count = int(labels.max()) if labels.size else 0
    values, names = list(range(1, count + 1)), [f"box {i}" for i in range(1, count + 1)]
    if truth is not None:
        arrays = read_npz(truth / name) if (truth / name).is_file() else {}
        if "label_values" not in arrays:
            raise SourceError(f"{truth / name}: expected label_values, found none")
        known = len(arrays["label_values"])
        if count > known:
            raise SourceError(f"segs: expected labels up to {known}, found {count}")
        values = [int(v) for v in arrays["label_values"]]
        found = [str(n) for n in arrays["label_names"]]
        names = [n or f"label {v}" for n, v in zip(found, values, strict=True)]
    return LabelTable(tuple(values), tuple(names))


def _renumbered(labels: Labels, table: LabelTable) -> Labels:
    lookup = np.array([0, *table.values], label_type(max(table.values, default=0)))
    return np.take(lookup, labels)


def _format(wanted: str, origin: Origin, series: SeriesIndex | None) -> str:
    if wanted != "source":
        if wanted != "png" and origin.source_grid is None:
            raise SourceError(f"{wanted}: expected a case with a place, found a picture; use png")
        return wanted
    if origin.source_grid is None:
        return "png"
    if origin.format == "dicom":
        return "dicom-seg" if series is not None and series.folder is not None else "nifti"
    return origin.format if origin.format in ("nrrd", "mha") else "nifti"


def _required(grid: Grid | None) -> Grid:
    if grid is None:
        raise SourceError("expected a case with a place, found a picture")
    return grid
