"""Walks of published programs through a volume: box by box, each from its middle up, then down.

MedficientSAM's C++ program keeps the encoder's output tensor of every slice, but OpenVINO hands out
the same buffer every time, so all that it kept read as the slice encoded last (``challenge.md``
B6): from the second box on, a slice that an earlier box has met is answered from the wrong
embedding.
"""

from collections.abc import Iterator

from inference.decoder import Embedding
from inference.tracking import Track
from inference.volume import VolumeWalk


class BoxWalk(VolumeWalk):
    """Box by box, which is the order in which prompts are drawn from one stream of numbers."""

    def _steps(self) -> Iterator[tuple[bool, int, list[Track]]]:
        for track in self.tracks:
            for z in range(track.middle, track.z_max + 1):
                yield True, z, [track]
            for z in range(track.middle - 1, track.z_min - 1, -1):
                yield False, z, [track]


class AliasedWalk(BoxWalk):
    """Every slice encoded once, and every later look at it the last embedding."""

    _last: Embedding | None = None

    def _order(self) -> list[int]:
        return list(dict.fromkeys(super()._order()))

    def _embedding(self, z: int) -> Embedding:
        if self._last is None:
            self._met: set[int] = set()
        if self._last is None or z not in self._met:
            self._met.add(z)
            self._last = self._source.take(z)
            self._source.step(())
        return self._last
