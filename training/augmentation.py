"""What a picture looks like from another side, in another light: geometry and intensity."""

from typing import Any, TypeVar

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
    return _transformed(picture, labels, Image.Transform.AFFINE, matrix)


def augment_warp(
    picture: NDArray[np.uint8], labels: NDArray[np.uint16], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Bend a picture (H, W, 3) and its labels (H, W) by one smooth random field.

    Positions move by about 1 to 3 % of the picture's sides, neighbours much alike: an object of
    a tenth of the picture is little more than stretched and turned, one of half of it changes its
    outline.  The border stays where it is, so nothing comes in from outside.  After the elastic
    deformations of Simard et al. (ICDAR 2003); we differ in drawing the field on a coarse lattice,
    which Pillow bends the picture by, cell by cell.
    """
    height, width = labels.shape
    cells = min(_CELLS, height, width)
    places = np.linspace(0, 1, cells + 1)
    lattice = int(rng.integers(3, 7))
    strength = rng.uniform(0.01, 0.03)
    moves = [
        ndimage.zoom(rng.normal(0, strength, (lattice, lattice)), (cells + 1) / lattice, order=3)
        for _ in range(2)
    ]
    fade = np.minimum(1, 4 * np.minimum(places, 1 - places))  # to none at the border
    held = fade[:, None] * fade[None, :]
    down, right = np.rint(places * height), np.rint(places * width)
    y = np.clip(down[:, None] + moves[0] * held * height, 0, height)
    x = np.clip(right[None, :] + moves[1] * held * width, 0, width)
    rows, columns = down.astype(int).tolist(), right.astype(int).tolist()
    mesh = []
    for i in range(cells):
        for j in range(cells):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))  # as Pillow goes round
            quad = tuple(float(v) for at in corners for v in (x[at], y[at]))
            mesh.append(((columns[j], rows[i], columns[j + 1], rows[i + 1]), quad))
    return _transformed(picture, labels, Image.Transform.MESH, mesh)


_CELLS = 16
"""Cells of a bent picture, along each side, where it has that many pixels."""


def warp_some(
    picture: NDArray[np.uint8], labels: NDArray[np.uint16], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """:func:`augment_warp` for a ``share`` of pictures; with none no random number is drawn."""
    if share and rng.random() < share:
        return augment_warp(picture, labels, rng)
    return picture, labels


def _transformed(
    picture: NDArray[np.uint8], labels: NDArray[np.uint16], method: Image.Transform, data: Any
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Both by one of Pillow's transforms, in place and size: labels by nearest neighbour."""
    size = (labels.shape[1], labels.shape[0])
    moved = Image.fromarray(np.ascontiguousarray(picture)).transform(
        size, method, data, Image.Resampling.BILINEAR
    )
    named = Image.fromarray(np.ascontiguousarray(labels).astype(np.int32)).transform(
        size, method, data, Image.Resampling.NEAREST
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
