"""The walk of the challenge's first place through a volume, its defect included.

MedficientSAM's C++ program keeps the encoder's output tensor of every slice, but OpenVINO hands out
the same buffer every time, so all that it kept read as the slice encoded last (``challenge.md``
B6).  Boxes are walked one after the other; from the second on, a slice that an earlier box has met
is answered from the wrong embedding.
"""

from collections.abc import Iterator

from inference.decoder import Embedding
from inference.tracking import Track
from inference.volume import VolumeWalk


class AliasedWalk(VolumeWalk):
    """Box by box, every slice encoded once and every later look at it the last embedding."""

    _last: Embedding | None = None

    def _steps(self) -> Iterator[tuple[bool, int, list[Track]]]:
        for track in self.tracks:
            for z in range(track.middle, track.z_max + 1):
                yield True, z, [track]
            for z in range(track.middle - 1, track.z_min - 1, -1):
                yield False, z, [track]

    def _embedding(self, z: int) -> Embedding:
        if self._last is None:
            self._met: set[int] = set()
        if self._last is None or z not in self._met:
            self._met.add(z)
            self._last = self.model.embed(self._picture(z))
        return self._last
