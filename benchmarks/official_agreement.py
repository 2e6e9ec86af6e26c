"""The official columns against the organisers' script, on perturbed masks of real cases and traps.

    python benchmarks/official_agreement.py --script DIR --python PYTHON --truth DIR [DIR ...]

DIR holds compute_metrics.py and SurfaceDice.py of bowang-lab/MedSAM@LiteMedSAM; PYTHON is an
interpreter with NumPy 1.26, SciPy 1.11, pandas, nibabel and tqdm. The script is run as it is, on
all real cases at once and on each trap alone, as a trap may crash it. Prints every case that
differs in the fourth digit, and a line of totals; exit code 1 if any differs.
"""

import argparse
import csv
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.scoring.case_scores import CaseTask, score_task

Array = NDArray[np.generic]
Printed = dict[str, tuple[float, float]]


def perturbed(labels: Array, rng: np.random.Generator) -> Array:
    """Shift, thicken, drop or invent labels, each with some chance."""
    found = labels.copy()
    if rng.random() < 0.8:
        found = np.roll(found, rng.integers(-4, 5, found.ndim), range(found.ndim))
    if rng.random() < 0.4:
        found = ndimage.grey_dilation(found, size=3)
    present = np.unique(found)[1:]
    if len(present) > 1 and rng.random() < 0.3:
        found[found == rng.choice(present)] = 0
    if rng.random() < 0.1:
        found[tuple(slice(0, extent // 3) for extent in found.shape)] = labels.max() + 1
    return found


def traps() -> Iterator[tuple[str, dict[str, Array], dict[str, Array] | None]]:
    """Name, truth file and mask file (none: missing) of what trips the script or its users."""
    plane = np.zeros((60, 80), np.uint8)
    plane[5:25, 5:25], plane[30:50, 40:70] = 1, 2
    gap = np.array([0, 1, 3], np.uint8)[plane]
    volume = np.zeros((12, 30, 30), np.uint8)
    volume[2:8, 5:20, 5:20], volume[8:11, 3:9, 20:28] = 1, 2
    spacing = np.array([0.8, 0.8, 5.0])
    grid = np.arange(16 * 16).reshape(16, 16) % 256
    cells = np.kron(grid, np.ones((5, 5), int))
    missed, invented, touching = plane * (plane == 1), plane.copy(), plane.copy()
    invented[0:4], touching[0:3, 0:3] = 9, 1
    yield "2D_gap", {"gts": gap}, {"segs": gap}
    yield "2D_gap_filled", {"gts": gap}, {"segs": np.where(gap == 0, 2, gap)}
    yield "2D_missed", {"gts": plane}, {"segs": missed}
    yield "2D_invented", {"gts": plane}, {"segs": invented}
    yield "2D_border", {"gts": plane}, {"segs": touching}
    yield "2D_empty_truth", {"gts": plane * 0}, {"segs": plane}
    yield "2D_both_empty", {"gts": plane * 0}, {"segs": plane * 0}
    yield "2D_empty_mask", {"gts": plane}, {"segs": plane * 0}
    yield "2D_cells_255", {"gts": cells.astype(np.uint8)}, {"segs": cells.astype(np.uint8)}
    yield "2D_only_255", {"gts": plane // 2 * 255}, {"segs": plane // 2 * 255}
    yield "2D_float", {"gts": plane}, {"segs": plane.astype(np.float32)}
    yield "2D_halves", {"gts": plane}, {"segs": plane - 0.5}
    yield "2D_negative", {"gts": plane}, {"segs": np.roll(plane, 3, 0).astype(np.int16) - 1}
    yield "2D_bool", {"gts": plane == 1}, {"segs": np.roll(plane, 1, 0) == 1}
    yield "2D_below_gate", {"gts": plane}, {"segs": np.roll(plane, 17, 0)}
    yield "2D_missing", {"gts": plane}, None
    yield "2D_shape", {"gts": plane}, {"segs": plane[:-1]}
    yield "2D_uint64", {"gts": plane.astype(np.uint64)}, {"segs": plane}
    yield "3D_plane", {"gts": plane}, {"segs": plane}
    volumes = {"gts": volume, "spacing": spacing}
    for axis, step in ((0, 1), (2, 2)):
        yield f"3D_roll_{axis}", volumes, {"segs": np.roll(volume, step, axis)}
    yield "3D_no_spacing", {"gts": volume}, {"segs": volume}
    yield "CT_no_prefix", volumes, {"segs": np.roll(volume, 1, 0)}
    yield "CT_below_gate", volumes, {"segs": np.roll(volume, 15, 1)}


def run_script(python: str, script: Path, segs: Path, truth: Path, workers: int) -> Printed | None:
    """What the organisers' script prints for two folders; none if it crashes."""
    table = segs / "printed.csv"
    command = [python, "-W", "ignore", str(script / "compute_metrics.py"), "-s", str(segs)]
    command += ["-g", str(truth), "-csv_dir", str(table), "-num_workers", str(workers)]
    ended = subprocess.run(command, cwd=script, capture_output=True, text=True)
    if ended.returncode != 0:
        return None
    with table.open(newline="") as stream:
        return {
            row["case"].removesuffix(".npz"): (_value(row["dsc"]), _value(row["nsd"]))
            for row in csv.DictReader(stream)
        }


def ours(case: str, segs: Path, truth: Path) -> tuple[tuple[float, float], str]:
    """The official columns of a case, and the remark."""
    path = segs / f"{case}.npz"
    task = CaseTask(
        case, "", None, truth / f"{case}.npz", None, {"team": None}, {"team": path}, recorded=False
    )
    row = score_task(task).scores[0]
    if row.dsc_official is None or row.nsd_official is None:
        raise RuntimeError(f"{case}: {row.reason}")
    return (row.dsc_official, row.nsd_official), row.official_remark


def agree(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two pairs of numbers are the same; NaN is the same as NaN."""
    return all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(first, second, strict=True)
    )


def _value(text: str) -> float:
    return float(text) if text else math.nan


def main() -> int:
    """Print what differs and the totals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", type=Path, required=True, metavar="DIR")
    parser.add_argument("--python", required=True, metavar="PYTHON")
    parser.add_argument("--truth", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    wrong = 0
    for case, truth_file, mask_file in traps():
        with tempfile.TemporaryDirectory() as folder:
            segs, truth = Path(folder, "segs"), Path(folder, "truth")
            segs.mkdir()
            truth.mkdir()
            np.savez(truth / f"{case}.npz", **truth_file)  # type: ignore[arg-type]
            if mask_file is not None:
                np.savez(segs / f"{case}.npz", **mask_file)  # type: ignore[arg-type]
            printed = run_script(args.python, args.script.resolve(), segs, truth, 1)
            found, remark = ours(case, segs, truth)
            same = bool(remark) if printed is None else agree(printed[case], found) and not remark
            wrong += not same
            said = "crash" if printed is None else printed[case]
            print(f"{'ok   ' if same else 'WRONG'} {case}: script {said}, ours {found} {remark}")
    files = [path for folder in args.truth for path in sorted(folder.rglob("*.npz"))]
    if files:
        with tempfile.TemporaryDirectory() as folder:
            segs, truth = Path(folder, "segs"), Path(folder, "truth")
            segs.mkdir()
            truth.mkdir()
            for path in files:
                (truth / path.name).symlink_to(path.resolve())
                with np.load(path) as archive:
                    np.savez_compressed(segs / path.name, segs=perturbed(archive["gts"], rng))
            printed = run_script(args.python, args.script.resolve(), segs, truth, args.workers)
            if printed is None or len(printed) != len(files):
                print("WRONG the script did not score the real cases")
                return 1
            for case, numbers in sorted(printed.items()):
                found, _ = ours(case, segs, truth)
                if not agree(numbers, found):
                    wrong += 1
                    print(f"WRONG {case}: script {numbers}, ours {found}")
        mean = np.nanmean(list(printed.values()), axis=0)
        print(f"{len(files)} real cases, mean DSC {mean[0]:.4f}, mean NSD {mean[1]:.4f}")
    print(f"{wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
