"""What bundle.json says of a model, as plain data; what is done by it stands in
:mod:`inference.preprocess`, :mod:`inference.prompt` and the decoders.

Without numpy, so that a bundle is read, and its graphs are on their way, before numpy is imported.
"""

from dataclasses import dataclass
from typing import Literal

Resize = Literal["longest-side", "stretch"]
"""``longest-side`` keeps the aspect ratio and pads right and below; ``stretch`` fills the
square."""

LibraryResize = Literal["area", "linear", "pillow", "spline"]
Interpolation = Literal["antialias"] | LibraryResize
"""``antialias``: :func:`inference.resample.resample`; the others round to 8 bits as the libraries
of the published programs do, see :mod:`inference.library_resize`."""


@dataclass(frozen=True)
class Normalisation:
    """What happens to the resized values, 0..255, before padding with zeros."""

    kind: Literal["none", "mean-std", "min-max"] = "none"
    """``none``: the graph does it; ``mean-std``: (x - mean) / std a channel; ``min-max``: to 0..1
    over the picture."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ManyBoxesRule:
    """Graphs of a SAM decoder for pictures with many boxes: what does not depend on the box is
    worked out once, and a run answers several."""

    prepare: str
    """The graph: what the encoder gives to ``names``."""
    decoder: str
    """The graph: as the model's decoder, but it takes ``names`` and ``places`` (M,) besides, the
    embedding only if it wants to; ``places``: which positions of it, row by row, are asked for; its
    logits are (N, M, 4, 4), the pixels of these by row and column."""
    names: tuple[str, ...]
    """What the decoder calls the outputs of ``prepare``, in their order."""
    boxes_at_once: int
    """Boxes in one run of ``decoder``."""
    least: int
    """The smallest number of boxes for which a picture is answered by these graphs."""


@dataclass(frozen=True)
class RegionRule:
    """How much of the picture around a box a decoder looks at."""

    side: int
    """Pixels along each side of the square picture of a region."""
    margin: float
    """Part of the box's width (height) added on the left and on the right (above and below)."""
    max_aspect: float
    """A thin box is widened until its region is at most this many times longer than wide."""
    min_pixels: float
    """Smallest width and height of a region, image pixels."""
    others: bool = False
    """``crops`` has two channels more: where the picture's other boxes lie
    (:mod:`inference.other_boxes`)."""

    @property
    def channels(self) -> int:
        """Of ``crops``: picture, prior mask and, where they are shown, the other boxes."""
        return 6 if self.others else 4


@dataclass(frozen=True)
class TightRule:
    """Which of a picture's boxes are tight, so that their object touches all four sides, and when a
    region decoder is told so by the second number of ``context``."""

    told: Literal["judged", "always", "never"] = "judged"
    """``judged``: not at first; asked again, and told, where its answer comes close to all four
    sides, which costs another decode.  ``always``: of every box, which then counts as tight.
    ``never``, for a decoder that did not learn the difference: boxes are judged by their answer,
    for threshold and ``ellipse_prior`` alone."""
    gap: float = 0.06
    """Unless ``always``: largest distance of the first answer to a side, as a share of the box's
    width or height, at which a box is tight."""
    threshold: float = 0.0
    """As the model's, for answers to tight boxes."""
    together: bool = False
    """Unless ``always``: all boxes of a picture that are asked about together are tight or none is,
    by the median of their gaps; they are of one hand."""


@dataclass(frozen=True)
class VolumeRegionRule:
    """A network that answers the whole box of a volume in one run; see
    :mod:`inference.volume_region`."""

    graph: str
    """File of the graph: ``crops`` (1, 2, Z, Y, X) and ``place`` (1, 6, Z, Y/2, X/2) to ``logits``
    (1, Z, Y, X)."""
    grid: tuple[int, int, int]
    """Cells of a region: Z, Y, X; Y and X are even."""
    margin: float
    """Part of the box's width (height) added on the left and on the right (above and below)."""
    depth_margin: float
    """The same along z."""
    min_margin: float = 1.0
    """Least margin on every side, voxels."""
    threshold: float = 0.0
    """A voxel belongs to the object where its logit is above this."""
    mirrored: bool = False
    """A box is asked about four times, as it is and mirrored along each axis, and the mean of the
    logits taken."""
    doubt_below: float = 0.0
    """An answer that fills less than this share of the box is doubted: encoder and decoder are
    asked slice by slice, too, and answer in its place where they fill at least twice as much; 0:
    never."""


@dataclass(frozen=True)
class SamRule:
    """How a SAM decoder is asked about a box, and how its logits become a mask."""

    box_scaling: Literal["float", "truncated", "resized"] = "float"
    """To the encoder's input by the longest side, as it comes out or cut to whole pixels
    (``challenge.md`` B3); ``resized``: by the rounded size of the resized picture (SAM's own)."""
    box_offset: float = 0.5
    """Added to every coordinate before the decoder sees it: a pixel's centre."""
    upsampling: Literal["direct", "through-input"] = "direct"
    """From the logits' grid to the picture at once, or to the encoder's input first."""
    interpolate: Literal["logits", "probabilities"] = "logits"
    """What is interpolated on the way to the picture's pixels."""
    next_box: Literal["mask", "resized-label"] = "mask"
    """In a volume, the box of the next slice: around the last mask in picture pixels, scaled; or
    around that mask drawn with the object's label, resized as 8-bit values (B8)."""
    box_limit: Literal["last-pixel", "edge"] = "last-pixel"
    """Where a grown box ends: at the last pixel of the encoder's input or one beyond it (B9)."""
    lost_below: Literal["same", "float"] = "same"
    """In a volume, where the object was lost on the way down: the given box scaled as everywhere,
    or in floating point whatever ``box_scaling`` says."""


@dataclass(frozen=True)
class DrawnPromptRule:
    """A decoder that also takes ``points`` and ``strokes``, drawn at random inside each box; see
    :mod:`inference.drawn_prompts`."""

    seed: int = 42
    stream: Literal["box", "case"] = "box"
    """Random numbers begin anew for every box of every slice, so that its answer depends on nothing
    else; or once a case, and go on from box to box, as in a program that answers one case a run."""
    skipped: int = 0
    """Random numbers of the second generator that are gone before the first stroke: a program that
    fills its network with them before it loads its checkpoint."""
