"""3D phantoms with exact truth: CT of an abdomen, PET of a torso, MR of a head.

Each function returns the volume (D, H, W) uint8, its label map (D, H, W) and the spacing (x, y, z)
in mm. The first slice is the lowest; rows run from the front to the back of the body. Geometry is
in mm from the middle of the volume.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from texture import Field, blurred, noise, to_grey

VolumePhantom = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]
Solid = NDArray[np.bool_]


class Grid:
    """Voxel centres in mm from the middle of a volume, and solids on them."""

    def __init__(self, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
        """`shape` is (D, H, W), `spacing_mm` (x, y, z)."""
        self.shape = shape
        self.spacing_mm = np.array(spacing_mm, dtype=np.float64)
        indices = np.indices(shape, dtype=np.float64)
        middles = [(size - 1) / 2 for size in shape]
        self.z, self.y, self.x = (
            (index - middle) * step
            for index, middle, step in zip(indices, middles, spacing_mm[::-1], strict=True)
        )

    def radius(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        degrees: float = 0.0,
    ) -> Field:
        """1 on the surface of an ellipsoid in (x, y, z) mm, less inside; turned in the plane."""
        angle = np.deg2rad(degrees)
        dx, dy, dz = self.x - centre[0], self.y - centre[1], self.z - centre[2]
        along, across = (
            dx * np.cos(angle) + dy * np.sin(angle),
            dy * np.cos(angle) - dx * np.sin(angle),
        )
        squares = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 + (dz / radii[2]) ** 2
        return np.asarray(np.sqrt(squares))

    def ellipsoid(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        degrees: float = 0.0,
        rough: Field | float = 0.0,
    ) -> Solid:
        """Filled ellipsoid; `rough` is added to the radius where it is measured."""
        return np.asarray(self.radius(centre, radii, degrees) + rough <= 1.0)

    def sigma(self, width_mm: float) -> tuple[float, float, float]:
        """Blur of `width_mm` in voxels along (z, y, x)."""
        x, y, z = (width_mm / self.spacing_mm).tolist()
        return (z, y, x)


def label_map(solids: list[Solid]) -> NDArray[np.uint8]:
    """Solid i gets the value i + 1; where two meet the earlier one keeps the voxel."""
    labels = np.zeros(solids[0].shape, dtype=np.uint8)
    for label, solid in enumerate(solids, start=1):
        labels[solid & (labels == 0)] = label
    return labels


KIDNEYS = [(-66.0, -14.0), (66.0, -6.0)]
"""Centres (x, z) of the right and left kidney of the CT, in mm."""
KIDNEY_RADII = (26.0, 34.0, 46.0)


def abdominal_organs(g: Grid, bumps: Field, cavity: Solid) -> list[Solid]:
    """Liver, spleen, right kidney, left kidney, aorta, vertebral bodies."""
    liver = g.ellipsoid((-78, -14, 14), (76, 70, 62), 18, bumps)
    liver |= g.ellipsoid((-14, -54, 22), (62, 28, 42), -8, bumps)
    liver &= cavity & ~g.ellipsoid((-46, 58, 0), (42, 34, 80))
    spleen = g.ellipsoid((106, 30, 12), (26, 44, 38), -24, bumps) & cavity
    kidneys = []
    for x_mm, z_mm in KIDNEYS:
        side = np.sign(x_mm)
        kidney = g.ellipsoid((x_mm, 52, z_mm), KIDNEY_RADII, side * 24, 0.5 * bumps)
        kidneys.append(kidney & ~g.ellipsoid((side * 40, 44, z_mm), (17, 9, 14)))
    aorta = g.ellipsoid((10, 36, 0), (11.5, 11.5, 900))
    return [liver, spleen, *kidneys, aorta, g.ellipsoid((0, 66, 0), (24, 19, 900))]


def abdominal_background(rng: np.random.Generator, g: Grid, bumps: Field, cavity: Solid) -> Field:
    """Hounsfield units of everything that has no label: fat, wall, bowel, muscle, arch, ribs."""
    hu: Field = np.full(g.shape, -1000.0)
    body = g.ellipsoid((0, 0, 0), (178, 128, 900), rough=0.3 * bumps)
    hu[body] = -105
    hu[g.ellipsoid((0, 2, 0), (160, 108, 900), rough=0.3 * bumps)] = 48
    hu[cavity] = -95 + 10 * noise(rng, g.shape, g.sigma(5))[cavity]
    bowel_field = noise(rng, g.shape, g.sigma(10))
    bowel = cavity & (bowel_field > 0.15) & (g.y < 26)
    hu[bowel] = 32
    hu[bowel & (bowel_field > 1.4)] = -600
    stomach = g.ellipsoid((66, -38, 18), (38, 32, 40), 30, bumps) & cavity
    hu[stomach] = np.where(g.y[stomach] < -48, -850, 28)
    arch = g.ellipsoid((0, 90, 0), (19, 17, 900)) | g.ellipsoid((0, 104, 0), (5, 13, 900))
    for side in (-1, 1):
        hu[g.ellipsoid((side * 34, 84, 0), (30, 22, 900)) & body] = 55
        arch |= g.ellipsoid((side * 24, 92, 0), (17, 5, 900), side * 12)
    hu[arch] = 330 + 60 * noise(rng, g.shape, 1.0)[arch]
    hu[g.ellipsoid((0, 88, 0), (11.5, 9.5, 900))] = 25  # spinal canal
    hu[g.ellipsoid((-22, 36, 0), (13, 10, 900))] = 120  # inferior vena cava
    for angle in np.linspace(0.15, 2 * np.pi, 13, endpoint=False):
        rib = (152 * np.cos(angle), 2 + 100 * np.sin(angle), 40 * np.sin(3 * angle))
        hu[g.ellipsoid(rib, (10, 5, 9), np.rad2deg(angle) + 90)] = 420
    return hu


def abdomen_ct(rng: np.random.Generator) -> VolumePhantom:
    """CT, window 400 at level 40, contrast given.

    1 liver, 2 spleen, 3 right kidney, 4 left kidney, 5 aorta, 6 vertebral bodies.
    """
    g = Grid((20, 160, 208), (1.9, 1.9, 5.0))
    bumps = noise(rng, g.shape, g.sigma(12)) * 0.045
    cavity = g.ellipsoid((0, -6, 0), (147, 92, 900), rough=0.3 * bumps)
    truth = label_map(abdominal_organs(g, bumps, cavity))
    hu = abdominal_background(rng, g, bumps, cavity)
    vessels = np.exp(-((noise(rng, g.shape, g.sigma(9)) / 0.10) ** 2))
    hu = np.where(truth == 1, 108 + 32 * vessels, hu)
    hu = np.where(truth == 2, 122, np.where(truth == 5, 172, hu))
    for label, (x_mm, z_mm) in enumerate(KIDNEYS, start=3):
        depth = g.radius((x_mm, 52, z_mm), KIDNEY_RADII, np.sign(x_mm) * 24)
        hu = np.where(truth == label, np.where(depth > 0.62, 192, 135), hu)
    marrow = ndimage.binary_erosion(truth == 6, np.ones((1, 3, 3)))
    hu = np.where(truth == 6, np.where(marrow, 190 + 45 * noise(rng, g.shape, 1.2), 520), hu)
    hu = blurred(hu, g.sigma(1.3)) + 9 * noise(rng, g.shape, (0.3, 0.7, 0.7))
    return to_grey((hu + 160) / 400), truth, g.spacing_mm


def torso_pet(rng: np.random.Generator) -> VolumePhantom:
    """FDG PET. 1 lung lesion, 2 mediastinal node, 3 liver metastasis."""
    g = Grid((32, 96, 128), (3.6, 3.6, 4.5))
    rough = noise(rng, g.shape, g.sigma(10))
    body = g.ellipsoid((0, 0, 0), (185, 120, 900))
    lungs = g.ellipsoid((-76, -8, 40), (56, 72, 78)) | g.ellipsoid((76, -8, 40), (52, 70, 78))
    lungs &= g.z > -20 + 10 * np.cos(g.x / 40)
    liver = g.ellipsoid((-64, -6, -62), (84, 74, 52)) & body & ~lungs
    heart = g.ellipsoid((34, -34, 2), (38, 32, 32), 35)
    chamber = g.ellipsoid((32, -34, 2), (22, 17, 18), 35)
    lesions = [
        g.ellipsoid((-88, 22, 40), (27, 23, 24), 20, 0.07 * rough),
        g.ellipsoid((6, 14, 34), (15, 20, 18), 0, 0.05 * rough),
        g.ellipsoid((-90, -14, -48), (21, 20, 20), 0, 0.07 * rough),
    ]
    uptake = 0.05 + 0.55 * body * (1 + 0.14 * rough)
    uptake = np.where(lungs, 0.22, uptake)
    uptake = np.where(liver, 1.5 + 0.10 * rough, uptake)
    uptake = np.where(heart, 2.6, uptake)
    uptake = np.where(chamber, 1.0, uptake)
    uptake = np.where(g.ellipsoid((0, 62, 0), (17, 17, 900)), 1.0, uptake)  # marrow
    uptake = np.where(g.ellipsoid((96, 34, -58), (28, 34, 36)), 1.2, uptake)  # spleen
    for lesion, value in zip(lesions, (6.0, 7.5, 6.5), strict=True):
        uptake = np.where(lesion, value, uptake)
    seen = blurred(uptake, g.sigma(6.0 / 2.355))
    seen += np.sqrt(seen) * 0.16 * noise(rng, g.shape, g.sigma(2.6))
    return to_grey(np.clip(seen / 6.5, 0, 1) ** 0.8), label_map(lesions), g.spacing_mm


def head_mr(rng: np.random.Generator) -> VolumePhantom:
    """FLAIR-like MR of a head. 1 tumour with oedema, 2 and 3 right and left lateral ventricle."""
    g = Grid((20, 160, 128), (1.5, 1.5, 4.5))
    folds = noise(rng, g.shape, g.sigma(4.0))
    rough = noise(rng, g.shape, g.sigma(9))
    shrink = np.sqrt(np.clip(1 - ((g.z - 4) / 80) ** 2, 0, None))
    scalp = g.radius((0, 0, 0), (84, 104, 900)) / shrink
    cortex = g.radius((0, 0, 0), (71, 90, 900)) / shrink + 0.010 * folds
    fissure = (np.abs(g.x + 0.6 * rough) < 1.3) & (np.abs(g.y) > 26)
    sulci = (np.abs(folds) < 0.16) & (cortex > 0.80) & (cortex <= 1.0)
    ventricles = []
    for side in (-1, 1):
        horn = g.ellipsoid((side * 9.5, -20, 4), (6.5, 21, 19), side * -22, 0.05 * rough)
        horn |= g.ellipsoid((side * 14, 22, 2), (7, 23, 17), side * 20, 0.05 * rough)
        horn |= g.ellipsoid((side * 6.5, 0, 6), (5.5, 20, 15), 0, 0.05 * rough)
        horn = ndimage.binary_closing(horn, np.ones((1, 3, 3)), iterations=3)
        ventricles.append(horn & (side * g.x > 1.2))
    lesion = g.ellipsoid((38, -24, 14), (19, 22, 17), 15, 0.13 * rough)
    core = g.ellipsoid((38, -24, 14), (8, 10, 8), 15, 0.16 * folds)
    truth = label_map([lesion, *ventricles])

    grey = cortex > 0.90 + 0.055 * folds
    signal: Field = np.full(g.shape, 0.02)
    signal = np.where(scalp <= 1.0, 0.62 + 0.06 * folds, signal)
    signal = np.where(scalp <= 0.945, 0.10, signal)  # skull
    signal = np.where(cortex <= 1.04, 0.13, signal)  # fluid outside the brain
    brain = cortex <= 1.0
    signal = np.where(brain, np.where(grey, 0.58, 0.44) + 0.02 * rough, signal)
    nuclei = g.ellipsoid((-26, 2, 2), (11, 19, 14), 12) | g.ellipsoid((26, 2, 2), (11, 19, 14), -12)
    signal = np.where(nuclei & brain, 0.54, signal)
    signal = np.where((sulci | fissure) & brain, 0.17, signal)
    signal = np.where(truth == 1, 0.86 + 0.05 * folds, signal)
    signal = np.where(core, 0.40, signal)
    signal = np.where(truth >= 2, 0.09, signal)
    bias = 1 + 0.12 * noise(rng, g.shape, g.sigma(70)).clip(-2, 2)
    signal = blurred(signal, (0.35, 0.6, 0.6)) * bias
    real = signal + 0.022 * rng.standard_normal(g.shape)
    imaginary = 0.022 * rng.standard_normal(g.shape)
    return to_grey(np.hypot(real, imaginary)), truth, g.spacing_mm
