"""Training samples: a picture, some of its objects, and the prompts that a user would draw for
them.

Everything geometric goes through ``inference``'s own functions, so that a model sees in training
what it will see in use.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from inference.preprocess import Frame, encoder_input
from inference.prompt import box_regions
from inference.resample import Rect, resample
from inference.rules import Normalisation, RegionRule
from training.augmentation import augment_geometry, augment_intensity, warp_some
from training.corruption import corrupt
from training.errors import TrainingError
from training.prompts import DrawnPrompt, draw_pictured, draw_slice
from training.recipe import SampleConfig
from training.store import StoredCase
from training.synthesis import synthetic_picture

S = TypeVar("S")

_ATTEMPTS = 200
"""Cases drawn for one sample before the store is declared empty; a slice may show nothing."""


@dataclass(frozen=True)
class Sample:
    """One picture and up to N objects of it; shapes as :class:`training.mask_decoder.MaskDecoder`
    takes them."""

    image: NDArray[np.float32]  # (3, S, S)
    crops: NDArray[np.float32]  # (N, 4 or 6, R, R)
    regions: NDArray[np.float32]  # (N, 4) encoder-input pixels
    boxes: NDArray[np.float32]  # (N, 4) encoder-input pixels
    context: NDArray[np.float32]  # (N, 2)
    targets: NDArray[np.float32]  # (N, R, R) share of the object in each pixel


class SampleSet(Dataset[Sample]):
    """Endless samples, balanced over (dims, modality) and, within each, over sources and objects.

    Sample ``i`` depends on the seed and on ``i`` alone: a run that goes on, with more workers or on
    more GPUs, sees what it would have seen.
    """

    def __init__(
        self,
        cases: list[StoredCase],
        input_size: int,
        rule: RegionRule,
        regions_per_image: int,
        seed: int,
        config: SampleConfig | None = None,
    ) -> None:
        self.config = config or SampleConfig()
        wanted = self.config.modalities
        self.cases = [c for c in cases if not wanted or c.info.modality in wanted]
        if not self.cases:
            among = f" of {', '.join(wanted)}" if wanted else ""
            raise TrainingError(f"store: expected training cases{among}, found none")
        self.input_size, self.rule = input_size, rule
        self.regions_per_image, self.seed = regions_per_image, seed
        self.weights = case_weights(self.cases, self.config)
        counts = Counter(c.info.modality for c in self.cases if not c.is_volume)
        self.thin = {m for m, n in counts.items() if n < self.config.synthesis_below}

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        for _ in range(_ATTEMPTS):
            case = self.cases[rng.choice(len(self.cases), p=self.weights)]
            sample = self.draw(case, rng)
            if sample is not None:
                return sample
        raise TrainingError(f"store: expected objects, found none in {_ATTEMPTS} cases")

    def draw(self, case: StoredCase, rng: np.random.Generator) -> Sample | None:
        """A sample of ``case``; None when the slice drawn shows nothing."""
        drawn = self.draw_picture(case, rng)
        if drawn is None or not drawn[1]:
            return None
        picture, prompts = drawn
        return assemble(self.changed(picture, case, rng), prompts, self.input_size, self.rule)

    def changed(
        self, picture: NDArray[np.uint8], case: StoredCase, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """A drawn picture of ``case`` with its greys changed at random, spoilt now and then."""
        # Random numbers are drawn for options in use only, so that others change no sample.
        if self.config.corruption and rng.random() < self.config.corruption:
            picture = corrupt(picture, case.info.modality, rng)
        return augment_intensity(picture, rng)

    def draw_picture(
        self, case: StoredCase, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[DrawnPrompt]] | None:
        """A picture (H, W, 3) of ``case`` and what is asked about it."""
        config, limit, together = self.config, self.regions_per_image, self.rule.others
        if case.is_volume:
            return draw_slice(case, limit, config, rng, together)
        picture, labels = augment_geometry(np.asarray(case.imgs), np.asarray(case.gts), rng)
        picture, labels = warp_some(picture, labels, config.warp, rng)
        thin = config.synthesis > 0 and case.info.modality in self.thin
        if thin and rng.random() < config.synthesis:
            picture = synthetic_picture(labels, picture, rng)
        return picture, draw_pictured(labels, limit, config, rng, together)


def batches(
    samples: Dataset[S],
    steps: range,
    per_step: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    together: Callable[[list[S]], dict[str, Tensor]] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """The batches of ``steps``; process ``rank`` of ``world`` gets every world-th sample.

    ``together`` makes a batch of samples; default: :func:`collate`.
    """
    indices = [list(range(step * per_step + rank, (step + 1) * per_step, world)) for step in steps]
    loader: DataLoader[S] = DataLoader(
        samples,
        batch_sampler=indices,
        num_workers=workers,
        collate_fn=together or collate,
        prefetch_factor=6 if workers else None,
    )
    return iter(loader)


def case_weights(
    cases: Sequence[StoredCase], config: SampleConfig | None = None
) -> NDArray[np.float64]:
    """Probability of each case: the square root of its stratum's size shared out, first by
    modality, then by source."""
    config = config or SampleConfig()
    by_modality: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for i, case in enumerate(cases):
        by_modality[case.info.dims, case.info.modality][case.info.source].append(i)
    weights = np.zeros(len(cases))
    for (dims, modality), sources in by_modality.items():
        count = sum(map(len, sources.values()))
        share = np.sqrt(count) * config.modality_bonus.get(modality, 1.0)
        share *= config.volume_bonus if dims == "3D" else 1.0
        roots = {s: np.sqrt(len(m)) for s, m in sources.items()}
        for source, members in sources.items():
            weights[members] = share * roots[source] / sum(roots.values()) / len(members)
    return np.asarray(weights / weights.sum())


def assemble(
    picture: NDArray[np.float32], prompts: list[DrawnPrompt], input_size: int, rule: RegionRule
) -> Sample:
    """Cut the encoder's picture and every region, exactly as ``inference`` does."""
    frame = Frame.fit(picture.shape[0], picture.shape[1], input_size, "longest-side")
    image = encoder_input(picture, frame, Normalisation())
    edges = np.array([p.edges for p in prompts], dtype=np.float64)
    regions = box_regions(edges, rule)
    side = (rule.side, rule.side)
    crops = np.zeros((len(prompts), rule.channels, *side), np.float32)
    targets = np.zeros((len(prompts), *side), np.float32)
    for i, prompt in enumerate(prompts):
        rect: Rect = tuple(regions[i])
        crops[i, :3] = np.moveaxis(resample(picture, rect, side), 2, 0)
        targets[i] = resample(prompt.target, rect, side)
        if prompt.prior is not None:
            crops[i, 3] = resample(prompt.prior, rect, side)
        if rule.others and prompt.others is not None:
            crops[i, 4:] = prompt.others.shown(rect, rule.side)
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
