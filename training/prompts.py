"""The prompts that a user would draw: boxes around objects of a picture, and the steps of
propagation through a volume."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.other_boxes import OtherBoxes
from inference.prompt import mask_edges, slice_depth
from inference.volume import neighbour_slices
from training.augmentation import turned, turned_edges, warp_some
from training.recipe import SampleConfig
from training.store import StoredCase


@dataclass(frozen=True)
class DrawnPrompt:
    """What the decoder is asked for one object."""

    edges: tuple[float, float, float, float]
    context: tuple[float, float]
    """As :class:`training.mask_decoder.MaskDecoder` takes it."""
    target: NDArray[np.bool_]
    prior: NDArray[np.bool_] | None
    others: OtherBoxes | None = None
    """The picture's other boxes, where they are shown."""


def draw_pictured(
    labels: NDArray[np.uint16],
    limit: int,
    config: SampleConfig,
    rng: np.random.Generator,
    together: bool,
) -> list[DrawnPrompt]:
    """What is asked about a picture: :func:`draw_together` or :func:`draw_objects`."""
    if together:
        return draw_together(labels, limit, config.known_tight, rng)
    return draw_objects(labels, limit, config.known_tight, rng, config.nested)


def draw_objects(
    labels: NDArray[np.uint16],
    limit: int,
    known_tight: float,
    rng: np.random.Generator,
    nested: bool = False,
) -> list[DrawnPrompt]:
    """Boxes as users draw them around up to ``limit`` objects of a picture.

    ``nested``: what lies inside an object belongs to it, as in :func:`draw_together`.
    """
    present = np.unique(labels)
    present = rng.permutation(present[present > 0])[:limit]
    inside = objects_inside(labels, ndimage.find_objects(labels.astype(np.int32))) if nested else {}
    prompts = []
    for label in present:
        within = inside.get(int(label))
        target = np.isin(labels, [label, *within]) if within else labels == label
        edges = mask_edges(target)
        if edges is not None and target.sum() >= 4:
            prompts.append(draw_box(edges, target, known_tight, rng))
    return prompts


def draw_together(
    labels: NDArray[np.uint16], limit: int, known_tight: float, rng: np.random.Generator
) -> list[DrawnPrompt]:
    """As :func:`draw_objects`, with a box for every object of the picture, so that each is asked
    about beside the others.

    Half of the pictures have boxes that are all tight, or all moved in one way; a fifth is asked
    about one box at a time, and some beside a part of the others, for not every user draws all.

    What lies inside an object belongs to it: a disc is asked for with its cup, which as the object
    inside keeps its pixels when masks are painted (:mod:`inference.overlap`).  A ring that is one
    because of its labels alone cannot be told from a disc by a box.
    """
    found = ndimage.find_objects(labels.astype(np.int32))
    counts = np.bincount(labels.ravel(), minlength=len(found) + 1)
    present = [k for k, where in enumerate(found, 1) if where is not None and counts[k] >= 4]
    inside = objects_inside(labels, found)
    kind = rng.random() if rng.random() < 0.5 else None
    asked = rng.permutation(present)[:_MOST_BOXES]
    tight = [
        (float(x.start), float(y.start), float(x.stop), float(y.stop))
        for y, x in (found[label - 1] for label in asked)
    ]
    drawn = [jitter(edges, labels.shape, rng, kind) for edges in tight]
    given = rng.random()
    alone, kept = given < 0.2, np.ones(len(drawn), np.bool_)
    if 0.2 <= given <= 0.35:
        kept = rng.random(len(drawn)) < 0.5
    prompts = []
    for i, label in enumerate(asked[:limit]):
        target = np.isin(labels, [label, *inside[label]]) if inside[label] else labels == label
        prompt = as_drawn(drawn[i], tight[i], target, known_tight, rng)
        if not alone:
            shown = kept.copy()
            shown[i] = True
            others = OtherBoxes(np.array(drawn)[shown], int(shown[:i].sum()))
            prompt = replace(prompt, others=others)
        prompts.append(prompt)
    return prompts


def objects_inside(
    labels: NDArray[np.uint16], found: Sequence[tuple[slice, ...] | None]
) -> dict[int, list[int]]:
    """The objects that lie inside each object of a picture, and inside those.

    One lies inside another, whose box is the larger (a ring may have fewer pixels), where most of
    the pixels around it are the other's; at the picture's border there are none.

    Args:
        found: where each label from 1 on lies, as ``ndimage.find_objects`` gives it.
    """
    sizes = [0] + [
        0 if w is None else (w[0].stop - w[0].start) * (w[1].stop - w[1].start) for w in found
    ]
    inside: dict[int, list[int]] = {k: [] for k in range(1, len(found) + 1)}
    for label in sorted(inside, key=lambda k: sizes[k]):  # inner objects first
        where = found[label - 1]
        if where is None:
            continue
        rows, columns = where
        window = labels[max(rows.start - 1, 0) : rows.stop + 1,
                        max(columns.start - 1, 0) : columns.stop + 1]  # fmt: skip
        own = window == label
        around = window[ndimage.binary_dilation(own) & ~own]
        counts = np.bincount(around, minlength=1)
        other = int(counts.argmax())
        if other and counts[other] > len(around) * _MOSTLY and sizes[other] > sizes[label]:
            inside[other] += [label, *inside[label]]
    return inside


_MOSTLY = 0.6
"""Share of the pixels around an object that have to be another's for it to lie inside."""

_MOST_BOXES = 100
"""Boxes of a picture that others are shown beside."""


def draw_box(
    edges: tuple[float, float, float, float],
    target: NDArray[np.bool_],
    known_tight: float,
    rng: np.random.Generator,
) -> DrawnPrompt:
    """A box as a user draws it around an object with these tight edges."""
    return as_drawn(jitter(edges, target.shape, rng), edges, target, known_tight, rng)


def as_drawn(
    drawn: tuple[float, float, float, float],
    tight: tuple[float, float, float, float],
    target: NDArray[np.bool_],
    known_tight: float,
    rng: np.random.Generator,
) -> DrawnPrompt:
    """A box that was drawn around an object; of those that stayed tight a share ``known_tight``
    says so."""
    told = known_tight > 0 and drawn == tight and rng.random() < known_tight
    return DrawnPrompt(drawn, (0.0, float(told)), target, None)


def jitter(
    edges: tuple[float, float, float, float],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    kind: float | None = None,
) -> tuple[float, float, float, float]:
    """Half of the boxes stay tight; a fifth have each side moved a little, mostly outward; the
    rest are loosened by up to 5 % of the image side, however small the object is.

    ``kind``, 0..1, says which of these; None: drawn.
    """
    kind = rng.random() if kind is None else kind
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
    case: StoredCase,
    limit: int,
    config: SampleConfig,
    rng: np.random.Generator,
    together: bool = False,
) -> tuple[NDArray[np.uint8], list[DrawnPrompt]] | None:
    """A slice of a volume with prompts as propagation meets them; None where nothing was drawn.

    ``config.picture_share`` of the slices are shown alone, as the 2D cases of their modality are;
    the others with their neighbours as channels.  ``together``: boxes of the former are drawn as
    :func:`draw_together` does.
    """
    boxes = volume_boxes(case)
    ranges = [np.arange(b[2], b[5] + 1) for b in boxes.values()]
    z = int(rng.choice(np.unique(np.concatenate(ranges))))
    picture = neighbour_slices(case.imgs, z)
    picture = picture[..., ::-1] if rng.random() < 0.5 else picture
    as_picture = rng.random() < config.picture_share
    if as_picture:
        picture = np.repeat(picture[..., 1:2], 3, axis=2)
    turn = (rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.3)
    if as_picture and (together or config.warp or config.nested):
        picture, labels = turned(picture, *turn), turned(np.asarray(case.gts[z]), *turn)
        picture, labels = warp_some(picture, labels, config.warp, rng)
        prompts = draw_pictured(labels, limit, config, rng, together)
        return (picture, prompts) if prompts else None
    present = rng.permutation([k for k, b in boxes.items() if b[2] <= z <= b[5]])[:limit]
    drawn = [draw_step(case, int(k), z, as_picture, config.known_tight, rng) for k in present]
    prompts = [
        DrawnPrompt(
            turned_edges(p.edges, case.gts.shape[1:], *turn),
            p.context,
            turned(p.target, *turn),
            None if p.prior is None else turned(p.prior, *turn),
        )
        for p in drawn
        if p is not None
    ]
    return (turned(picture, *turn), prompts) if prompts else None


def draw_step(
    case: StoredCase,
    label: int,
    z: int,
    as_picture: bool,
    known_tight: float,
    rng: np.random.Generator,
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
        return None if tight is None else draw_box(tight, target, known_tight, rng)
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
    moves = rng.integers(-most, most + 1, 2)
    # what leaves the window does not come back at its other side, and it goes on beyond a border
    part = ndimage.shift(part, moves, order=0, mode="nearest")
    soft = ndimage.gaussian_filter(part, 0.3 + size * rng.uniform(0.01, 0.08))
    dents = rng.normal(size=part.shape).astype(np.float32)
    dents = ndimage.gaussian_filter(dents, 0.5 + size * rng.uniform(0.04, 0.2))
    dents *= rng.uniform(0, 0.35) / (dents.std() + 1e-6)
    rough = np.zeros_like(mask)
    rough[rows, columns] = soft + dents > rng.uniform(0.3, 0.65)
    return rough
