"""Model bundles: a folder with ``bundle.json`` and the graphs that it names.

Everything that makes one model differ from another stands in ``bundle.json``; ``docs/bundle.md``
describes every key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inference.errors import BundleError
from inference.modality import UNKNOWN
from inference.rules import (
    DrawnPromptRule,
    Interpolation,
    ManyBoxesRule,
    Normalisation,
    RegionRule,
    Resize,
    SamRule,
    TightRule,
    VolumeRegionRule,
)
from inference.scribble_rule import ScribbleRule

Fidelity = Literal["corrected", "published"]
"""``published`` applies each model's ``published`` rules: the system as its team released it, known
defects included; ``corrected`` does not."""

DEFAULT_BUNDLE = Path(__file__).parent / "bundle"
"""The bundle that ships."""

ZRange = Literal["closed", "without-last", "inner"]
Overlap = Literal["later-box", "smaller-box", "higher-logit"]


class GraphKey(NamedTuple):
    """A graph as it is compiled."""

    file: str
    batch: int = 1
    """As :func:`inference.engine.compile_graph` takes it."""
    streams: int = 1
    """Runs that may go on at a time."""


@dataclass(frozen=True)
class VolumeRule:
    """How a model walks through a volume."""

    channels: Literal["repeat", "neighbours"] = "repeat"
    """What the encoder's three channels hold: the slice three times, or the slice below, itself and
    the one above."""
    box: Literal["tracked", "given"] = "tracked"
    """After the middle slice, the box around the last slice's mask, or the given one every time."""
    threshold: float = 0.0
    """As the model's, in volumes: what is a little too large in one slice grows with every step."""
    box_growth: float = 0.0
    """Pixels of the encoder's input by which the box around the last slice's mask is grown before
    the next slice."""
    views: Literal["with-prior", "both"] = "with-prior"
    """Region decoders: a slice is answered with its neighbour's mask as prior, or with and without
    it, the mean of both logits taken; the second costs another decode and forgets a prior that went
    astray."""
    ellipsoid_prior: float = 0.0
    """As the model's ``ellipse_prior``, of the ellipsoid inscribed in the box: what a box says of
    its first and last slices is that the object is small there."""
    z_range: ZRange = "closed"
    """Which slices of a box are answered: z_min to z_max, both; without z_max; without either
    (``challenge.md`` B1).  The middle slice always is."""
    embeddings: Literal["own", "last-encoded"] = "own"
    """A slice that was encoded before is answered from its own embedding, or from the one that was
    encoded last (B6); the latter walks box by box."""


@dataclass(frozen=True)
class ModelSpec:
    """One encoder and one decoder with everything that is done before, between and after them."""

    encoder: str
    decoder: str
    input_size: int
    embedding_names: tuple[str, ...] = ("embedding",)
    """What the decoder calls the encoder's outputs, in their order."""
    resize: Resize = "longest-side"
    interpolation: Interpolation = "antialias"
    normalisation: Normalisation = Normalisation()
    box_frame: Literal["edges", "inclusive"] = "edges"
    """Whether the decoder's boxes are edges (x_max + 1) or the inclusive numbers as given, scaled
    (SAM)."""
    region: RegionRule | None = None
    """Set: the decoder answers in a region around each box and takes ``crops``, ``regions`` and
    ``context`` besides ``embedding`` and ``boxes``.  None: its logits cover the encoder's whole
    input, as SAM's do."""
    sam: SamRule | None = None
    """Set: a decoder of SAM's kind, see :mod:`inference.sam_decoder`."""
    boxes_at_once: int = 1
    """Boxes in one run of the decoder; graphs are compiled for exactly so many, which makes the
    first run cheap."""
    threshold: float = 0.0
    """2D: a pixel belongs to the object where its logit is above this; 3D: see VolumeRule."""
    ellipse_prior: float = 0.0
    """2D: added to the logits in the middle of the box, falling to 0 on the inscribed ellipse and
    to minus this outside; for modalities whose objects are nearly ellipses.  With ``tight``, where
    the box is tight only."""
    tight: TightRule | None = None
    """2D, region decoders: set, tight boxes are told from loose ones."""
    clip_to_box: bool = False
    """2D: cut the mask at the box.  In 3D a region decoder's always is, a SAM decoder's never."""
    overlap: Overlap = "later-box"
    """Which of two boxes a pixel belongs to where both masks hold it: the later one, as in the
    published programs; the one whose box is smaller: an object inside another keeps its pixels
    whatever the order of the boxes; or, in pictures, of region decoders, the one with the higher
    logit, unless one object lies inside the other (:func:`inference.overlap.paint_by_logits`)."""
    label_type: Literal["as-needed", "uint8"] = "as-needed"
    """Type of the labels: the smallest that holds them all, or 8 bits, where label 256 is 0
    (``challenge.md`` B2)."""
    volume: VolumeRule = VolumeRule()
    many_boxes: ManyBoxesRule | None = None
    """Set: pictures with many boxes have a decoder of their own."""
    scribble: ScribbleRule | None = None
    """Set: the model also takes scribbles, see :mod:`inference.scribble`."""
    drawn: DrawnPromptRule | None = None
    """Set: the decoder also takes points and a stroke that are drawn inside the box."""
    volume_region: VolumeRegionRule | None = None
    """Set: boxes of volumes are answered whole, by a graph of their own and neither encoder nor
    decoder; ``volume`` then says nothing."""

    def threshold_of(self, in_volume: bool, tight: bool = False) -> float:
        """The logit above which a pixel belongs to the object; ``tight``: of a box that is known to
        be, by the rule ``tight``."""
        if in_volume:
            return self.volume.threshold
        return self.tight.threshold if tight and self.tight is not None else self.threshold

    def graphs(self, in_volume: bool, slice_streams: int = 1) -> tuple[GraphKey, ...]:
        """The graphs that boxes need, however many they are, in the order of their use;
        ``slice_streams``: slices of a volume that are encoded at a time."""
        if in_volume and self.volume_region is not None:
            return (GraphKey(self.volume_region.graph),)
        decoder = GraphKey(self.decoder, self.boxes_at_once)
        if in_volume:
            return (GraphKey(self.encoder, streams=slice_streams), decoder)
        return (GraphKey(self.encoder),) if self.many_boxes else (GraphKey(self.encoder), decoder)


@dataclass(frozen=True)
class Bundle:
    """A folder of models and which modality each answers for."""

    folder: Path
    name: str
    version: str
    models: Mapping[str, ModelSpec]
    routing: Mapping[str, str]
    """Modality to model; the key ``default`` answers for all others."""
    sha256: Mapping[str, str]
    """Digest of every graph file."""
    fidelity: Fidelity = "corrected"
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """bundle.json as it stands: what was measured of the model (:mod:`inference.precision`)."""

    def model_for(self, modality: str = UNKNOWN, is_volume: bool = False) -> str:
        """Name of the model that answers for a modality, or for every volume where the routing has
        the key ``3D``."""
        if is_volume and "3D" in self.routing:
            return self.routing["3D"]
        return self.routing.get(modality, self.routing["default"])

    def graph(self, file: str) -> Path:
        """Path of a graph file."""
        return self.folder / file

    def verify(self) -> None:
        """Compare every graph with its recorded digest (reads all of them).

        Raises:
            BundleError: a file differs from what the bundle was made with.
        """
        import hashlib

        for file, expected in self.sha256.items():
            try:
                found = hashlib.sha256(self.graph(file).read_bytes()).hexdigest()
            except OSError as error:
                raise BundleError(
                    f"{self.graph(file)}: expected a graph, found: {error.strerror}"
                ) from error
            if found != expected:
                raise BundleError(f"{self.graph(file)}: expected sha256 {expected}, found {found}")
