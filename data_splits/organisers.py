"""``--like organisers``: the arrays of bowang-lab/MedSAM's pre_CT_MR.py, voxel for voxel.

Its defects are kept, because that is what the challenge's files look like (branch LiteMedSAM, since
commit 8223bb7; the thresholds of 2024 were 1000 and 100):

- slices without labels are cut out, and what is left is joined though it is not contiguous;
- labels keep their numbers, so that those removed leave gaps; uint8 wraps numbers above 255;
- a CT window is stretched from the least to the greatest value found in it;
- ``spacing`` is x, y, z beside arrays that are z, y, x; nothing says where a slice came from.

The script writes imgs and gts into one file and no boxes; so does this.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from data_splits.casefile import write_npz
from data_splits.convert import Converted
from data_splits.errors import SourceError, one_line
from data_splits.pairing import Job

VOXELS_3D = 100
PIXELS_2D = 10
"""``voxel_num_thre3d`` and ``voxel_num_thre2d``."""

DEFAULT_WINDOW = (-160.0, 240.0)
"""Level 40, width 400."""


@dataclass(frozen=True)
class OrganiserSettings:
    """The script's variables."""

    window: tuple[float, float] = (0.0, 0.0)
    """CT only; (0, 0) stands for :data:`DEFAULT_WINDOW`."""
    remove: tuple[int, ...] = (12,)
    """``remove_label_ids``: the duodenum."""
    tumour: int | None = None
    """``tumor_id``."""


def convert_as_organisers(job: Job, settings: OrganiserSettings, out: Path) -> Converted:
    """Write ``<modality>_<name>.npz``; raises SourceError where the script would write nothing."""
    if len(job.labels) != 1 or not job.modality:
        raise SourceError(f"{job.name}: expected one label map and --modality for this script")
    try:
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(job.labels[0]))).astype(np.uint8)
        image = sitk.ReadImage(str(job.image))
    except RuntimeError as error:
        raise SourceError(f"{job.name}: cannot be read: {one_line(error)[-200:]}") from error
    pixels = sitk.GetArrayFromImage(image)
    if pixels.ndim != 3 or labels.shape != pixels.shape:
        raise SourceError(f"{job.name}: expected labels of {pixels.shape}, found {labels.shape}")
    gts = organiser_labels(np.asarray(labels), settings)
    kept = np.flatnonzero(gts.any(axis=(1, 2)))
    if kept.size == 0:
        raise SourceError(f"{job.name}: expected labels, found none left: the script skips it")
    imgs = organiser_greys(pixels, job.modality, settings)
    name = f"{job.modality}_{job.name}"
    arrays = {"imgs": imgs[kept], "gts": gts[kept], "spacing": np.array(image.GetSpacing())}
    write_npz(out / f"{name}.npz", arrays)
    return Converted(
        case=name,
        status="ok",
        dims="3D",
        modality=job.modality,
        shape=" ".join(str(n) for n in arrays["imgs"].shape),
        n_objects=len(np.unique(arrays["gts"])) - 1,
        image=job.image.name,
        labels=job.labels[0].name,
        group=job.group or job.name,
        source=job.source,
        licence=job.licence,
        redistributable=job.redistributable,
    )


def organiser_labels(labels: NDArray[np.uint8], settings: OrganiserSettings) -> NDArray[np.uint8]:
    """``gt_data_ori`` after all removals; the argument is overwritten."""
    for value in settings.remove:
        labels[labels == value] = 0
    if settings.tumour is not None:
        tumour = labels == settings.tumour
        labels[tumour] = 0
        parts = cc3d.connected_components(tumour.astype(np.uint8), connectivity=26)
        highest = int(labels.max())
        # the script adds in the components' type and stores in uint8: both wrap
        labels[parts > 0] = (parts[parts > 0].astype(np.int64) + highest).astype(np.uint8)
    labels = cc3d.dust(labels, threshold=VOXELS_3D, connectivity=26, in_place=True)
    for index in range(len(labels)):
        labels[index] = cc3d.dust(labels[index], threshold=PIXELS_2D, connectivity=8, in_place=True)
    return labels


def organiser_greys(
    pixels: NDArray[Any], modality: str, settings: OrganiserSettings
) -> NDArray[np.uint8]:
    """``image_data_pre``: stretched over what is found after clipping."""
    if modality == "CT":
        low, high = settings.window if settings.window != (0.0, 0.0) else DEFAULT_WINDOW
    else:
        low, high = np.percentile(pixels[pixels > 0], [0.5, 99.5])
    clipped = np.clip(pixels, low, high)
    least, greatest = np.min(clipped), np.max(clipped)
    if least == greatest:
        raise SourceError("imgs: expected more than one value in the window, found one")
    greys = (clipped - least) / (greatest - least) * 255.0
    if modality != "CT":
        greys[pixels == 0] = 0
    return np.asarray(greys).astype(np.uint8)
