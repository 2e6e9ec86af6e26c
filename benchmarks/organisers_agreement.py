"""Compare ``convert --like organisers`` with the organisers' own pre_CT_MR.py, voxel for voxel.

    python benchmarks/organisers_agreement.py SCRIPT IMAGES LABELS --modality MR

SCRIPT is pre_CT_MR.py of bowang-lab/MedSAM, branch LiteMedSAM; IMAGES and LABELS are folders of
NIfTI files of the same names. The script runs as it is, in a folder of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from data_splits.__main__ import main as data_splits

SUFFIX = ".nii.gz"


def run_script(script: Path, folder: Path, modality: str, window: tuple[int, int]) -> list[Path]:
    """Run the organisers' script on folder/images and folder/labels; returns what it wrote."""
    level, width = window
    line = [
        *(sys.executable, str(script.resolve()), "-modality", modality, "-anatomy", "x"),
        *("-img_name_suffix", SUFFIX, "-gt_name_suffix", SUFFIX),
        *("-img_path", "images", "-gt_path", "labels", "-output_path", "theirs"),
        *("-num_workers", "1", "-window_level", str(level), "-window_width", str(width)),
    ]
    subprocess.run(line, cwd=folder, check=True, capture_output=True)
    return sorted((folder / "theirs").rglob("*.npz"))


def main(argv: list[str] | None = None) -> int:
    """0 when every array of every case is equal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("script", type=Path, metavar="SCRIPT")
    parser.add_argument("images", type=Path, metavar="IMAGES")
    parser.add_argument("labels", type=Path, metavar="LABELS")
    parser.add_argument("--modality", default="CT")
    parser.add_argument("--window", type=int, nargs=2, default=(40, 400), metavar="N")
    args = parser.parse_args(argv)
    equal = different = 0
    with tempfile.TemporaryDirectory(prefix="organisers-") as temporary:
        folder = Path(temporary)
        for name in ("images", "labels"):
            os.symlink(getattr(args, name).resolve(), folder / name)
        theirs = run_script(args.script, folder, args.modality, tuple(args.window))
        level, width = args.window
        data_splits(
            [
                *("convert", str(folder / "images"), "--labels", str(folder / "labels")),
                *("--modality", args.modality, "--like", "organisers", "--workers", "1"),
                *("--window", f"{level}/{width}", "--out", str(folder / "ours")),
            ]
        )
        for path in theirs:
            ours = folder / "ours" / path.name.replace("_x_", "_", 1)
            with np.load(path) as one, np.load(ours) as other:
                same = set(one.files) == set(other.files) and all(
                    one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k])
                    for k in one.files
                )
                size = " x ".join(str(n) for n in one["imgs"].shape)
            equal, different = equal + same, different + (not same)
            print(f"{path.name:44s} {size:18s} {'equal' if same else 'DIFFERENT'}")
    print(f"{equal} equal, {different} different")
    return 1 if different or not equal else 0


if __name__ == "__main__":
    sys.exit(main())
