"""Training samples of whole boxes: the region around an object of a volume, and which of its cells
are the object.

The geometry is :mod:`inference.volume_region`'s, so that the network sees in training what it will
see in use.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from inference.rules import VolumeRegionRule
from inference.volume_region import (
    cell_places,
    cell_weights,
    cells_inside,
    place_channels,
    sample_volume,
    signed_greys,
    volume_region,
)
from training.errors import TrainingError
from training.prompts import volume_boxes
from training.recipe import SampleConfig, VolumeSampleConfig
from training.samples import case_weights
from training.store import StoredCase
from training.volume_augmentation import (
    COARSEST,
    Piece,
    augment_cells,
    coarsen,
    flip,
    loosen,
    turn,
)

_ATTEMPTS = 50
"""Boxes drawn for one sample: a small object may vanish when its volume is coarsened."""


@dataclass(frozen=True)
class VolumeSample:
    """One box; shapes as :class:`training.volume_model.VolumeNetwork` takes them."""

    crops: NDArray[np.float32]  # (2, Z, Y, X)
    place: NDArray[np.float32]  # (6, Z, Y/2, X/2)
    targets: NDArray[np.float32]  # (Z, Y, X) share of the object in each cell
    inside: NDArray[np.float32]  # (Z, Y, X) 1 in the box


class VolumeSampleSet(Dataset[VolumeSample]):
    """Endless boxes of volumes, balanced over modalities and, within each, over sources, by the
    square root of how many boxes there are.

    Sample ``i`` depends on the seed and on ``i`` alone.
    """

    def __init__(
        self,
        cases: list[StoredCase],
        rule: VolumeRegionRule,
        seed: int,
        config: VolumeSampleConfig | None = None,
    ) -> None:
        self.config, self.rule, self.seed = config or VolumeSampleConfig(), rule, seed
        wanted = self.config.modalities
        self.boxes = [
            (case, label)
            for case in cases
            if case.is_volume and (not wanted or case.info.modality in wanted)
            for label in volume_boxes(case)
        ]
        if not self.boxes:
            among = f" of {', '.join(wanted)}" if wanted else ""
            raise TrainingError(f"store: expected training volumes{among}, found none")
        shares = SampleConfig(modality_bonus=self.config.modality_bonus)
        self.weights = case_weights([case for case, _ in self.boxes], shares)

    def __getitem__(self, index: int) -> VolumeSample:
        rng = np.random.default_rng([self.seed, index])
        for _ in range(_ATTEMPTS):
            case, label = self.boxes[rng.choice(len(self.boxes), p=self.weights)]
            piece = self.draw_piece(case, label, rng)
            if piece is not None:
                return assemble_volume(piece, self.rule, rng)
        raise TrainingError(f"store: expected objects, found none in {_ATTEMPTS} boxes")

    def draw_piece(self, case: StoredCase, label: int, rng: np.random.Generator) -> Piece | None:
        """The volume around an object, changed at random; None where nothing is left of it."""
        config, rule = self.config, self.rule
        loosened = rng.random() < config.loosened
        turned = rng.random() < config.turned
        piece: Piece | None = cut_piece(case, label, rule, 0.05 if loosened else 0.0, turned)
        assert piece is not None
        piece = flip(piece, rng)
        if rng.random() < config.coarsened:
            piece = coarsen(piece, rng)
        if turned and piece is not None:
            piece = turn(piece, rule.grid, rng)
        if piece is None:
            return None
        return loosen(piece, loosened, rng.random() < config.moved_ends, rng)


def cut_piece(
    case: StoredCase, label: int, rule: VolumeRegionRule, loosening: float, turned: bool
) -> Piece:
    """The part of a volume that a region around an object may show, whatever is done to it; of one
    that is turned all but corners."""
    x0, y0, z0, x1, y1, z1 = volume_boxes(case)[label]
    low, high = np.array([z0, y0, x0]), np.array([z1, y1, x1]) + 1
    shape = np.array(case.gts.shape)
    reach = np.array([0.0, loosening, loosening]) * shape
    margins = np.array([rule.depth_margin, rule.margin, rule.margin])
    own = np.maximum((margins + 0.25 * turned) * (high - low), rule.min_margin * COARSEST)
    pads = np.ceil((1 + 2 * margins) * reach + own).astype(int) + 2 * COARSEST
    start, stop = np.maximum(low - pads, 0), np.minimum(high + pads, shape)
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    edges = (*(low - start)[::-1].tolist(), *(high - start)[::-1].tolist())
    picture = np.asarray(case.imgs[window])
    return Piece(picture, np.asarray(case.gts[window]) == label, None, edges, tuple(shape[1:]))


def assemble_volume(piece: Piece, rule: VolumeRegionRule, rng: np.random.Generator) -> VolumeSample:
    """Cut the region exactly as :mod:`inference.volume_region` does; greys changed at random."""
    box, grid = piece.edges, rule.grid
    region = volume_region(box, rule)
    weights = cell_weights(region, piece.picture.shape, grid)
    crops = np.zeros((2, *grid), np.float32)
    known = cells_inside(weights) if piece.known is None else sample_volume(piece.known, weights)
    crops[1] = known
    cells = sample_volume(piece.picture, weights)
    crops[0] = signed_greys(augment_cells(cells, rng) * (known > 0))
    inside = np.ones(grid, np.float32)
    for axis, place in enumerate(cell_places(region, box, grid)):
        inside *= (np.abs(place) < 1).reshape([-1 if a == axis else 1 for a in range(3)])
    return VolumeSample(
        crops, place_channels(region, box, grid), sample_volume(piece.mask, weights), inside
    )


def collate_volumes(samples: list[VolumeSample]) -> dict[str, Tensor]:
    """Samples stacked."""
    return {
        name: torch.from_numpy(np.stack([getattr(s, name) for s in samples]))
        for name in ("crops", "place", "targets", "inside")
    }
