"""Seconds to convert volumes against the seconds to read and deflate the same ones, in turns.

    python benchmarks/convert_speed.py [--volumes 100] [--shape 120 512 512]

A volume is a made-up CT (int16, body, organs, noise of 12 HU) with 13 labels, as .nii.gz; a few are
made and linked under as many names as asked for. The floor is what no converter can do without:
inflate both files into arrays (nibabel) and deflate imgs and gts as they end up
(np.savez_compressed). Converting is what `python -m data_splits convert` does by default: read,
window, turn to LPS, number the labels, boxes, digest, write. One process converts; the command runs
one such process a core.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from data_splits.convert import Settings, convert_case
from data_splits.pairing import Job

DIFFERENT = 3
"""Volumes that are made; the others are links to them."""


def make_volume(path: Path, labels_path: Path, shape: tuple[int, ...], seed: int) -> None:
    """A trunk with 13 ellipsoids in RAS, 0.8 x 0.8 x 5 mm."""
    generator = np.random.default_rng(seed)
    depth, height, width = shape
    z, y, x = np.ogrid[0:depth, 0:height, 0:width]
    labels = np.zeros(shape, np.uint8)
    body = ((y / height - 0.5) / 0.36) ** 2 + ((x / width - 0.5) / 0.44) ** 2 <= 1
    pixels = np.where(np.broadcast_to(body, shape), 40, -1000).astype(np.int16)
    for label in range(1, 14):
        centre = generator.uniform(0.3, 0.7, 3) * shape
        radii = generator.uniform(0.05, 0.14, 3) * shape
        inside = sum(
            ((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre, radii, strict=True)
        )
        labels[inside <= 1] = label
        pixels[inside <= 1] = 20 + 12 * label
    pixels += generator.normal(0, 12, shape).astype(np.int16)
    affine = np.diag([0.8, 0.8, 5.0, 1.0])
    for array, target in ((pixels, path), (labels, labels_path)):
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), affine), target)


def make_jobs(folder: Path, count: int, shape: tuple[int, ...]) -> list[Job]:
    """``count`` pairs of files."""
    jobs = []
    for index in range(count):
        image, labels = folder / f"{index}_image.nii.gz", folder / f"{index}_labels.nii.gz"
        if index < DIFFERENT:
            make_volume(image, labels, shape, index)
        else:
            os.link(folder / f"{index % DIFFERENT}_image.nii.gz", image)
            os.link(folder / f"{index % DIFFERENT}_labels.nii.gz", labels)
        jobs.append(Job(f"v{index}", image, (labels,), "CT"))
    return jobs


def read_s(job: Job) -> float:
    """Seconds to inflate both files of a job."""
    began = time.perf_counter()
    arrays: list[NDArray[np.generic]] = [
        np.asarray(nib.load(path).dataobj) for path in (job.image, job.labels[0])
    ]
    assert all(array.size for array in arrays)
    return time.perf_counter() - began


def deflate_s(job: Job, made: Path, out: Path) -> float:
    """Seconds to deflate the two arrays that the conversion wrote."""
    taken = 0.0
    for kind, key in (("cases", "imgs"), ("truth", "gts")):
        with np.load(made / kind / f"3DBox_CT_{job.name}.npz") as archive:
            array = archive[key]
        began = time.perf_counter()
        np.savez_compressed(out / f"{kind}.npz", **{key: array})
        taken += time.perf_counter() - began
    return taken


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 when converting took more than 1.5 times the floor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--shape", type=int, nargs=3, default=(120, 512, 512))
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="convert-speed-") as temporary:
        folder = Path(temporary)
        for name in ("in", "made/cases", "made/truth", "floor"):
            (folder / name).mkdir(parents=True)
        jobs = make_jobs(folder / "in", args.volumes, tuple(args.shape))
        converting = reading = deflating = 0.0
        for job in jobs:
            began = time.perf_counter()
            convert_case(job, Settings(), folder / "made")
            converting += time.perf_counter() - began
            reading += read_s(job)
            deflating += deflate_s(job, folder / "made", folder / "floor")
            for kind in ("cases", "truth"):
                (folder / "made" / kind / f"3DBox_CT_{job.name}.npz").unlink()
        ratio = converting / (reading + deflating)
        each = [seconds / len(jobs) for seconds in (reading, deflating, converting)]
        size = " x ".join(str(n) for n in args.shape)
        print(f"{len(jobs)} volumes {size}, seconds a volume")
        print(f"read {each[0]:.2f}   deflate {each[1]:.2f}   convert {each[2]:.2f}")
        print(f"convert / (read + deflate) = {ratio:.2f}")
    return 1 if ratio > 1.5 else 0


if __name__ == "__main__":
    sys.exit(main())
