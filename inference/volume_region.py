"""Boxes of a volume answered whole, each by one run of a network in three dimensions.

What the network sees is the *region*: the box with a margin, on a fixed grid of Z x Y x X cells,
whatever the size of the box.  Arrays have the axes z, y, x; regions and boxes are edges in the
order x_min, y_min, z_min, x_max, y_max, z_max, in voxels (:mod:`inference.resample`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference.case import label_type
from inference.engine import Graph
from inference.errors import EngineError
from inference.overlap import painting_order
from inference.postprocess import as_label_type
from inference.profile import span
from inference.progress import Progress
from inference.resample import axis_weights
from inference.rules import VolumeRegionRule

if TYPE_CHECKING:
    from inference.model import Model

Edges3 = tuple[float, float, float, float, float, float]
"""x_min, y_min, z_min, x_max, y_max, z_max edges, voxels."""

_CHUNK_VOXELS = 1 << 21
"""Most voxels that are numbers of 32 bits at a time."""


def volume_region(box: Edges3, rule: VolumeRegionRule) -> Edges3:
    """The region around a box; it may reach over the volume's border."""
    margins = (rule.margin, rule.margin, rule.depth_margin)
    pads = [max(m * (box[a + 3] - box[a]), rule.min_margin) for a, m in enumerate(margins)]
    x0, y0, z0 = (box[a] - pads[a] for a in range(3))
    x1, y1, z1 = (box[a + 3] + pads[a] for a in range(3))
    return (x0, y0, z0, x1, y1, z1)


def cell_weights(
    region: Edges3, shape: Sequence[int], grid: Sequence[int]
) -> list[tuple[slice, NDArray[np.float32]]]:
    """For the axes z, y, x: which voxels of a volume of ``shape`` a region's cells see, and with
    which weights (cells, voxels); zeros where a cell's centre lies outside the volume."""
    found = []
    for axis, (low, high) in enumerate(zip(region[2::-1], region[:2:-1], strict=True)):
        reach = 1.0 + max((high - low) / grid[axis], 1.0)
        start = min(max(int(np.floor(low - reach)), 0), shape[axis] - 1)
        stop = max(min(int(np.ceil(high + reach)), shape[axis]), start + 1)
        weights = axis_weights(low - start, high - start, stop - start, grid[axis])
        found.append((slice(start, stop), weights))
    return found


def sample_volume(
    volume: NDArray[np.generic], weights: Sequence[tuple[slice, NDArray[np.float32]]]
) -> NDArray[np.float32]:
    """(Z, Y, X): a volume in the cells of :func:`cell_weights`, a few slices at a time."""
    (in_z, of_z), (in_y, of_y), (in_x, of_x) = weights
    seen = volume[in_z, in_y, in_x]
    cells = np.zeros((len(of_z), len(of_y) * len(of_x)), np.float32)
    step = max(1, _CHUNK_VOXELS // (seen.shape[1] * seen.shape[2]))
    for z in range(0, len(seen), step):
        part = seen[z : z + step].astype(np.float32)
        rows = np.matmul(of_y, np.matmul(part, of_x.T))  # (slices, Y, X)
        cells += of_z[:, z : z + step] @ rows.reshape(len(part), -1)
    return cells.reshape(len(of_z), len(of_y), len(of_x))


def cells_inside(weights: Sequence[tuple[slice, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """(Z, Y, X): share of each cell of :func:`cell_weights` that lies inside the volume."""
    z, y, x = (of.sum(1) for _, of in weights)
    return np.asarray(z[:, None, None] * y[:, None] * x)


def cell_places(region: Edges3, box: Edges3, grid: Sequence[int]) -> list[NDArray[np.float32]]:
    """For the axes z, y, x: where the centres of ``grid`` cells of a region lie in the box, whose
    faces are at -1 and 1."""
    places = []
    for axis, cells in zip((2, 1, 0), grid, strict=True):
        low, high = region[axis], region[axis + 3]
        centres = low + (high - low) * (np.arange(cells) + 0.5) / cells
        middle, half = (box[axis] + box[axis + 3]) / 2, (box[axis + 3] - box[axis]) / 2
        places.append(((centres - middle) / half).astype(np.float32))
    return places


def place_channels(region: Edges3, box: Edges3, grid: Sequence[int]) -> NDArray[np.float32]:
    """(6, Z, Y/2, X/2): w, v, u of :func:`cell_places`, and their squares."""
    half = (grid[0], grid[1] // 2, grid[2] // 2)
    w, v, u = cell_places(region, box, half)
    channels = np.empty((6, *half), np.float32)
    channels[0], channels[1], channels[2] = w[:, None, None], v[:, None], u
    np.square(channels[:3], out=channels[3:])
    return channels


def signed_greys(greys: NDArray[np.float32]) -> NDArray[np.float32]:
    """Greys 0..255 as -1..1."""
    return greys * np.float32(1 / 127.5) - np.float32(1)


def region_inputs(
    volume: NDArray[np.generic], region: Edges3, box: Edges3, grid: Sequence[int]
) -> dict[str, NDArray[np.float32]]:
    """What the graph takes: ``crops`` (1, 2, Z, Y, X), the picture and which cells lie inside the
    volume, and ``place`` (1, 6, Z, Y/2, X/2)."""
    weights = cell_weights(region, volume.shape, grid)
    crops = np.empty((1, 2, *grid), np.float32)
    crops[0, 0] = signed_greys(sample_volume(volume, weights))
    crops[0, 1] = cells_inside(weights)
    return {"crops": crops, "place": place_channels(region, box, grid)[None]}


def mirrored_logits(graph: Graph, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Sum of a region's logits (1, Z, Y, X) asked for mirrored along z, y and x, mirrored back."""
    found = []
    for axis in range(3):
        asked = {name: np.ascontiguousarray(np.flip(a, axis + 2)) for name, a in inputs.items()}
        asked["place"][:, axis] *= -1
        found.append(np.flip(graph.run(asked)[0], axis + 1))
    return np.asarray(found[0] + found[1] + found[2])


def draw_region(
    labels: NDArray[np.unsignedinteger],
    logits: NDArray[np.float32],
    region: Edges3,
    box: Edges3,
    label: int,
) -> None:
    """Write ``label`` in place into the voxels of ``box`` whose logit, trilinear between the cells
    of ``logits`` (Z, Y, X) over ``region``, is above 0."""
    windows, weights = [], []
    for axis, cells in zip((2, 1, 0), logits.shape, strict=True):
        first, stop = (int(np.ceil(edge - 0.5)) for edge in (box[axis], box[axis + 3]))
        per_voxel = cells / (region[axis + 3] - region[axis])
        low, high = ((edge - region[axis]) * per_voxel for edge in (first, stop))
        windows.append(slice(first, stop))
        weights.append(axis_weights(low, high, cells, stop - first))
    of_z, of_y, of_x = weights
    target = labels[tuple(windows)]
    rows = np.matmul(of_y, logits)  # (Z, h, X)
    planes = rows.reshape(len(rows), -1)
    step = max(1, _CHUNK_VOXELS // (target.shape[1] * target.shape[2]))
    for z in range(0, len(target), step):
        part = (of_z[z : z + step] @ planes).reshape(-1, *rows.shape[1:])  # (slices, h, X)
        np.copyto(target[z : z + step], labels.dtype.type(label), where=np.matmul(part, of_x.T) > 0)


def filled_share(logits: NDArray[np.float32], region: Edges3, box: Edges3) -> float:
    """Share of the cells inside ``box`` whose logit (Z, Y, X, over ``region``) is above 0."""
    inside = [np.abs(place) < 1 for place in cell_places(region, box, logits.shape)]
    return float((logits[np.ix_(*inside)] > 0).mean())


def doubted(
    model: "Model", volume: NDArray[np.uint8], box: NDArray[np.float64], share: float
) -> NDArray[np.bool_] | None:
    """The mask (D, H, W) of an inclusive box (6,) by encoder and decoder, slice by slice, where it
    fills at least twice ``share`` of the box and is not empty."""
    from inference.volume import answer_volume

    mask = answer_volume(model, volume, box[None]) > 0
    found, voxels = np.count_nonzero(mask), np.prod(box[3:] - box[:3] + 1)
    return mask if found > 0 and found >= 2 * share * voxels else None


def answer_regions(
    model: "Model", volume: NDArray[np.uint8], boxes: NDArray[np.float64]
) -> NDArray[np.unsignedinteger]:
    """Labels (D, H, W) of checked inclusive boxes (N, 6), one run a box; which box a voxel of two
    masks belongs to says the model's ``overlap``.

    The network knows few kinds of objects that fill the field of view, and takes some for hollow; a
    sparse answer is therefore compared with the walk through the slices (``doubt_below``).
    """
    rule = model.spec.volume_region
    assert rule is not None
    labels = np.zeros(volume.shape, label_type(len(boxes)))
    with Progress("boxes", len(boxes)) as progress:
        for i in painting_order(boxes, model.spec.overlap):
            x0, y0, z0, x1, y1, z1 = boxes[i].tolist()
            box = (x0, y0, z0, x1 + 1, y1 + 1, z1 + 1)
            region = volume_region(box, rule)
            with span("region"):
                inputs = region_inputs(volume, region, box, rule.grid)
            graph = model.volume_graph
            with span("volume graph"):
                logits = graph.run(inputs)[0]
                if rule.mirrored:
                    logits = (logits + mirrored_logits(graph, inputs)) * np.float32(0.25)
            if logits.shape != (1, *rule.grid):
                found = f"{(1, *rule.grid)}, found {logits.shape}"
                raise EngineError(f"{rule.graph}: expected logits {found}")
            above = logits[0] - np.float32(rule.threshold)
            share = filled_share(above, region, box) if rule.doubt_below else 1.0
            walked = doubted(model, volume, boxes[i], share) if share < rule.doubt_below else None
            if walked is not None:
                labels[walked] = i + 1
            else:
                with span("draw"):
                    draw_region(labels, above, region, box, i + 1)
            progress.step()
    return as_label_type(labels, model.spec.label_type)
