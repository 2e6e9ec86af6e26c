"""A model of another bundle taken over for the modalities in which it wins on validation: an
expert of an earlier version, say, that a new general model does not reach.

The judgement is that of :mod:`training.experts`, both sides with the settings that would ship.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import inference
from training.bundle_record import graph_digests, replace_folder, write_json
from training.errors import TrainingError
from training.experts import Verdict, judge
from training.half_weights import graph_weights
from training.recipe import AdoptConfig, ExpertsConfig
from training.store import read_store
from training.validate import validate

SHARED = ("overlap", "volume_region")
"""Settings of the bundle, not of a model of it."""


HALF = 2.0**-10
"""Largest relative distance between two numbers of sixteen bits that stand beside each other."""


def adopt(
    bundle: Path, other: Path, store_dir: Path, folder: Path, config: AdoptConfig
) -> list[Verdict]:
    """Write ``bundle`` with ``config.name`` of ``other`` for the modalities that it wins, in place
    of what is at ``folder``; every verdict is added to ``experts`` in its bundle.json.

    Raises:
        TrainingError: ``other`` has no such model.
    """
    trial = folder.with_name(f".{folder.name}.trial")
    compose(bundle, other, config.name, config.modalities, trial)
    cases = [c for c in read_store(store_dir, "val") if c.info.modality in config.modalities]
    before, after = (
        validate(inference.load(path), cases, with_nsd=False) for path in (bundle, trial)
    )
    rules = ExpertsConfig(least_gain=config.least_gain, least_groups=config.least_groups)
    verdicts = [judge(config.name, m, before, after, rules) for m in config.modalities]
    compose(bundle, other, config.name, [v.modality for v in verdicts if v.kept], folder)
    shutil.rmtree(trial)
    content = json.loads((folder / "bundle.json").read_text())
    content["experts"] = [*content.get("experts", []), *map(asdict, verdicts)]
    write_json(content, folder / "bundle.json")
    return verdicts


def compose(bundle: Path, other: Path, name: str, modalities: Iterable[str], folder: Path) -> None:
    """``bundle`` in which a model of ``other``, with its own settings, answers for ``modalities``.

    A graph that is one of the bundle's, but for the rounding of its weights, is not stored twice.
    """
    content: dict[str, Any] = json.loads((bundle / "bundle.json").read_text())
    theirs: dict[str, Any] = json.loads((other / "bundle.json").read_text())
    if name not in theirs["models"]:
        known = ", ".join(sorted(theirs["models"]))
        raise TrainingError(f"{other}: expected one of the models {known}, found {name!r}")
    modalities = list(modalities)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundle, partial)
    if modalities:
        spec = dict(theirs["models"][name])
        for part in ("encoder", "decoder"):
            ours = {model[part] for model in content["models"].values()}
            same = [file for file in sorted(ours) if same_graph(bundle / file, other / spec[part])]
            file = same[0] if same else f"{name}-{part}{Path(spec[part]).suffix}"
            if not same:
                shutil.copyfile(other / spec[part], partial / file)
            spec[part] = file
        general = content["models"][content["routing"]["default"]]
        spec |= {key: general[key] for key in SHARED if key in general}
        content["models"][name] = spec
        content["routing"] |= dict.fromkeys(modalities, name)
        content["files"] = graph_digests(partial)
    write_json(content, partial / "bundle.json")
    replace_folder(partial, folder)


def same_graph(first: Path, second: Path) -> bool:
    """Whether two graphs hold the same weights but for their rounding to sixteen bits: a network
    that was unfolded, kept and exported again rounds some of them the other way."""
    if first.read_bytes() == second.read_bytes():
        return True
    if first.suffix != ".onnx" or second.suffix != ".onnx":
        return False
    one, two = graph_weights(first), graph_weights(second)
    return one.keys() == two.keys() and all(
        value.shape == two[name].shape
        and np.allclose(value, two[name], rtol=HALF, atol=HALF * float(np.abs(value).max()))
        for name, value in one.items()
    )
