"""Real pictures that ship inside Python packages, as uint8 arrays of the challenge's form.

scikit-image, pydicom and nibabel are imported where they are needed: only re-making the cases
needs them. Nothing is downloaded.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

BONE_WINDOW_HU = (-300.0, 900.0)
"""Level 300, width 1200: canal, body and aorta all keep contrast."""


def window(values: NDArray[Any], low: float, high: float) -> Picture:
    """Linear map of low..high to 0..255, clipped."""
    scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    return np.asarray(np.rint(scaled * 255), dtype=np.uint8)


def grey_to_rgb(grey: Picture) -> Picture:
    """(H, W) -> (H, W, 3)."""
    return np.repeat(grey[..., None], 3, axis=2)


def block_mean(picture: Picture, factor: int) -> Picture:
    """Mean of factor x factor blocks; rows and columns left over at the far edges are dropped."""
    height, width = (size // factor for size in picture.shape[:2])
    kept = picture[: height * factor, : width * factor].astype(np.float64)
    blocks = kept.reshape(height, factor, width, factor, -1).mean(axis=(1, 3))
    return np.asarray(np.rint(blocks), dtype=np.uint8).reshape(height, width, *picture.shape[2:])


def spine_ct() -> Picture:
    """Axial CT through a thoracic vertebra, (128, 128, 3)."""
    import pydicom
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    stored = dataset.pixel_array.astype(np.float64)
    hounsfield = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return grey_to_rgb(window(hounsfield, *BONE_WINDOW_HU))


def abdomen_mr() -> Picture:
    """Axial contrast-enhanced MR of the abdomen, (300, 484, 3)."""
    import pydicom
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(str(get_testdata_file("examples_overlay.dcm", download=False)))
    return grey_to_rgb(mr_window(dataset.pixel_array))


def mr_window(values: NDArray[Any]) -> Picture:
    """0.5..99.5 percentile of the values above 0, as the challenge prepares MR; 0 stays 0."""
    low, high = np.percentile(values[values > 0], [0.5, 99.5])
    return np.asarray(np.where(values > 0, window(values, float(low), float(high)), 0), np.uint8)


def skimage_picture(name: str) -> Picture:
    """A picture of skimage.data as it ships."""
    import skimage.data

    load: Any = getattr(skimage.data, name)
    return np.asarray(load(), dtype=np.uint8)


def retina() -> Picture:
    """Colour photograph of a left fundus, one third of its size, (470, 470, 3)."""
    return block_mean(skimage_picture("retina"), 3)


def cell() -> Picture:
    """Quantitative phase picture of one cell, (660, 550, 3)."""
    return grey_to_rgb(skimage_picture("cell"))


def glands() -> Picture:
    """Colonic glands, DAB and haematoxylin: the right 320 columns, (512, 320, 3)."""
    return np.ascontiguousarray(skimage_picture("immunohistochemistry")[:, 192:])


def brain() -> tuple[Picture, NDArray[np.float64]]:
    """Echo-planar MR of a head, first of two volumes, (24, 96, 128), and spacing (x, y, z) in mm.

    Stored right to left, back to front, bottom to top; rows are flipped so that the face is up.
    """
    import nibabel

    with as_file(files("nibabel") / "tests" / "data" / "example4d.nii.gz") as path:
        image: Any = nibabel.load(path)
        values = np.asarray(image.dataobj)[..., 0]
        zooms = image.header.get_zooms()[:3]
    spacing_mm = np.array([round(float(zoom), 4) for zoom in zooms], dtype=np.float64)
    return mr_window(np.ascontiguousarray(values.T[:, ::-1])), spacing_mm
