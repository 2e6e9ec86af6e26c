"""Data-aware fine-tuning (DAFT, Pfefferle et al., MedSAM on Laptop 2024): the general model tuned
to groups of modalities, each kept only for the modalities in which it wins on validation.

Both sides of every comparison are exported bundles with the routing that would ship.  Unlike the
authors, who keep every expert, we ask for a gain and for enough validation groups: with few cases
an expert mostly learns their sources by heart.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import inference
from inference.bundle_file import bundle_content
from training.bundle_record import add_graph, graph_digests, replace_folder, write_json
from training.checkpoint import averaged_weights, best_checkpoint
from training.errors import TrainingError
from training.export import run_config, write_bundle
from training.finetune import finetune
from training.recipe import AdoptConfig, ExpertsConfig, ExportConfig
from training.store import StoredCase, read_store
from training.validate import CaseAccuracy, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What validation says of an expert in one modality."""

    group: str
    modality: str
    cases: int
    groups: int
    general_dsc: float
    expert_dsc: float
    kept: bool
    reason: str

    def __str__(self) -> str:
        """On one line."""
        kept = "kept" if self.kept else "refused"
        return f"{self.group}, {self.modality}: {kept} ({self.reason})"


def judge(
    group: str,
    modality: str,
    general: Sequence[CaseAccuracy],
    expert: Sequence[CaseAccuracy],
    config: ExpertsConfig | AdoptConfig,
) -> Verdict:
    """Compare the two on the same cases of ``modality``.

    Scores are means over cases, 2D and 3D apart, then the mean of the two: routing is by modality,
    so an expert answers for both, and must lose in neither.
    """
    pairs = [(g, e) for g, e in zip(general, expert, strict=True) if g.modality == modality]
    groups = len({g.group for g, _ in pairs})
    means = {
        dims: [float(np.mean([pair[i].dsc for pair in pairs if pair[0].dims == dims]))
               for i in (0, 1)]
        for dims in sorted({g.dims for g, _ in pairs})
    }  # fmt: skip
    before, after = (float(np.mean([m[i] for m in means.values()] or [np.nan])) for i in (0, 1))
    lost = [dims for dims, (old, new) in means.items() if new < old]
    if groups < config.least_groups:
        reason = f"{groups} validation groups, {config.least_groups} asked for"
    elif lost:
        reason = f"loses in {' and '.join(lost)}"
    elif after - before < config.least_gain:
        reason = f"gain {after - before:+.4f}, {config.least_gain} asked for"
    else:
        reason = f"gain {after - before:+.4f}"
    kept = groups >= config.least_groups and not lost and after - before >= config.least_gain
    numbers = (round(before, 4), round(after, 4)) if pairs else (float("nan"), float("nan"))
    return Verdict(group, modality, len(pairs), groups, *numbers, kept, reason)


def compose(
    general: Path, experts: Mapping[str, Path], answers: Mapping[str, Iterable[str]], folder: Path
) -> None:
    """A bundle of ``general`` in which ``experts`` (group to bundle) answer for their modalities.

    An expert takes over the settings (thresholds, prior) of the model that answered before, but for
    the regions that its decoder sees; a graph that is byte for byte one of the general model's is
    not stored twice, and nothing that is there is replaced.

    Raises:
        TrainingError: an expert's bundle has no general model of regions, as ``export`` writes it,
            or one that sees pictures otherwise.
    """
    content = bundle_content(general)
    models, routing = content["models"], content["routing"]
    default = routing["default"]
    given = {g: expert_model(bundle, models[default]) for g, bundle in experts.items()}
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(general, partial)
    there = set(models)
    for group, bundle in experts.items():
        own = {"region": given[group]["region"]}
        for part in ("encoder", "decoder"):
            own[part] = add_graph(bundle, given[group][part], partial, group)
        for modality in answers[group]:
            before = routing.get(modality, default)
            name = group if before == default else f"{group}-{before}"
            while name in there:
                name += "-2"
            models[name] = {**models[before], **own}
            routing[modality] = name
    if experts:
        for measured in ("accuracy", "cost", "precision_costs"):
            content.pop(measured, None)  # without them
    content["files"] = graph_digests(partial)
    write_json(content, partial / "bundle.json")
    replace_folder(partial, folder)


def expert_model(bundle: Path, general: Mapping[str, Any]) -> dict[str, Any]:
    """What a bundle says of its model ``general``, which has to fit the model it would help."""
    models = bundle_content(bundle)["models"]
    model: dict[str, Any] = models.get("general", {})
    if "region" not in model:
        found = ", ".join(sorted(models))
        raise TrainingError(f"{bundle}: expected a model general of regions, found {found}")
    for key in ("input_size", "resize", "normalisation", "box_frame"):
        expected, own = general.get(key), model.get(key)
        if own != expected:
            raise TrainingError(f"{bundle}: {key}: expected {expected!r}, found {own!r}")
    return model


def train_experts(
    store_dir: Path,
    general_run: Path,
    general: Path,
    run_dir: Path,
    folder: Path,
    config: ExpertsConfig,
) -> list[Verdict]:
    """Tune, judge and compose; ``folder`` gets the general bundle with the experts that won, and
    every verdict under ``experts`` in its bundle.json.

    Raises:
        TrainingError: a modality stands in two groups.
    """
    named = [m for modalities in config.groups.values() for m in modalities]
    twice = sorted({m for m in named if named.count(m) > 1})
    if twice:
        raise TrainingError(f"groups: expected each modality once, found {', '.join(twice)} twice")
    verdicts: list[Verdict] = []
    bundles: dict[str, Path] = {}
    cases = read_store(store_dir, "val")
    for group, modalities in config.groups.items():
        bundles[group] = tune(store_dir, general_run, run_dir / group, modalities, config)
        judged = [c for c in cases if c.info.modality in modalities]
        found = judge_group(group, modalities, general, bundles[group], judged, config)
        for verdict in found:
            log.info("%s", verdict)
        verdicts += found
    answers = {g: [v.modality for v in verdicts if v.group == g and v.kept] for g in bundles}
    kept_bundles = {g: b for g, b in bundles.items() if answers[g]}
    compose(general, kept_bundles, answers, folder)
    content = bundle_content(folder)
    content["experts"] = [asdict(v) for v in verdicts]
    write_json(content, folder / "bundle.json")
    return verdicts


def adopt(
    store_dir: Path, general: Path, other: Path, folder: Path, config: AdoptConfig
) -> list[Verdict]:
    """Let another bundle's general model, as it is, answer for the modalities in which it wins;
    ``folder`` gets the bundle, every verdict under ``experts`` in its bundle.json.

    Judged is what the routing would change: pictures, and volumes too where the routing does not
    name one model for all of them (``3D``).
    """
    known = bundle_content(general)
    pictures_alone = "3D" in known["routing"]
    cases = [c for c in read_store(store_dir, "val") if not (pictures_alone and c.is_volume)]
    modalities = tuple(sorted({c.info.modality for c in cases}))
    verdicts = judge_group(config.name, modalities, general, other, cases, config)
    won = [v.modality for v in verdicts if v.kept]
    compose(general, {config.name: other} if won else {}, {config.name: won}, folder)
    content = bundle_content(folder)
    content["experts"] = [*known.get("experts", []), *(asdict(v) for v in verdicts)]
    write_json(content, folder / "bundle.json")
    return verdicts


def tune(
    store_dir: Path,
    general_run: Path,
    run_dir: Path,
    modalities: tuple[str, ...],
    config: ExpertsConfig,
) -> Path:
    """One expert, from the general model's averaged weights; returns its bundle."""
    network = run_config(general_run).model
    samples = replace(config.finetune.samples, modalities=modalities)
    tuning = replace(config.finetune, samples=samples, model=network)
    checkpoint = finetune(store_dir, run_dir, tuning, start_from=best_checkpoint(general_run))
    checkpoint = best_checkpoint(run_dir) if tuning.validate_every else checkpoint
    bundle = run_dir / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    write_bundle(averaged_weights(checkpoint), network, bundle, ExportConfig())
    return bundle


def judge_group(
    group: str,
    modalities: tuple[str, ...],
    general: Path,
    expert: Path,
    cases: Sequence[StoredCase],
    config: ExpertsConfig | AdoptConfig,
) -> list[Verdict]:
    """A verdict for every modality of a group, the expert answering as it would in the bundle."""
    with tempfile.TemporaryDirectory() as kept:
        candidate = Path(kept, "candidate")
        compose(general, {group: expert}, {group: modalities}, candidate)
        before, after = (
            validate(inference.load(folder, precision="f32"), cases, with_nsd=False)
            for folder in (general, candidate)
        )
    return [judge(group, modality, before, after, config) for modality in modalities]
