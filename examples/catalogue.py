"""Every demo case: what it shows, its source and terms, and how its truth was made."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import annotations as drawn
import phantoms_colour as colour
import phantoms_grey as grey
import phantoms_volume as volume
import pictures

Built = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64] | None]
"""Picture (H, W, 3) or (D, H, W), labels (H, W) or (D, H, W), spacing (x, y, z) in mm or None."""

SEEDED = "exact: the geometry that the picture was computed from"
OUTLINED = "outline set by hand on the enlarged picture"
OURS = "as this repository"


@dataclass(frozen=True)
class Example:
    """One demo case; `build` computes its arrays."""

    name: str
    kind: str
    """real or phantom"""
    content: str
    source: str
    licence: str
    annotation: str
    build: Callable[[], Built]

    @property
    def dims(self) -> str:
        """2D or 3D."""
        return self.name[:2]

    @property
    def modality(self) -> str:
        """The modality token of the file name."""
        return self.name.split("_")[1]


def outlined(
    picture: Callable[[], NDArray[np.uint8]],
    labels: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> Built:
    """A real 2D picture with its drawn labels."""
    pixels = picture()
    return pixels, labels(pixels), None


def brain() -> Built:
    """The real 3D volume with the labels of its rule."""
    voxels, spacing_mm = pictures.brain()
    return voxels, drawn.brain(voxels), spacing_mm


def simulated(function: Callable[[np.random.Generator], Any], name: str) -> Built:
    """A phantom from a generator seeded by the name of its case."""
    built = function(np.random.default_rng(zlib.crc32(name.encode())))
    pixels, labels = built[:2]
    if labels.ndim == 2:
        return pixels if pixels.ndim == 3 else pictures.grey_to_rgb(pixels), labels, None
    return pixels, labels, built[2]


def phantom(name: str, content: str, function: Callable[[np.random.Generator], Any]) -> Example:
    """Entry of a simulated case."""
    source = f"simulated by {function.__module__}.{function.__name__}"
    build = partial(simulated, function, name)
    return Example(name, "phantom", content, source, OURS, SEEDED, build)


EXAMPLES = [
    Example(
        "2DBox_CT_pydicom-vertebra",
        "real",
        "thoracic vertebra: vertebral body, spinal canal, aorta",
        "pydicom test file CT_small.dcm, from CT1_UNC of the NEMA WG04 sample images",
        "public sample image; pydicom's README states no known restriction on distribution",
        OUTLINED,
        partial(outlined, pictures.spine_ct, drawn.spine_ct),
    ),
    Example(
        "2DBox_MR_gdcm-abdomen",
        "real",
        "abdomen with contrast: right kidney, left kidney, aorta",
        "pydicom test file examples_overlay.dcm, from the GDCM data set",
        "BSD-3-Clause (GDCM's licence, stated for the data in pydicom's README)",
        OUTLINED,
        partial(outlined, pictures.abdomen_mr, drawn.abdomen_mr),
    ),
    Example(
        "2DBox_Fundus_skimage-retina",
        "real",
        "left eye: optic disc",
        "scikit-image data.retina, by Mikael Haggstrom, one third of its size",
        "CC0-1.0",
        OUTLINED,
        partial(outlined, pictures.retina, drawn.retina),
    ),
    Example(
        "2DBox_Microscopy_skimage-cell",
        "real",
        "quantitative phase picture: one floating cell",
        "scikit-image data.cell, by Mueller et al. 2018",
        "CC0-1.0",
        OUTLINED,
        partial(outlined, pictures.cell, drawn.cell),
    ),
    Example(
        "2DBox_Microscopy_skimage-glands",
        "real",
        "stained colon: two glands",
        "scikit-image data.immunohistochemistry, by the CMMI, right 320 columns",
        "no known copyright restrictions (stated by scikit-image)",
        OUTLINED,
        partial(outlined, pictures.glands, drawn.glands),
    ),
    Example(
        "3DBox_MR_nibabel-brain",
        "real",
        "echo-planar MR: brain",
        "nibabel test file example4d.nii.gz, first volume",
        "MIT (nibabel's licence, which covers its examples)",
        "rule (level, close, fill, open, largest piece), checked by eye slice by slice",
        brain,
    ),
    phantom("2DBox_US_phantom-head", "fetal head", grey.fetal_head),
    phantom("2DBox_US_phantom-breast", "two cysts and a solid nodule", grey.breast_ultrasound),
    phantom("2DBox_XRay_phantom-chest", "frontal chest: right and left lung field", grey.chest),
    phantom("2DBox_Mammography_phantom-masses", "spiculated and smooth mass", grey.mammogram),
    phantom(
        "2DBox_OCT_phantom-fluid", "subretinal fluid and two retinal cysts", grey.retinal_layers
    ),
    phantom("2DBox_Dermoscopy_phantom-lesion", "pigmented lesion under hairs", colour.skin_lesion),
    phantom("2DBox_Endoscopy_phantom-polyps", "two polyps in a colon", colour.polyps),
    phantom(
        "3DBox_CT_phantom-abdomen",
        "liver, spleen, right and left kidney, aorta, vertebral bodies",
        volume.abdomen_ct,
    ),
    phantom(
        "3DBox_PET_phantom-torso",
        "lung lesion, mediastinal node, liver metastasis",
        volume.torso_pet,
    ),
    phantom(
        "3DBox_MR_phantom-head",
        "tumour with oedema, right and left lateral ventricle",
        volume.head_mr,
    ),
]
