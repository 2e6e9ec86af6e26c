"""Random fields and outlines from which the phantoms are made.

All randomness comes through the generator that is passed in; nothing here depends on global state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from outline import Mask, fill

Field = NDArray[np.float64]


def blurred(field: NDArray[Any], sigma: float | tuple[float, ...]) -> Field:
    """Gaussian blur in float64."""
    return np.asarray(ndimage.gaussian_filter(field.astype(np.float64), sigma))


def noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]
) -> Field:
    """Gaussian noise of correlation length `sigma` pixels, mean 0, standard deviation 1."""
    field = blurred(rng.standard_normal(shape), sigma)
    return np.asarray((field - field.mean()) / field.std())


def speckle(rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]) -> Field:
    """Fully developed speckle: Rayleigh amplitude of a blurred complex field, mean 1."""
    amplitude = np.hypot(noise(rng, shape, sigma), noise(rng, shape, sigma))
    return np.asarray(amplitude / amplitude.mean())


def wobbly_outline(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radii: tuple[float, float],
    roughness: float,
    waves: int = 9,
) -> NDArray[np.float64]:
    """Outline (n, 2) of an ellipse whose radius varies by about `roughness` of itself."""
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    radius = np.ones_like(angle)
    for order in range(2, waves + 1):
        height, phase = rng.normal(0, roughness / order**0.7), rng.uniform(0, 2 * np.pi)
        radius += height * np.cos(order * angle + phase)
    x = centre[0] + radii[0] * radius * np.cos(angle)
    y = centre[1] + radii[1] * radius * np.sin(angle)
    return np.stack([x, y], axis=1)


def blob(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[float, float],
    radii: tuple[float, float],
    roughness: float,
) -> Mask:
    """A filled wobbly outline."""
    return fill(wobbly_outline(rng, centre, radii, roughness), shape)


def stroke(points: NDArray[np.float64], shape: tuple[int, int], width: float) -> Field:
    """0..1 coverage of a line through the (n, 2) points, `width` pixels wide, soft edge."""
    drawn = np.ones(shape, dtype=np.bool_)
    for start, end in zip(points[:-1], points[1:], strict=True):
        count = int(2 * np.hypot(*(end - start))) + 2
        x, y = np.rint(np.linspace(start, end, count)).astype(int).T
        seen = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        drawn[y[seen], x[seen]] = False
    distance = ndimage.distance_transform_edt(drawn)
    return np.asarray(np.clip(width / 2 + 0.5 - distance, 0.0, 1.0))


def to_grey(field: Field) -> NDArray[np.uint8]:
    """0..1 to 0..255, clipped."""
    return np.asarray(np.rint(np.clip(field, 0.0, 1.0) * 255), dtype=np.uint8)
