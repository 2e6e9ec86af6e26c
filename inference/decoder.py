"""What a decoder is asked and answers; the two kinds are :mod:`inference.region_decoder` and
:mod:`inference.sam_decoder`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.engine import Array, Graph
from inference.postprocess import Mask
from inference.preprocess import Frame
from inference.resample import Rect

if TYPE_CHECKING:
    from inference.bundle import ModelSpec
    from inference.drawn_prompts import Draws
    from inference.other_boxes import OtherBoxes


@dataclass(frozen=True)
class Prompt:
    """What is asked about one object of one picture."""

    edges: Rect
    """Edges of the box, picture pixels."""
    keep: Rect | None = None
    """Nothing of the mask may lie outside these edges."""
    prior: Mask | None = None
    """The object in the neighbouring slice."""
    in_volume: bool = False
    depth: float = 0.0
    """Distance from the middle of the box along z, 0..1."""
    input_box: Rect | None = None
    """SAM decoders: the box as the decoder takes it, where the walk through a volume worked it out
    in the encoder's own pixels; None: worked out from ``edges``."""
    draws: "Draws | None" = None
    """Where the random numbers of drawn prompts come from; None: from a beginning of their own."""
    others: "OtherBoxes | None" = None
    """The picture's other boxes, of models that look at them."""


@dataclass(frozen=True)
class Embedding:
    """One picture as its model sees it; enough to answer any box without encoding again."""

    frame: Frame
    tensors: Mapping[str, Array]
    """What the encoder gave, in the shapes and by the names that the decoder takes."""
    picture: NDArray[np.uint8]
    """(H, W) or (H, W, 3)."""
    shown: NDArray[np.bool_] | None = None
    """(S, S), of models with drawn prompts: where the encoder's input is not 0."""
    for_many: bool = False
    """Whether ``tensors`` are for the model's decoder of many boxes."""

    @property
    def nbytes(self) -> int:
        """Memory that keeping it costs at most; the picture may be a view of its volume."""
        shown = 0 if self.shown is None else self.shown.nbytes
        return sum(t.nbytes for t in self.tensors.values()) + self.picture.nbytes + shown


class Decoder(Protocol):
    """Turns prompts about an embedded picture into masks."""

    def expect(self, frame: Frame) -> None:
        """Work out what every answer about a picture of this frame needs, while its graphs are
        opened; not needed."""

    def answer(
        self, graph: Graph, embedding: Embedding, prompts: Sequence[Prompt], at_once: int = 1
    ) -> Iterator[Mask]:
        """One mask a prompt, in picture pixels, each drawn when it is asked for.

        Args:
            graph: the compiled decoder, for ``boxes_at_once`` boxes.
            prompts: any number, asked about in :func:`batches`; the last is repeated to fill the
                last one.
            at_once: runs of the graph that may go on at a time.
        """


def batches(count: int, size: int) -> list[slice]:
    """Of ``count`` prompts ``size`` at a time, the last time perhaps fewer."""
    return [slice(start, start + size) for start in range(0, count, size)]


def make_decoder(spec: "ModelSpec") -> Decoder:
    """The kind of decoder that a model of a bundle has."""
    if spec.sam is not None:
        from inference.sam_decoder import SamDecoder

        return SamDecoder(spec, spec.sam)
    from inference.region_decoder import RegionDecoder

    return RegionDecoder(spec)


def shares_draws(spec: "ModelSpec") -> bool:
    """Whether all boxes of a case draw from the same random numbers: their order matters."""
    return spec.drawn is not None and spec.drawn.stream == "case"


def make_draws(spec: "ModelSpec") -> "Draws | None":
    """The random numbers that all boxes of a case share; None where they share none."""
    if spec.drawn is None or not shares_draws(spec):
        return None
    from inference.drawn_prompts import Draws

    return Draws(spec.drawn)


def make_others(spec: "ModelSpec", edges: NDArray[np.float64], index: int) -> "OtherBoxes | None":
    """All boxes (N, 4) of a picture beside the one that is asked about; None where the model does
    not look at them."""
    if spec.region is None or not spec.region.others:
        return None
    from inference.other_boxes import OtherBoxes

    return OtherBoxes(edges, index)
