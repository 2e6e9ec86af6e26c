"""The network that answers whole boxes of volumes into a bundle that has an encoder and a decoder
already."""

import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.bundle_file import bundle_content, read_bundle
from inference.rules import VolumeRegionRule
from training.bundle_record import add_graph, graph_digests, replace_folder, write_json
from training.checkpoint import best_checkpoint, load_state
from training.configuration import as_values, read_config
from training.errors import CheckpointError, reason_of
from training.export import export_graph
from training.finetune_volumes import volume_rule
from training.half_weights import fold_batch_norms, round_to_half
from training.recipe import (
    ExportConfig,
    VolumeExportConfig,
    VolumeModelConfig,
    VolumesConfig,
)
from training.run_log import read_lines, run_seconds
from training.volume_model import VolumeNetwork


def export_volumes(
    source: Path,
    bundle: Path,
    folder: Path,
    config: VolumeExportConfig | None = None,
    checkpoint: Path | None = None,
    walks: Path | None = None,
) -> None:
    """Write ``bundle`` with the network of ``source`` beside its graphs, in place of what is at
    ``folder``; every model of it then answers volumes by it.

    Args:
        source: a run, whose averaged weights are exported, or a bundle that has the network
            already, for pictures trained anew.
        walks: a bundle whose default model is asked about slices where a volume is walked through
            (the network's doubts); None: whichever answers pictures.
    Raises:
        CheckpointError: there is no checkpoint, or it is not of the run's network; the bundle has
            no network of volumes.
        RuntimeError: the exported graph does not give torch's numbers.
    """
    config = config or VolumeExportConfig()
    if (source / "bundle.json").exists():
        if checkpoint is not None:
            raise CheckpointError(f"{source}: expected a run with --checkpoint, found a bundle")
        rule, record, write = network_of_bundle(source)
    else:
        rule, record, write = network_of_run(source, config, checkpoint)
    content = bundle_content(bundle)
    walk = {} if walks is None else walking_model(walks)  # before anything is written
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundle, partial)
    write(partial / rule.graph)
    if walks is not None:
        for part in ("encoder", "decoder"):
            walk[part] = add_graph(walks, walk[part], partial, "walk")
        content["models"]["walk"], content["routing"]["3D"] = walk, "walk"
    rule = replace(
        rule,
        threshold=config.threshold,
        mirrored=config.mirrored,
        doubt_below=config.doubt_below,
    )
    for spec in content["models"].values():
        spec["volume_region"] = {**asdict(rule), "grid": list(rule.grid)}
        spec["overlap"] = config.overlap
    for measured in ("accuracy", "cost", "precision_costs"):
        content.pop(measured, None)  # without the network
    content["version"] = config.version
    content["schema"], content["files"] = 2, graph_digests(partial)
    content["volume_training"] = record
    write_json(content, partial / "bundle.json")
    replace_folder(partial, folder)


def walking_model(walks: Path) -> dict[str, Any]:
    """What a bundle says of its default model.

    Raises:
        CheckpointError: its decoder sees no regions, so it has other graphs besides.
    """
    given = bundle_content(walks)
    spec: dict[str, Any] = given["models"][given["routing"]["default"]]
    if "region" not in spec:
        raise CheckpointError(f"{walks}: expected a model of regions, found one of whole pictures")
    return spec


Network = tuple[VolumeRegionRule, dict[str, Any], Callable[[Path], object]]
"""Its rule, the record of its training, and what writes its graph."""


def network_of_bundle(source: Path) -> Network:
    """The network that answers volumes in a bundle."""
    read = read_bundle(source)
    rule = read.models[read.routing["default"]].volume_region
    record = bundle_content(source).get("volume_training")
    if rule is None or record is None:
        lacking = "volume_region" if rule is None else "volume_training"
        raise CheckpointError(f"{source}: expected a bundle with {lacking}, found none")
    return rule, record, functools.partial(shutil.copyfile, source / rule.graph)


def network_of_run(run_dir: Path, config: VolumeExportConfig, checkpoint: Path | None) -> Network:
    """The averaged weights of a run."""
    path, run = checkpoint or best_checkpoint(run_dir), run_config(run_dir)
    state, rule = load_state(path), volume_rule(run.model)

    def write(graph: Path) -> None:
        try:
            write_volume_graph(state["average"], run.model, graph, rule, config)
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise CheckpointError(
                f"{path}: expected this network's weights, found: {reason_of(error)}"
            ) from None

    record = {
        "config": as_values(run),
        "seconds": round(run_seconds(read_lines(run_dir / "log.jsonl"))),
        "checkpoint": path.name,
        "steps_done": state.get("step"),
        "torch": torch.__version__,
    }
    return rule, record, write


def run_config(run_dir: Path) -> VolumesConfig:
    """The configuration of a run.

    Raises:
        CheckpointError: there is none.
    """
    path = run_dir / "config.toml"
    if not path.exists():
        raise CheckpointError(f"{run_dir}: expected a run's folder with config.toml, found none")
    return read_config(VolumesConfig, path)


def write_volume_graph(
    weights: Mapping[str, Tensor],
    model: VolumeModelConfig,
    path: Path,
    rule: VolumeRegionRule,
    config: VolumeExportConfig,
) -> VolumeNetwork:
    """The graph of averaged weights, compared with torch; returns torch's network with the weights
    that are stored."""
    network = VolumeNetwork(model)
    network.load_state_dict(dict(weights))
    network.eval()
    fold_batch_norms(network)
    if config.weights == "f16":
        round_to_half(network)
    settings = ExportConfig(weights=config.weights, tolerance=config.tolerance, opset=config.opset)
    export_graph(network, random_region(rule), path, ["logits"], (), settings)
    return network


def random_region(rule: VolumeRegionRule) -> dict[str, Tensor]:
    """One region, always the same."""
    dice = torch.Generator().manual_seed(0)
    z, y, x = rule.grid
    crops = torch.rand(1, 2, z, y, x, generator=dice) * 2 - 1
    crops[:, 1] = 1
    place = torch.rand(1, 6, z, y // 2, x // 2, generator=dice) * 2.8 - 1.4
    place[:, 3:] = place[:, :3] ** 2
    return {"crops": crops, "place": place}
