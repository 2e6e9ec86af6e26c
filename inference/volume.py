"""The pipeline of a volume: from the middle slice of each box outwards, every slice encoded at most
once.

The organisers' baseline walks box by box and encodes a slice again for every box.  Here two sweeps
serve all boxes together: upwards from the lowest middle slice, then downwards from the highest.  A
slice that both sweeps need is kept between them; the number of its remaining uses is known
beforehand, so it is dropped the moment it is not needed.  The next slices are encoded while one is
decoded (:mod:`inference.lookahead`).
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from inference.case import label_type
from inference.decoder import Embedding, Prompt, shares_draws
from inference.lookahead import Lookahead
from inference.model import Model
from inference.overlap import paint, ranks_of
from inference.postprocess import Mask, as_label_type
from inference.progress import Progress
from inference.resample import Rect
from inference.tracking import Track, make_tracking, make_tracks

log = logging.getLogger(__name__)

CACHE_BYTES = 1 << 29
"""Most memory that kept embeddings may take, with the pictures that belong to them: about 300
slices of 512 x 512 of the default model."""


class EmbeddingCache:
    """Embeddings of slices that will be needed again, at most ``limit`` bytes of them, the longest
    unused dropped."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[int, Embedding] = OrderedDict()

    def get(self, z: int) -> Embedding | None:
        """The embedding of slice ``z``, if it is kept."""
        if z in self._kept:
            self._kept.move_to_end(z)
        return self._kept.get(z)

    def __contains__(self, z: object) -> bool:
        """Whether slice ``z`` is kept; looking is no use of it."""
        return z in self._kept

    def keep(self, z: int, embedding: Embedding) -> None:
        """Keep an embedding, dropping others where they would be too many bytes together."""
        self.drop(z)
        self._kept[z] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self._limit and self._kept:
            oldest, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
            log.warning(
                "embedding cache full: slice %d is dropped and may be encoded again", oldest
            )

    def drop(self, z: int) -> None:
        """Forget slice ``z``."""
        dropped = self._kept.pop(z, None)
        self._bytes -= dropped.nbytes if dropped else 0


class VolumeWalk:
    """One volume with its boxes, walked once."""

    def __init__(
        self,
        model: Model,
        volume: NDArray[np.uint8],
        tracks: list[Track],
        cache_bytes: int = CACHE_BYTES,
        ranks: NDArray[np.intp] | None = None,
    ) -> None:
        """``ranks``: which label lies over which, see :func:`inference.overlap.paint`."""
        self.model, self.volume, self.tracks = model, volume, tracks
        self.labels = np.zeros(volume.shape, label_type(len(tracks)))
        self._ranks = ranks
        self._tracking = make_tracking(model.spec, *volume.shape[1:])
        self._cache = EmbeddingCache(cache_bytes)
        slices = self._order()
        self._uses = Counter(slices)
        self._source = Lookahead(
            self._encode, slices, model.slices_ahead, threads=model.slice_streams
        )

    def run(self) -> NDArray[np.unsignedinteger]:
        """Labels (D, H, W)."""
        last: dict[int, Mask] = {}
        middles: dict[int, Mask] = {}
        steps = list(self._steps())
        with Progress("slices", len(steps)) as progress, self._source:
            for upwards, z, active in steps:
                embedding = self._embedding(z)
                prompts = [
                    self._tracking.prompt(track, z, self._prior(track, z, upwards, last, middles))
                    for track in active
                ]
                masks = self._answer(embedding, prompts)
                for track, mask in zip(active, masks, strict=True):
                    paint(self.labels[z], mask, track.label, self._ranks)
                    last[track.label] = mask
                    if z == track.middle:
                        middles[track.label] = mask
                progress.step()
        return self.labels

    def _order(self) -> list[int]:
        """Slices in the order in which their embeddings are asked for, repeats included."""
        return [z for _, z, _ in self._steps()]

    def _steps(self) -> Iterator[tuple[bool, int, list[Track]]]:
        """(upwards, slice, tracks to answer there), in order."""
        for z in range(len(self.volume)):
            active = [t for t in self.tracks if t.middle <= z <= t.z_max]
            if active:
                yield True, z, active
        for z in reversed(range(len(self.volume))):
            active = [t for t in self.tracks if t.z_min <= z < t.middle]
            if active:
                yield False, z, active

    @staticmethod
    def _prior(
        track: Track, z: int, upwards: bool, last: dict[int, Mask], middles: dict[int, Mask]
    ) -> Mask | None:
        """The mask one slice nearer to the middle; None in the middle itself."""
        if z == track.middle:
            return None
        if not upwards and z == track.middle - 1:
            return middles[track.label]
        return last[track.label]

    def _answer(self, embedding: Embedding, prompts: list[Prompt]) -> list[Mask]:
        """Masks of a slice; one that comes out empty is asked for once more with the given box
        alone.

        A box says that its object reaches from its first to its last slice, so an empty slice means
        that it was lost.
        """
        masks = self.model.answer(embedding, prompts)
        if not self._tracking.retries:
            return masks
        lost = [
            i for i, (m, p) in enumerate(zip(masks, prompts, strict=True)) if m.is_empty and p.prior
        ]
        again = [
            Prompt(_kept(prompts[i]), prompts[i].keep, None, True, prompts[i].depth) for i in lost
        ]
        if again:
            for i, mask in zip(lost, self.model.answer(embedding, again), strict=True):
                masks[i] = mask
        return masks

    def _embedding(self, z: int) -> Embedding:
        """The embedding of slice ``z``, kept for as long as a later step needs it."""
        self._uses[z] -= 1
        embedding = self._cache.get(z)
        if embedding is None:
            embedding = self._source.take(z)
        if self._uses[z] > 0:
            self._cache.keep(z, embedding)
        else:
            self._cache.drop(z)
        self._source.step(self._cache)
        return embedding

    def _encode(self, z: int) -> Embedding:
        return self.model.embed_slice(self._picture(z))

    def _picture(self, z: int) -> NDArray[np.uint8]:
        """What the encoder is shown of slice ``z``."""
        if self.model.spec.volume.channels == "repeat":
            return np.asarray(self.volume[z])
        return neighbour_slices(self.volume, z)


def _kept(prompt: Prompt) -> Rect:
    """The given box of a prompt inside a volume."""
    return prompt.edges if prompt.keep is None else prompt.keep


def neighbour_slices(volume: NDArray[np.uint8], z: int) -> NDArray[np.uint8]:
    """(H, W, 3): the slice below ``z``, ``z`` and the one above; at an end the end slice stands
    in."""
    last = len(volume) - 1
    inner = 0 < z < last
    chosen = volume[z - 1 : z + 2] if inner else volume[[max(z - 1, 0), z, min(z + 1, last)]]
    return np.moveaxis(chosen, 0, 2)


def answer_volume(
    model: Model, volume: NDArray[np.uint8], boxes: NDArray[np.float64]
) -> NDArray[np.unsignedinteger]:
    """Labels (D, H, W) of checked inclusive boxes (N, 6); without boxes nothing is encoded."""
    rule = model.spec.volume
    tracks = make_tracks(boxes.tolist(), rule.z_range)
    walk = VolumeWalk
    if rule.embeddings == "last-encoded" or shares_draws(model.spec):
        from inference.box_walk import AliasedWalk, BoxWalk

        walk = AliasedWalk if rule.embeddings == "last-encoded" else BoxWalk
    ranks = ranks_of(boxes, model.spec.overlap)
    labels = walk(model, volume, tracks, ranks=ranks).run()
    return as_label_type(labels, model.spec.label_type)
