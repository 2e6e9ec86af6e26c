"""Grey 2D phantoms with exact truth: ultrasound, X-ray, mammography, OCT.

Each function returns the picture (H, W) uint8 and its label map (H, W). The truth is the geometry
from which the picture was computed, not something measured on the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from outline import drawn, ellipse, paint
from texture import Field, blob, blurred, noise, speckle, stroke, to_grey

Phantom = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def fetal_head(rng: np.random.Generator) -> Phantom:
    """Curved-array scan of a fetal head. 1 head, outer edge of the skull."""
    shape, apex = (360, 448), (224.0, -60.0)
    head = ((226.0, 205.0), (112.0, 84.0))
    truth = ellipse(*head, shape, -12)
    inner = ellipse(head[0], (106.0, 78.0), shape, -12)
    y, x = np.indices(shape, dtype=np.float64)
    echo = 0.34 + 0.07 * noise(rng, shape, 14)
    fluid = blurred(ellipse((215, 200), (190, 130), shape, -5), 3)
    echo = echo * (1 - fluid) + (0.04 + 0.015 * noise(rng, shape, 18)) * fluid
    echo = np.where(inner, 0.20 + 0.04 * noise(rng, shape, 7), echo)
    away = np.abs(np.sin(np.arctan2(y - head[0][1], x - head[0][0]) + np.deg2rad(12)))
    echo = np.where(truth & ~inner, 0.35 + 0.75 * away, echo)  # bright where the beam meets it flat
    midline = np.array([(135.0, 223.0), (226.0, 205.0), (312.0, 185.0)])
    echo += 0.35 * stroke(midline, shape, 2.0)
    for side in (-1, 1):
        echo = np.where(ellipse((236, 203 + side * 22), (26, 7), shape, -12), 0.09, echo)
    depth, angle = np.hypot(x - apex[0], y - apex[1]), np.arctan2(x - apex[0], y - apex[1])
    lines = np.linspace(-0.62, 0.62, 300)
    range_px = np.arange(80.0, 430.0)
    r, a = np.meshgrid(range_px, lines, indexing="ij")
    at = [apex[1] + r * np.cos(a), apex[0] + r * np.sin(a)]
    polar = ndimage.map_coordinates(blurred(echo, 0.8), at, order=1, mode="nearest")
    shadow = 1 - 0.35 * (np.abs(a) > 0.33) * (r > 300)
    polar = polar * shadow * speckle(rng, r.shape, (0.9, 1.8)) * np.exp(-(r - 80) / 900)
    back = [depth - range_px[0], (angle - lines[0]) / (lines[1] - lines[0])]
    scan = ndimage.map_coordinates(polar, back, order=1, mode="constant", cval=0.0)
    return to_grey(np.sqrt(np.clip(scan, 0, None)) * 1.02), paint([truth])


def breast_ultrasound(rng: np.random.Generator) -> Phantom:
    """Linear-array scan of a breast. 1 and 2 cysts, 3 solid nodule with a shadow."""
    shape = (320, 400)
    cysts = [
        blob(rng, shape, (118, 128), (44, 30), 0.03),
        blob(rng, shape, (232, 92), (19, 15), 0.03),
    ]
    nodule = blob(rng, shape, (298, 178), (38, 30), 0.10)
    y, _ = np.indices(shape, dtype=np.float64)
    depth = y + 5 * noise(rng, shape, (12, 60))
    tissue = 0.30 + 0.10 * noise(rng, shape, (5, 22)) + 0.05 * noise(rng, shape, (2, 9))
    tissue = np.where(depth < 16, 0.60, np.where(depth < 58, tissue * 0.72, tissue))
    tissue = np.where((depth > 250) & (depth < 258), 0.75, tissue)  # fascia over the muscle
    tissue = np.where(depth >= 258, 0.22 + 0.12 * noise(rng, shape, (1.5, 30)), tissue)
    gain = np.ones(shape)
    for mask, effect in [(cysts[0], 1.7), (cysts[1], 1.5), (nodule, 0.30)]:
        below = (np.cumsum(mask, axis=0) > 0) & ~mask
        gain *= 1 + (effect - 1) * blurred(below, (2, 4)) * np.exp(-y / 700)
    echo = np.clip(tissue, 0.05, None) * gain
    for mask in cysts:
        echo = np.where(mask, 0.012, echo)
    echo = np.where(nodule, 0.085 + 0.02 * noise(rng, shape, 5), echo)
    echo = blurred(np.clip(echo, 0.004, None), (0.9, 1.8))
    echo *= speckle(rng, shape, (0.8, 1.6)) * np.exp(-y / 600)
    return to_grey(np.sqrt(echo) * 0.86), paint([*cysts, nodule])


TORSO = [
    (150, 0), (140, 38), (70, 52), (8, 88), (-30, 200), (30, 300), (34, 430), (382, 430),
    (386, 300), (446, 200), (408, 88), (346, 52), (276, 38), (266, 0),
]  # fmt: skip
HEART = [
    (194, 120), (234, 118), (262, 185), (312, 262), (312, 322), (240, 336), (186, 322), (176, 260),
]  # fmt: skip
CLAVICLE = [(16, 92), (60, 80), (110, 66), (150, 60)]
"""Left clavicle as (distance from the midline, row)."""
RIGHT_LUNG = [
    (141, 52), (166, 61), (182, 95), (187, 151), (185, 212), (180, 268), (173, 307), (141, 298),
    (100, 305), (65, 328), (48, 343), (43, 307), (48, 240), (62, 167), (85, 100), (111, 64),
]  # fmt: skip
LEFT_LUNG = [
    (275, 52), (250, 61), (236, 95), (234, 139), (245, 175), (271, 207), (298, 247), (315, 287),
    (322, 319), (350, 325), (368, 339), (373, 302), (367, 240), (353, 167), (331, 100), (305, 64),
]  # fmt: skip


def ribs_and_clavicles(shape: tuple[int, int]) -> Field:
    """Extra attenuation of eight pairs of ribs and the clavicles."""
    path: Field = np.zeros(shape)
    t = np.linspace(0, np.pi, 40)
    for side in (-1, 1):
        for k in range(8):
            top, drop = 52 + 36 * k, 34 + 5 * k
            reach = (122 + 6 * k - 0.9 * k**2) * np.sin(t / 2) ** 0.8
            down = top + drop * (1 - np.cos(t)) / 2 - 12 * np.sin(t)
            rib = np.stack([208 + side * (18 + reach), down], axis=1)
            path += 0.17 * blurred(stroke(rib, shape, 9), 1.2)
        clavicle = np.array([(208 + side * dx, y) for dx, y in CLAVICLE], dtype=np.float64)
        path += 0.32 * blurred(stroke(clavicle, shape, 11), 1.4)
    return path


def lung_vessels(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Thin branches that leave both hila, summed where they cross."""
    vessels: Field = np.zeros(shape)
    t = np.linspace(0, 1, 12)
    for _ in range(70):
        side = int(rng.choice((-1, 1)))
        heading, length = rng.uniform(-1.3, 1.3), rng.uniform(25, 120)
        root_x, root_y = rng.normal(30, 9), rng.normal(190, 20)
        x = 208 + side * (root_x + length * t * np.cos(heading))
        y = root_y + length * t * np.sin(heading + 0.3 * t)
        branch = stroke(np.stack([x, y], axis=1), shape, rng.uniform(1, 3))
        vessels += blurred(branch, 1.0)
    return vessels


def chest(rng: np.random.Generator) -> Phantom:
    """Frontal chest X-ray. 1 right lung field (image left), 2 left lung field."""
    shape = (416, 416)
    lungs = [drawn(RIGHT_LUNG, shape), drawn(LEFT_LUNG, shape)]
    y, x = np.indices(shape, dtype=np.float64)
    torso = drawn(TORSO, shape)
    path = 2.3 * blurred(torso, 9) + 0.10 * noise(rng, shape, 40)
    path -= 1.40 * blurred(lungs[0] | lungs[1], 2.0)
    path += 0.55 * blurred(drawn(HEART, shape), 4)
    path += 0.45 * blurred(np.abs(x - 209) < 15, (1, 3)) * (1 + 0.15 * np.sin(y / 6.2))
    path -= 0.40 * blurred((np.abs(x - 211) < 6) & (y < 150), 3)  # trachea
    path += ribs_and_clavicles(shape)
    vessels = lung_vessels(rng, shape)
    lung_only = blurred(lungs[0] | lungs[1], 1)
    path += lung_only * (0.16 * np.clip(vessels, 0, 2.5) + 0.04 * noise(rng, shape, 3))
    film = np.clip((path - 0.05) / 3.5, 0, None) ** 0.85 + 0.012 * noise(rng, shape, 0.6)
    return to_grey(film), paint(lungs)


BREAST = [
    (-40, -60), (95, -30), (120, 60), (190, 130), (248, 215), (262, 262), (240, 310), (180, 370),
    (110, 405), (70, 470), (-40, 480),
]  # fmt: skip
"""Skin line; the chest wall is the left edge of the picture."""


def mammogram(rng: np.random.Generator) -> Phantom:
    """Oblique view of a left breast. 1 spiculated mass, 2 smooth mass."""
    shape = (448, 320)
    y, x = np.indices(shape, dtype=np.float64)
    breast = drawn(BREAST, shape)
    masses = [
        blob(rng, shape, (146, 226), (24, 21), 0.13),
        blob(rng, shape, (92, 332), (15, 13), 0.03),
    ]
    thick = np.sqrt(np.clip(ndimage.distance_transform_edt(breast) / 60, 0, 1))
    dense = blurred(ellipse((150, 240), (95, 120), shape, -15), 28)
    strands = np.abs(noise(rng, shape, (2.5, 4))) + np.abs(noise(rng, shape, (7, 10)))
    tissue = 0.24 + dense * (0.15 + 0.10 * noise(rng, shape, 16) - 0.055 * strands)
    tissue += 0.016 * noise(rng, shape, 2.0)
    pectoral = x + 0.52 * y < 108 + 5 * noise(rng, shape, 25)
    tissue += 0.24 * blurred(pectoral, 3)
    for _ in range(16):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(32, 54)
        ends = np.array([[18.0], [reach]])
        spicule = np.array([146.0, 226.0]) + ends * np.array([np.cos(angle), np.sin(angle)])
        tissue += 0.05 * blurred(stroke(spicule, shape, 1.6), 0.8)
    grain = 1 + 0.12 * noise(rng, shape, 4)
    tissue += (0.24 * blurred(masses[0], 2.0) + 0.20 * blurred(masses[1], 1.4)) * grain
    film = thick * tissue * 1.42 + 0.010 * noise(rng, shape, 0.7)
    return to_grey(np.where(breast, film + 0.03, 0.012)), paint(masses)


def retinal_layers(rng: np.random.Generator) -> Phantom:
    """OCT B-scan through a fovea. 1 subretinal fluid, 2 and 3 cysts in the inner nuclear layer."""
    shape = (288, 480)
    y, x = np.indices(shape, dtype=np.float64)
    bend = 6 * np.sin(x / 150) + 1.5 * noise(rng, (1, 480), (0, 25))
    pit = np.exp(-(((x - 235) / 48) ** 2))
    lift = 26 * np.clip(1 - ((x - 262) / 72) ** 2, 0, None)
    floor = 196 + bend
    fluid = (y <= floor - 10) & (y > floor - 10 - lift)
    depth = y + np.where(y < floor - 10, lift, 0)
    top = 96 + bend + 46 * pit + 0.45 * lift
    edges = [
        (0.0, 0.62),
        (0.16, 0.40),
        (0.34, 0.20),
        (0.46, 0.34),
        (0.56, 0.15),
        (0.90, 0.50),
        (0.95, 0.28),
    ]
    part = (depth - lift * 0.9 - (top - lift * 0.9)) / np.clip(floor - 10 - top, 1, None)
    echo: Field = np.full(shape, 0.025)
    for start, bright in edges:
        echo = np.where(part >= start, bright, echo)
    echo = np.where((y > floor - 10) & (y < floor), 0.72, echo)  # pigment epithelium
    below = np.clip((y - floor) / 90, 0, 1)
    echo = np.where(
        y >= floor, (0.36 + 0.10 * noise(rng, shape, (4, 7))) * (1 - below) ** 1.3, echo
    )
    cysts = [ellipse((136, 127), (19, 8), shape, -6), ellipse((322, 132), (14, 7), shape, 6)]
    for mask in [fluid, *cysts]:
        echo = np.where(mask, 0.03, echo)
    for column in (84, 402):
        echo *= 1 - 0.6 * np.exp(-(((x - column) / 5) ** 2)) * (y > 120 + bend)
    scan = blurred(echo, (0.9, 0.7)) * speckle(rng, shape, (0.6, 1.0)) + 0.015 * rng.random(shape)
    return to_grey(np.clip(scan, 0, None) ** 0.55), paint([fluid, *cysts])
