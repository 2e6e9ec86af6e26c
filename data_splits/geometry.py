"""Where the voxels of an array lie: grids, orientations, and the way from one grid to another.

Arrays are (D, H, W), that is z, y, x; an *index* is (x, y, z). Positions are in DICOM's patient
frame, *LPS*: x grows to the patient's Left, y to the back (Posterior), z to the head (Superior),
in mm. NIfTI's frame is RAS: its first two coordinates have the other sign. An orientation is three
letters that say where x, y and z of the index *grow towards*, as nibabel's ``aff2axcodes`` does.

Nothing here interpolates: arrays are transposed, flipped, cropped and padded, so that labels go to
another grid and back without a voxel changed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_splits.errors import SourceError

Affine = NDArray[np.float64]
"""(4, 4), homogeneous; maps an index (x, y, z) to the centre of that voxel in LPS, mm."""

RAS_FROM_LPS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])

ORTHOGONAL_TOLERANCE = 2e-3
"""Largest cosine between two axes of a grid; 2e-3 is a tenth of a degree. Beyond it distances in mm
are not what the spacing says (a CT taken with a tilted gantry)."""

ALIGNED_TOLERANCE_VOXELS = 0.02
"""How far, at any corner, two grids may differ from a whole number of voxels and be called the same
(headers round: float32 in NIfTI, decimal strings in DICOM)."""

ACQUIRED_RATIO = 1.5
"""A grid whose coarsest spacing is this many times the next one was taken slice by slice."""

_ACQUIRED_AS = {0: "PIL", 1: "LIP", 2: "LPS"}
"""By the patient axis that the slices are stacked along (L, P, S): the usual way to look at
sagittal, coronal and axial slices."""

_LETTERS = ("RL", "AP", "IS")
"""By patient axis: the letter towards which it falls, and towards which it grows."""


@dataclass(frozen=True)
class Grid:
    """Shape and place of a volume."""

    shape_zyx: tuple[int, int, int]
    affine_lps: Affine

    def __post_init__(self) -> None:
        linear = self.affine_lps[:3, :3]
        if not np.isfinite(self.affine_lps).all() or abs(np.linalg.det(linear)) < 1e-9:
            raise SourceError(
                f"geometry: expected an affine that can be inverted, found {linear.tolist()}"
            )

    @property
    def spacing_xyz_mm(self) -> NDArray[np.float64]:
        """(3,) distance between voxel centres along x, y, z of the index."""
        lengths: NDArray[np.float64] = np.sqrt((self.affine_lps[:3, :3] ** 2).sum(axis=0))
        return lengths

    @property
    def origin_lps_mm(self) -> NDArray[np.float64]:
        """(3,) centre of the voxel (0, 0, 0)."""
        return self.affine_lps[:3, 3]

    @property
    def direction_lps(self) -> NDArray[np.float64]:
        """(3, 3) whose columns are the unit vectors of x, y, z of the index."""
        columns: NDArray[np.float64] = self.affine_lps[:3, :3] / self.spacing_xyz_mm
        return columns

    @property
    def orientation(self) -> str:
        """Nearest three letters, for instance LPS for an axial series."""
        letters = ""
        for axis, sign in zip(*_nearest_axes(self.direction_lps), strict=True):
            letters += _LETTERS[axis][int(sign > 0)]
        return letters

    def cropped(self, first: int, last: int) -> "Grid":
        """The slices ``first`` to ``last`` (both inside) alone."""
        affine = self.affine_lps.copy()
        affine[:3, 3] += first * affine[:3, 2]
        return Grid((last - first + 1, *self.shape_zyx[1:]), affine)

    def require_orthogonal(self) -> None:
        """Raise SourceError where the axes are not perpendicular."""
        cosines = self.direction_lps.T @ self.direction_lps - np.eye(3)
        if (worst := float(np.abs(cosines).max())) > ORTHOGONAL_TOLERANCE:
            degrees = float(np.degrees(np.arcsin(min(worst, 1.0))))
            raise SourceError(
                "geometry: expected perpendicular axes, found them "
                f"{degrees:.2f} degrees off (tilted gantry or shear); resample the volume first"
            )


def grid_from_ras(shape_zyx: tuple[int, int, int], affine_ras: Affine) -> Grid:
    """A grid from NIfTI's affine."""
    return Grid(shape_zyx, RAS_FROM_LPS @ np.asarray(affine_ras, np.float64))


def oriented(grid: Grid, orientation: str) -> Grid:
    """The same voxels with their axes in another order: an orientation, ``stored`` (as they are) or
    ``acquired``.

    ``acquired`` keeps the slices that the scanner took: stacked along the coarsest axis where its
    spacing is :data:`ACQUIRED_RATIO` times the next, else axial; each as it is usually looked at
    (axial LPS, coronal LIP, sagittal PIL).
    """
    if orientation == "stored":
        return grid
    axes, signs = _nearest_axes(grid.direction_lps)
    if orientation == "acquired":
        orientation = _ACQUIRED_AS[_stacked_along(grid, axes)]
    columns, offset = [], grid.affine_lps[:, 3].copy()
    shape_xyz = grid.shape_zyx[::-1]
    shape = []
    for letter in orientation:
        axis, sign = _axis_of(letter)
        source = int(np.flatnonzero(axes == axis)[0])
        step = grid.affine_lps[:, source]
        if signs[source] != sign:
            offset = offset + step * (shape_xyz[source] - 1)
            step = -step
        columns.append(step)
        shape.append(shape_xyz[source])
    affine = np.stack([*columns, offset], axis=1)
    return Grid((shape[2], shape[1], shape[0]), affine)


def check_orientation(text: str) -> str:
    """``text`` if it is an orientation that :func:`oriented` knows; else ValueError."""
    if text in ("stored", "acquired"):
        return text
    code = text.upper()
    if len(code) != 3 or any(sum(c in pair for c in code) != 1 for pair in _LETTERS):
        raise ValueError("expected acquired, stored or three letters such as LPS, one of R/L, one")
    return code


def move(
    array: NDArray[np.generic], source: Grid, target: Grid, *, what: str = "labels"
) -> NDArray[np.generic]:
    """``array`` on ``source`` (D, H, W) copied to ``target``, zero where it has no voxel.

    The grids must agree to whole voxels, in whatever order and direction of axes; SourceError
    otherwise, and where a voxel that is not zero would be cut off.
    """
    order, signs, offset = _whole_voxel_map(source, target, what)
    # order[t]: source axis (x, y, z) that runs along target axis t
    numpy_axes = [2 - order[2 - k] for k in range(3)]
    moved = array.transpose(numpy_axes)
    moved = moved[tuple(slice(None, None, int(signs[2 - k])) for k in range(3))]
    low = [int(offset[2 - k]) for k in range(3)]
    if tuple(moved.shape) == target.shape_zyx and low == [0, 0, 0]:
        return moved
    into, out_of = [], []
    for start, extent, limit in zip(low, moved.shape, target.shape_zyx, strict=True):
        begin, end = max(start, 0), min(start + extent, limit)
        into.append(slice(begin, max(begin, end)))
        out_of.append(slice(begin - start, max(begin, end) - start))
    kept = moved[tuple(out_of)]
    lost = int(np.count_nonzero(moved)) - int(np.count_nonzero(kept))
    if lost:
        raise SourceError(f"{what}: expected all voxels inside the image, found {lost} outside it")
    whole = np.zeros(target.shape_zyx, array.dtype)
    whole[tuple(into)] = kept
    return whole


def _whole_voxel_map(
    source: Grid, target: Grid, what: str
) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """For each target axis its source axis and sign, and where the moved array begins in it."""
    steps = np.linalg.inv(target.affine_lps) @ source.affine_lps  # index -> index
    whole = np.round(steps)
    linear = np.abs(whole[:3, :3])
    permutes = (linear.sum(axis=0) == 1).all() and (linear.sum(axis=1) == 1).all()
    if not permutes or _corner_error(steps, whole, source) > ALIGNED_TOLERANCE_VOXELS:
        raise SourceError(
            f"{what}: expected voxels of the image's own grid ({_shown(target)}), "
            f"found another ({_shown(source)}); resample them to it first"
        )
    order = [int(np.argmax(linear[t])) for t in range(3)]
    signs = np.array([whole[t, order[t]] for t in range(3)]).astype(np.int64)
    shape_xyz = source.shape_zyx[::-1]
    offset = whole[:3, 3].astype(np.int64)
    for t in range(3):
        if signs[t] < 0:
            offset[t] -= shape_xyz[order[t]] - 1
    return order, signs, offset


def _corner_error(steps: Affine, whole: Affine, source: Grid) -> float:
    """Largest difference of two index maps, in voxels, over the corners of ``source``."""
    extent = np.array(source.shape_zyx[::-1], np.float64) - 1
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    corners[:, :3] *= extent
    return float(np.abs((steps - whole) @ corners.T).max())


def _nearest_axes(direction: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each index axis the patient axis nearest to it, each once, and the sign along it."""
    left = np.abs(direction)
    axes = np.zeros(3, np.int64)
    for _ in range(3):
        patient, index = np.unravel_index(int(np.argmax(left)), (3, 3))
        axes[index] = patient
        left = left.copy()
        left[patient, :] = left[:, index] = -1
    signs = np.sign(direction[axes, np.arange(3)]).astype(np.int64)
    return axes, signs


def _stacked_along(grid: Grid, axes: NDArray[np.int64]) -> int:
    """The patient axis along which the scanner took its slices; 2 (S) if that cannot be seen."""
    order = np.argsort(grid.spacing_xyz_mm)
    coarsest, next_one = grid.spacing_xyz_mm[order[2]], grid.spacing_xyz_mm[order[1]]
    return int(axes[order[2]]) if coarsest >= ACQUIRED_RATIO * next_one else 2


def _axis_of(letter: str) -> tuple[int, int]:
    for axis, pair in enumerate(_LETTERS):
        if letter in pair:
            return axis, 1 if pair.index(letter) else -1
    raise SourceError(f"orientation: expected letters of R/L, A/P, I/S, found {letter}")


def _shown(grid: Grid) -> str:
    def numbers(values: NDArray[np.float64]) -> str:
        return ", ".join(f"{v:.4g}" for v in values)

    shape = " x ".join(str(n) for n in grid.shape_zyx)
    return (
        f"{shape}, {grid.orientation}, spacing {numbers(grid.spacing_xyz_mm)} mm, "
        f"origin {numbers(grid.origin_lps_mm)}"
    )
