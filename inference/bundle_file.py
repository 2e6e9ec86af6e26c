"""``bundle.json``, read and checked: every key that is wrong is named, with what was expected."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from inference.bundle import Bundle, Fidelity, ModelSpec, Overlap, VolumeRule, ZRange
from inference.errors import BundleError
from inference.rules import (
    DrawnPromptRule,
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

T = TypeVar("T")


def read_bundle(folder: Path, fidelity: Fidelity | None = None) -> Bundle:
    """Read and check ``folder/bundle.json``; graphs are looked for, not opened.

    Args:
        fidelity: None: as the bundle says, ``corrected`` where it says nothing.
    Raises:
        BundleError: naming the key, what was expected and what was found.
    """
    path, content = folder / "bundle.json", bundle_content(folder)
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


def bundle_content(folder: Path) -> dict[str, Any]:
    """``folder/bundle.json`` as it stands, of a layout that is known.

    Raises:
        BundleError: there is none, or it is not of such a layout.
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
    return content


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
