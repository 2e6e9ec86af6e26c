"""Model bundles: a folder with ``bundle.json`` and the graphs that it names.

Everything that makes one model differ from another stands in ``bundle.json``; ``docs/bundle.md``
describes every key.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from inference.errors import BundleError
from inference.modality import UNKNOWN
from inference.rules import (
    DrawnPromptRule,
    Interpolation,
    LibraryResize,
    ManyBoxesRule,
    Normalisation,
    RegionRule,
    Resize,
    SamRule,
    TightRule,
    VolumeRegionRule,
)
from inference.scribble_rule import ScribbleRule

SCHEMAS = (1, 2)
"""Versions of the layout of bundle.json that this package reads; 2 added SAM decoders and the
``published`` rules."""

Fidelity = Literal["corrected", "published"]
"""``published`` applies each model's ``published`` rules: the system as its team released it, known
defects included; ``corrected`` does not."""

DEFAULT_BUNDLE = Path(__file__).parent / "bundle"
"""The bundle that ships."""

ZRange = Literal["closed", "without-last", "inner"]
Overlap = Literal["later-box", "smaller-box", "higher-logit"]

T = TypeVar("T")


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


def read_bundle(folder: Path, fidelity: Fidelity | None = None) -> Bundle:
    """Read and check ``folder/bundle.json``; graphs are looked for, not opened.

    Args:
        fidelity: None: as the bundle says, ``corrected`` where it says nothing.
    Raises:
        BundleError: naming the key, what was expected and what was found.
    """
    path = folder / "bundle.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: expected a model bundle, found: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: expected JSON, found: {error}") from error
    if not isinstance(content, dict) or content.get("schema") not in SCHEMAS:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise BundleError(f"{path}: schema: expected 1 or 2, found {found}")
    chosen = fidelity or content.get("fidelity", "corrected")
    if chosen not in get_args(Fidelity):
        raise BundleError(f"{path}: fidelity: expected corrected or published, found {chosen!r}")
    try:
        models = {
            name: _fill(ModelSpec, _with_fidelity(spec, chosen, name), f"models.{name}")
            for name, spec in content["models"].items()
        }
        bundle = Bundle(
            folder,
            str(content["name"]),
            str(content["version"]),
            models,
            _words(content["routing"], "routing"),
            _words(content["files"], "files"),
            chosen,
            content,
        )
    except (KeyError, AttributeError, TypeError) as error:
        raise BundleError(
            f"{path}: expected the keys name, version, models, routing, files: {error!r}"
        ) from None
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    _check(bundle, path)
    return bundle


def _with_fidelity(spec: Any, fidelity: Fidelity, name: str) -> Any:
    """A model's JSON without its ``published`` rules, applied where they are asked for.

    They are keys of the model again; an object among them replaces single keys of that object.
    """
    if not isinstance(spec, dict) or "published" not in spec:
        return spec
    plain = {key: value for key, value in spec.items() if key != "published"}
    rules = spec["published"]
    if not isinstance(rules, dict):
        raise BundleError(f"models.{name}.published: expected an object, found {rules!r}")
    merged = dict(plain)
    for key, value in rules.items():
        inner = merged.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            merged[key] = inner | value
        else:
            merged[key] = value
    _fill(ModelSpec, merged, f"models.{name}.published")  # checked whether asked for or not
    return merged if fidelity == "published" else plain


def _check(bundle: Bundle, path: Path) -> None:
    if "default" not in bundle.routing:
        raise BundleError(
            f"{path}: routing: expected the key default, found {sorted(bundle.routing)}"
        )
    for modality, model in bundle.routing.items():
        if model not in bundle.models:
            known = sorted(bundle.models)
            raise BundleError(f"{path}: routing.{modality}: expected one of {known}, found {model}")
    for name, spec in bundle.models.items():
        if spec.drawn is not None and spec.sam is None:
            raise BundleError(f"{path}: models.{name}.drawn: expected a model with sam, found none")
        for key, asked in (("tight", spec.tight), ("overlap", spec.overlap == "higher-logit")):
            if asked and spec.region is None:
                raise BundleError(
                    f"{path}: models.{name}.{key}: expected a model with region, found none"
                )
        scribble = () if spec.scribble is None else (spec.scribble.decoder,)
        whole = () if spec.volume_region is None else (spec.volume_region.graph,)
        many = spec.many_boxes
        if many is not None and (spec.sam is None or spec.drawn is not None):
            raise BundleError(
                f"{path}: models.{name}.many_boxes: expected a model with sam and without drawn"
            )
        for_many = () if many is None else (many.prepare, many.decoder)
        for file in (spec.encoder, spec.decoder, *for_many, *scribble, *whole):
            if file not in bundle.sha256:
                raise BundleError(f"{path}: files: expected the digest of {file}")
            if not bundle.graph(file).is_file():
                raise BundleError(f"{bundle.graph(file)}: expected a graph, found no such file")


_NESTED = {
    "drawn": DrawnPromptRule,
    "many_boxes": ManyBoxesRule,
    "normalisation": Normalisation,
    "region": RegionRule,
    "sam": SamRule,
    "scribble": ScribbleRule,
    "tight": TightRule,
    "volume": VolumeRule,
    "volume_region": VolumeRegionRule,
}
_WORDS = {
    "resize": get_args(Resize),
    "interpolation": ("antialias", *get_args(LibraryResize)),
    "overlap": get_args(Overlap),
    "told": ("judged", "always", "never"),
    "label_type": ("as-needed", "uint8"),
    "box_scaling": ("float", "truncated", "resized"),
    "upsampling": ("direct", "through-input"),
    "interpolate": ("logits", "probabilities"),
    "next_box": ("mask", "resized-label"),
    "box_limit": ("last-pixel", "edge"),
    "lost_below": ("same", "float"),
    "stream": ("box", "case"),
    "z_range": get_args(ZRange),
    "embeddings": ("own", "last-encoded"),
    "box_frame": ("edges", "inclusive"),
    "channels": ("repeat", "neighbours"),
    "views": ("with-prior", "both"),
    "box": ("tracked", "given"),
    "kind": ("none", "mean-std", "min-max"),
    "strokes": ("touched", "resized"),
}


_AT_LEAST: Mapping[str, float] = {
    "input_size": 1,
    "boxes_at_once": 1,
    "least": 1,
    "box_growth": 0,
    "ellipse_prior": 0,
    "ellipsoid_prior": 0,
    "gap": 0,
    "side": 1,
    "margin": 0,
    "max_aspect": 1,
    "min_pixels": 0,
    "depth_margin": 0,
    "min_margin": 0,
    "doubt_below": 0,
    "seed": 0,
    "skipped": 0,
}
_AT_MOST: Mapping[str, float] = {"seed": (1 << 32) - 1, "skipped": 1 << 30}


def _words(values: Any, where: str) -> dict[str, str]:
    """A JSON object of strings."""
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise BundleError(f"{where}: expected an object of strings, found {values!r}")
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fill(kind: type[T], values: Any, where: str) -> T:
    """A dataclass from JSON; unknown, missing and mistyped keys are errors."""
    if not isinstance(values, dict):
        raise BundleError(f"{where}: expected an object, found {values!r}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise BundleError(f"{where}.{key}: expected one of {sorted(known)}")
    made: dict[str, Any] = {}
    for key, known_field in known.items():
        if key not in values:
            if known_field.default is MISSING:
                raise BundleError(f"{where}.{key}: expected this key, found none")
            continue
        made[key] = _value(key, values[key], known_field.type, f"{where}.{key}")
    return kind(**made)


def _value(key: str, value: Any, annotation: Any, where: str) -> Any:
    """One checked value of a dataclass."""
    if key in _NESTED:
        return None if value is None else _fill(_NESTED[key], value, where)
    if key in _WORDS:
        if value not in _WORDS[key]:
            raise BundleError(f"{where}: expected one of {_WORDS[key]}, found {value!r}")
        return value
    if key in ("mean", "std"):
        if not (isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))):
            raise BundleError(f"{where}: expected three numbers, found {value!r}")
        if key == "std" and 0 in value:
            raise BundleError(f"{where}: expected numbers other than 0, found {value!r}")
        return tuple(float(v) for v in value)
    if key in ("embedding_names", "names"):
        is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
        if not is_list or not value or len(set(value)) < len(value):
            raise BundleError(f"{where}: expected a list of different names, found {value!r}")
        return tuple(value)
    if key == "grid":
        is_list = isinstance(value, list) and len(value) == 3 and all(type(n) is int for n in value)
        if not is_list or min(value) < 1 or value[1] % 2 or value[2] % 2:
            raise BundleError(
                f"{where}: expected three whole numbers, the last two even, found {value!r}"
            )
        return tuple(value)
    fits = _is_number(value) if annotation is float else type(value) is annotation
    if not fits:
        raise BundleError(f"{where}: expected {annotation.__name__}, found {value!r}")
    if key in _AT_LEAST and value < _AT_LEAST[key]:
        raise BundleError(f"{where}: expected at least {_AT_LEAST[key]}, found {value!r}")
    if key in _AT_MOST and value > _AT_MOST[key]:
        raise BundleError(f"{where}: expected at most {_AT_MOST[key]}, found {value!r}")
    return annotation(value)
