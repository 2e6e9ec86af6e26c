"""Colour 2D phantoms with exact truth: dermoscopy, endoscopy.

Each function returns the picture (H, W, 3) uint8 and its label map (H, W).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from outline import Mask, ellipse, fill, paint
from texture import Field, blurred, noise, stroke, to_grey, wobbly_outline

Phantom = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def mix(base: Field, colour: tuple[float, float, float], weight: Field) -> Field:
    """(H, W, 3) moved towards a colour by a (H, W) weight of 0..1."""
    share = np.clip(weight, 0, 1)[..., None]
    return np.asarray(base * (1 - share) + np.array(colour) * share)


def hair(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """0..1 coverage of one slightly curved hair that crosses part of the picture."""
    start = rng.uniform((0, 0), (shape[1], shape[0]))
    heading, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.0018)
    steps = np.arange(0, rng.uniform(140, 360), 6.0)
    angle = heading + bend * steps
    path = start + 6.0 * np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1), axis=0)
    return stroke(path, shape, rng.uniform(1.2, 2.4))


def skin_lesion(rng: np.random.Generator) -> Phantom:
    """Dermoscopy of a pigmented lesion under hairs. 1 lesion."""
    shape = (360, 480)
    y, x = np.indices(shape, dtype=np.float64)
    truth = fill(wobbly_outline(rng, (236, 182), (118, 92), 0.07, waves=14), shape)
    skin = np.array([0.86, 0.66, 0.56]) * np.ones((*shape, 3))
    skin *= 1 + 0.035 * noise(rng, shape, 30)[..., None] + 0.018 * noise(rng, shape, 1.6)[..., None]
    skin = mix(skin, (0.83, 0.48, 0.44), 0.35 * np.clip(noise(rng, shape, 22), 0, None))
    pigment = blurred(truth, 3.6) * np.clip(0.70 + 0.13 * noise(rng, shape, 16), 0.3, 1)
    picture = mix(skin, (0.42, 0.23, 0.14), pigment)
    core = blurred(ellipse((262, 166), (55, 40), shape, 30), 16)
    picture = mix(picture, (0.14, 0.08, 0.09), 0.85 * core * pigment)
    network = np.exp(-((noise(rng, shape, 2.0) / 0.45) ** 2))
    picture = mix(picture, (0.20, 0.11, 0.08), 0.42 * network * pigment)
    picture = mix(
        picture, (0.58, 0.60, 0.66), 0.30 * blurred(ellipse((205, 222), (26, 18), shape), 9)
    )
    for _ in range(14):
        spot = rng.uniform((140, 110), (335, 255))
        globule = ellipse((spot[0], spot[1]), (rng.uniform(2, 4.5), rng.uniform(2, 4.5)), shape)
        picture = mix(picture, (0.13, 0.07, 0.07), 0.8 * blurred(globule & truth, 0.8))
    for _ in range(17):
        picture = mix(picture, (0.16, 0.11, 0.09), 0.85 * hair(rng, shape))
    edge = np.hypot((x - 240) / 300, (y - 180) / 260)
    picture *= (1.04 - 0.45 * np.clip(edge - 0.45, 0, None) ** 1.4)[..., None]
    picture += 0.008 * rng.standard_normal((*shape, 1))
    return to_grey(picture), paint([truth])


def polyp(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[float, float],
    radii: tuple[float, float],
    height: float,
) -> tuple[Mask, Field]:
    """Mask of a wobbly polyp and its height map, which falls to 0 on the outline."""
    outline = wobbly_outline(rng, centre, radii, 0.035, waves=6)
    y, x = np.indices(shape, dtype=np.float64)
    u, v = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    reach = np.hypot(*((outline - centre) / radii).T)
    degrees = np.rad2deg(np.arctan2(v, u)) % 360
    edge = np.interp(degrees, np.arange(361), np.append(reach, reach[0]))
    away = np.hypot(u, v) / edge
    return fill(outline, shape), height * np.sqrt(np.clip(1 - away**2, 0, None))


def lit(surface: Field) -> tuple[Field, Field]:
    """Cosine to a lamp at the tip of the endoscope, and mirror reflection, both 0..1."""
    y, x = np.indices(surface.shape, dtype=np.float64)
    slope_y, slope_x = np.gradient(surface)
    flat = np.ones(surface.shape)
    normal = np.stack([-slope_x, -slope_y, flat]) / np.sqrt(1 + slope_x**2 + slope_y**2)
    light = np.stack([(190 - x) / 420, (150 - y) / 420, 0.9 * flat])
    light /= np.linalg.norm(light, axis=0)
    facing = np.clip((normal * light).sum(axis=0), 0, 1)
    return facing, np.clip(2 * facing * normal[2] - light[2], 0, 1) ** 60


def polyps(rng: np.random.Generator) -> Phantom:
    """Colonoscopy with two polyps on a wall with folds, lit from the tip. 1 and 2 polyps."""
    shape = (384, 416)
    y, x = np.indices(shape, dtype=np.float64)
    lumen = np.hypot((x - 300) / 1.1, y - 92)
    relief = 9 * noise(rng, shape, 26) + 16 * np.sin(np.sqrt(lumen + 30) * 2.1)
    large, high = polyp(rng, shape, (158.0, 214.0), (66.0, 56.0), 50.0)
    small, low = polyp(rng, shape, (302.0, 286.0), (33.0, 29.0), 26.0)
    raised = large | small
    surface = relief * (1 - 0.8 * blurred(raised, 3)) + high + low + 0.5 * noise(rng, shape, 2.2)
    facing, shine = lit(blurred(surface, 1.0))
    picture = np.array([0.86, 0.50, 0.42]) * np.ones((*shape, 3))
    picture = mix(picture, (0.84, 0.38, 0.34), 0.5 + 0.25 * noise(rng, shape, 12))
    vessels = np.exp(-((noise(rng, shape, 9) / 0.07) ** 2)) * (1 - blurred(raised, 2))
    picture = mix(picture, (0.62, 0.16, 0.16), 0.45 * blurred(vessels, 0.8))
    redness = 0.6 * blurred(raised, 2) * (1 + 0.3 * noise(rng, shape, 3))
    picture = mix(picture, (0.80, 0.30, 0.28), redness)
    falloff = np.clip(1.18 - np.hypot(x - 190, y - 200) / 420, 0, None)
    falloff *= np.clip(lumen / 85, 0.08, 1)
    picture *= ((0.30 + 0.78 * facing**1.5) * falloff)[..., None]
    glints = blurred((shine > 0.80) & (noise(rng, shape, 2.5) > 0.35), 0.9)
    glints = np.clip(1.3 * glints, 0, 1) * np.clip(lumen / 120, 0, 1)
    picture = mix(picture, (1.0, 0.98, 0.95), glints)
    picture += 0.008 * rng.standard_normal((*shape, 1))
    corner = np.abs(x - 207.5) + np.abs(y - 191.5) > 330
    picture[corner | (x < 6) | (x > 409) | (y < 6) | (y > 377)] = 0.015
    return to_grey(picture), paint([large, small])
