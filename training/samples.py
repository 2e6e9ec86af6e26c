"""Training samples: a picture, some of its objects, and the prompts that a user would draw for
them.

Everything geometric goes through ``inference``'s own functions, so that a model sees in training
what it will see in use.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.utils.data import IterableDataset

from inference.preprocess import Frame, Normalisation, encoder_input
from inference.prompt import RegionRule, box_regions, mask_edges, slice_depth
from inference.resample import Rect, resample
from inference.volume import neighbour_slices
from training.store import StoredCase

T = TypeVar("T", bound=np.generic)

VOLUME_BONUS = 2.0
"""A stratum of volumes is drawn this many times more often than one of as many pictures: a volume
has many slices."""

MODALITY_BONUS = {"Fundus": 1.6, "Dermoscopy": 1.4, "PET": 2.0, "OCT": 1.5}
"""Modalities drawn more often: those in which validation at step 1,400 was below the inscribed
ellipse, whose objects are close to ellipses and forgive the least."""


PICTURE_SHARE = 0.25
"""Slices of volumes shown alone, as the 2D cases of their modality are."""


@dataclass(frozen=True)
class Sample:
    """One picture and up to N objects of it; shapes as :class:`training.model.MaskDecoder` takes
    them."""

    image: NDArray[np.float32]  # (3, S, S)
    crops: NDArray[np.float32]  # (N, 4, R, R)
    regions: NDArray[np.float32]  # (N, 4) encoder-input pixels
    boxes: NDArray[np.float32]  # (N, 4) encoder-input pixels
    context: NDArray[np.float32]  # (N, 2)
    targets: NDArray[np.float32]  # (N, R, R) share of the object in each pixel


@dataclass(frozen=True)
class DrawnPrompt:
    """What the decoder is asked for one object."""

    edges: tuple[float, float, float, float]
    context: tuple[float, float]
    target: NDArray[np.bool_]
    prior: NDArray[np.bool_] | None


class SampleStream(IterableDataset[Sample]):
    """An endless stream of samples, balanced over (dims, modality) and, within each, over sources
    and objects."""

    def __init__(
        self,
        cases: list[StoredCase],
        input_size: int,
        rule: RegionRule,
        regions_per_image: int,
        seed: int,
    ) -> None:
        self.cases, self.input_size, self.rule = cases, input_size, rule
        self.regions_per_image, self.seed = regions_per_image, seed
        self.weights = case_weights(cases)

    def __iter__(self) -> Iterator[Sample]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            case = self.cases[rng.choice(len(self.cases), p=self.weights)]
            sample = self.draw(case, rng)
            if sample is not None:
                yield sample

    def draw(self, case: StoredCase, rng: np.random.Generator) -> Sample | None:
        """A sample of ``case``; None when the slice drawn shows nothing."""
        if case.is_volume:
            drawn = draw_slice(case, self.regions_per_image, rng)
            if drawn is None:
                return None
            picture, labels, prompts = drawn
        else:
            picture, labels = augment_geometry(np.asarray(case.imgs), np.asarray(case.gts), rng)
            prompts = draw_objects(labels, self.regions_per_image, rng)
        if not prompts:
            return None
        picture = augment_intensity(picture, rng)
        return assemble(picture, prompts, self.input_size, self.rule)


def case_weights(cases: list[StoredCase]) -> NDArray[np.float64]:
    """Probability of each case: the square root of its stratum's size shared out, first by
    modality, then by source."""
    by_modality: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for i, case in enumerate(cases):
        by_modality[case.info.dims, case.info.modality][case.info.source].append(i)
    weights = np.zeros(len(cases))
    for (dims, modality), sources in by_modality.items():
        count = sum(map(len, sources.values()))
        share = np.sqrt(count) * MODALITY_BONUS.get(modality, 1.0)
        share *= VOLUME_BONUS if dims == "3D" else 1.0
        roots = {s: np.sqrt(len(m)) for s, m in sources.items()}
        for source, members in sources.items():
            weights[members] = share * roots[source] / sum(roots.values()) / len(members)
    return weights / weights.sum()


def draw_objects(
    labels: NDArray[np.uint16], limit: int, rng: np.random.Generator
) -> list[DrawnPrompt]:
    """Boxes as users draw them around up to ``limit`` objects of a picture."""
    present = np.unique(labels)
    present = rng.permutation(present[present > 0])[:limit]
    prompts = []
    for label in present:
        target = labels == label
        edges = mask_edges(target)
        if edges is not None and target.sum() >= 4:
            prompts.append(DrawnPrompt(jitter(edges, target.shape, rng), (0.0, 0.0), target, None))
    return prompts


def jitter(
    edges: tuple[float, float, float, float], shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Half of the boxes stay tight; a fifth have each side moved a little, mostly outward; the
    rest are loosened by up to 5 % of the image side, however small the object is.
    """
    kind = rng.random()
    if kind < 0.5:
        return edges
    x0, y0, x1, y1 = edges
    height, width = shape[-2:]
    reach = np.array([0.05 * width, 0.05 * height] * 2)
    if kind < 0.7:
        size = np.array([x1 - x0, y1 - y0] * 2)
        moves = rng.uniform(-0.15, 1.0, 4) * rng.random() * np.minimum(reach, 0.3 * size)
    else:
        moves = rng.uniform(0, 1, 4) * min(1.0, rng.uniform(0.2, 1.6)) * reach
    return (
        float(np.clip(x0 - moves[0], 0, width - 1)),
        float(np.clip(y0 - moves[1], 0, height - 1)),
        float(np.clip(x1 + moves[2], 1, width)),
        float(np.clip(y1 + moves[3], 1, height)),
    )


def jitter_volume(
    box: tuple[int, int, int, int, int, int], shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, int, int, int, int, int]:
    """A volume's box, one time in three loosened in x and y as :func:`jitter` does; z stays."""
    if rng.random() < 2 / 3:
        return box
    height, width = shape[-2:]
    strength = min(1.0, rng.uniform(0.2, 1.6)) * 0.05
    left, right = (rng.uniform(0, 1, 2) * strength * width).astype(int)
    top, bottom = (rng.uniform(0, 1, 2) * strength * height).astype(int)
    return (
        max(0, box[0] - int(left)),
        max(0, box[1] - int(top)),
        box[2],
        min(width - 1, box[3] + int(right)),
        min(height - 1, box[4] + int(bottom)),
        box[5],
    )


def draw_slice(
    case: StoredCase, limit: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], list[DrawnPrompt]] | None:
    """A slice of a volume with prompts as propagation meets them; None where nothing was drawn."""
    boxes = volume_boxes(case)
    ranges = [np.arange(b[2], b[5] + 1) for b in boxes.values()]
    z = int(rng.choice(np.unique(np.concatenate(ranges))))
    picture = neighbour_slices(case.imgs, z)
    picture = picture[..., ::-1] if rng.random() < 0.5 else picture
    as_picture = rng.random() < PICTURE_SHARE
    if as_picture:
        picture = np.repeat(picture[..., 1:2], 3, axis=2)
    labels = np.asarray(case.gts[z])
    turn = (rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.3)
    present = rng.permutation([k for k, b in boxes.items() if b[2] <= z <= b[5]])[:limit]
    drawn = [draw_step(case, int(k), z, as_picture, rng) for k in present]
    prompts = [
        DrawnPrompt(
            turned_edges(p.edges, labels.shape, *turn),
            p.context,
            turned(p.target, *turn),
            None if p.prior is None else turned(p.prior, *turn),
        )
        for p in drawn
        if p is not None
    ]
    return (turned(picture, *turn), turned(labels, *turn), prompts) if prompts else None


def draw_step(
    case: StoredCase, label: int, z: int, as_picture: bool, rng: np.random.Generator
) -> DrawnPrompt | None:
    """One object in one slice, asked for in one of three ways.

    A box of its own as in 2D, the only way where the slice is shown ``as_picture``; the volume's
    box alone, as in the middle slice; and a step outwards, with a prior.  The prior is a slice up
    to three nearer to the middle and roughened: from a clean neighbour a model learns to copy it,
    and then drifts away on its own masks.
    """
    box = jitter_volume(volume_boxes(case)[label], case.gts.shape, rng)
    given = (box[0], box[1], box[3] + 1, box[4] + 1)
    target = np.asarray(case.gts[z] == label)
    depth = slice_depth(z, box[2], box[5])
    kind = rng.random()
    if as_picture or kind < 0.1:
        tight = mask_edges(target)
        return (
            None
            if tight is None
            else DrawnPrompt(jitter(tight, target.shape, rng), (0, 0), target, None)
        )
    if kind < 0.4:
        skip = not target.any() and rng.random() < 0.5
        return None if skip else DrawnPrompt(given, (1.0, depth), target, None)
    middle = (box[2] + box[5]) // 2
    steps = min(int(rng.choice((1, 1, 1, 2, 3))), abs(z - middle))
    nearer = z - steps if z > middle else z + steps
    prior = roughen(np.asarray(case.gts[nearer] == label), rng) if steps else np.zeros_like(target)
    around = mask_edges(prior)
    if around is None:
        return DrawnPrompt(given, (1.0, depth), target, None)
    tracked = inside(around, box)
    follows = rng.random() < 0.5 and tracked[0] < tracked[2] and tracked[1] < tracked[3]
    return DrawnPrompt(tracked if follows else given, (1.0, depth), target, prior)


_BOXES: dict[str, dict[int, tuple[int, int, int, int, int, int]]] = {}


def volume_boxes(case: StoredCase) -> dict[int, tuple[int, int, int, int, int, int]]:
    """Tight inclusive boxes x_min, y_min, z_min, x_max, y_max, z_max of every label of a volume."""
    if case.info.file not in _BOXES:
        found = ndimage.find_objects(np.asarray(case.gts).astype(np.int32))
        _BOXES[case.info.file] = {
            label: (x.start, y.start, z.start, x.stop - 1, y.stop - 1, z.stop - 1)
            for label, where in enumerate(found, 1)
            if where is not None
            for z, y, x in [where]
        }
    return _BOXES[case.info.file]


def inside(
    edges: tuple[float, float, float, float], box: tuple[int, int, int, int, int, int]
) -> tuple[float, float, float, float]:
    """``edges`` clipped to the x and y range of an inclusive volume box."""
    low_x, low_y = max(edges[0], box[0]), max(edges[1], box[1])
    return (low_x, low_y, min(edges[2], box[3] + 1), min(edges[3], box[4] + 1))


def roughen(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask as a model would have drawn it: its outline smoothed, moved and dented at random."""
    edges = mask_edges(mask)
    if edges is None or rng.random() < 0.15:
        return mask
    size = max(edges[2] - edges[0], edges[3] - edges[1])
    reach = int(size / 3) + 3
    rows = slice(max(0, int(edges[1]) - reach), int(edges[3]) + reach)
    columns = slice(max(0, int(edges[0]) - reach), int(edges[2]) + reach)
    part = mask[rows, columns].astype(np.float32)
    most = 1 + int(0.06 * size)
    part = np.roll(part, tuple(rng.integers(-most, most + 1, 2)), (0, 1))
    soft = ndimage.gaussian_filter(part, 0.3 + size * rng.uniform(0.01, 0.08))
    dents = rng.normal(size=part.shape).astype(np.float32)
    dents = ndimage.gaussian_filter(dents, 0.5 + size * rng.uniform(0.04, 0.2))
    dents *= rng.uniform(0, 0.35) / (dents.std() + 1e-6)
    rough = np.zeros_like(mask)
    rough[rows, columns] = soft + dents > rng.uniform(0.3, 0.65)
    return rough


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
    return np.clip(x, 0, 1) * np.float32(255)


def assemble(
    picture: NDArray[np.float32], prompts: list[DrawnPrompt], input_size: int, rule: RegionRule
) -> Sample:
    """Cut the encoder's picture and every region, exactly as ``inference`` does."""
    frame = Frame.fit(picture.shape[0], picture.shape[1], input_size, "longest-side")
    image = encoder_input(picture, frame, Normalisation())
    edges = np.array([p.edges for p in prompts], dtype=np.float64)
    regions = box_regions(edges, rule)
    side = (rule.side, rule.side)
    crops = np.zeros((len(prompts), 4, *side), np.float32)
    targets = np.zeros((len(prompts), *side), np.float32)
    for i, prompt in enumerate(prompts):
        rect: Rect = tuple(regions[i])  # type: ignore[assignment]
        crops[i, :3] = np.moveaxis(resample(picture, rect, side), 2, 0)
        targets[i] = resample(prompt.target, rect, side)
        if prompt.prior is not None:
            crops[i, 3] = resample(prompt.prior, rect, side)
    return Sample(
        image[0],
        crops,
        frame.to_input(regions),
        frame.to_input(edges),
        np.array([p.context for p in prompts], dtype=np.float32),
        targets,
    )


def collate(samples: list[Sample]) -> dict[str, Tensor]:
    """A batch: images stacked, regions of all images one after the other with
    ``image_of_region``."""
    batch = {
        name: torch.from_numpy(np.concatenate([getattr(s, name) for s in samples]))
        for name in ("crops", "regions", "boxes", "context", "targets")
    }
    batch["images"] = torch.from_numpy(np.stack([s.image for s in samples]))
    counts = [len(s.regions) for s in samples]
    batch["image_of_region"] = torch.from_numpy(np.repeat(np.arange(len(samples)), counts))
    return batch
