"""How a model is asked about scribbles, as its bundle says; needs nothing, so that a bundle is read
before anything heavy is."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScribbleRule:
    """How a model is asked about strokes, see :mod:`inference.scribble`."""

    decoder: str
    """The graph: ``embedding`` and ``strokes`` (1, 1, 256, 256), 0 or 1, to logits (1, h, w)."""
    strokes: Literal["touched", "resized"] = "touched"
    """A cell of the prompt is set where a stroke touches it; or where the strokes, resized as an
    8-bit picture of 0 and 1, do not round to 0: thin strokes of large pictures vanish."""
