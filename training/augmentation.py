"""What a picture looks like from another side, in another light: geometry and intensity."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

T = TypeVar("T", bound=np.generic)


def turned(array: NDArray[T], flip_x: bool, flip_y: bool, turn: bool) -> NDArray[T]:
    """Flipped, then transposed."""
    array = array[::-1] if flip_y else array
    array = array[:, ::-1] if flip_x else array
    return np.swapaxes(array, 0, 1) if turn else array


def turned_edges(
    edges: tuple[float, float, float, float],
    shape: tuple[int, ...],
    flip_x: bool,
    flip_y: bool,
    turn: bool,
) -> tuple[float, float, float, float]:
    """:func:`turned` for edges."""
    x0, y0, x1, y1 = edges
    if flip_x:
        x0, x1 = shape[1] - x1, shape[1] - x0
    if flip_y:
        y0, y1 = shape[0] - y1, shape[0] - y0
    return (y0, x0, y1, x1) if turn else (x0, y0, x1, y1)


def augment_geometry(
    picture: NDArray[np.uint8], labels: NDArray[np.uint16], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Flip, and half of the time turn, stretch and zoom (labels by nearest neighbour)."""
    flips = (rng.random() < 0.5, rng.random() < 0.3, rng.random() < 0.2)
    picture, labels = turned(picture, *flips), turned(labels, *flips)
    if rng.random() < 0.5:
        return picture, labels
    height, width = labels.shape
    angle = np.deg2rad(rng.normal(0, 12))
    zoom = np.exp(rng.normal(0, 0.15, 2) + rng.normal(0, 0.15))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    centre = np.array([width / 2, height / 2])
    shift = centre - turn @ (centre + rng.normal(0, 0.05, 2) * [width, height])
    matrix = (turn[0, 0], turn[0, 1], shift[0], turn[1, 0], turn[1, 1], shift[1])
    moved = Image.fromarray(np.ascontiguousarray(picture)).transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    named = Image.fromarray(np.ascontiguousarray(labels).astype(np.int32)).transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST
    )
    return np.asarray(moved), np.asarray(named).astype(np.uint16)


def augment_intensity(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gamma, contrast, brightness, colour cast, grey, inversion, blur and noise, each now and then;
    0..255."""
    x = picture.astype(np.float32) / 255
    if rng.random() < 0.4:
        x = x ** np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        x = (x - 0.5) * np.float32(rng.uniform(0.7, 1.3)) + np.float32(0.5 + rng.normal(0, 0.08))
    if rng.random() < 0.25:
        x = x * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.1:
        x = np.repeat(x.mean(2, keepdims=True), 3, axis=2)
    if rng.random() < 0.04:
        x = 1 - x
    if rng.random() < 0.1:
        x = ndimage.uniform_filter(x, (3, 3, 1))
    if rng.random() < 0.15:
        x = x + rng.normal(0, rng.uniform(0.01, 0.06), x.shape).astype(np.float32)
    return np.asarray(np.clip(x, 0, 1) * np.float32(255), dtype=np.float32)
