"""``python -m training STEP``: from labelled cases to a bundle and its model card.

Every step takes its values from ``--config FILE`` (``training/configs/STEP.toml`` holds the shipped
model's) and from flags, which win.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import recipe
from training.configuration import add_flags, given_flags, read_config
from training.errors import TrainingError

Flag = tuple[str, bool, str]
"""A path: its name, whether it must be given, what it is."""

STORE: Flag = ("store", True, "folder that prepare wrote")
RUN: Flag = ("run", True, "folder of the run")
BUNDLE: Flag = ("bundle", True, "folder of a bundle")
OUT: Flag = ("out", True, "folder of the bundle to write")
WARM: Flag = ("warm-start", False, "batch-norm-folded MobileNetV2 npz")
PRETRAINED: Flag = ("pretrained", False, "EfficientNet-Lite2, for a decoder that begins with it")
START: Flag = ("start-from", False, "checkpoint to begin with, on a fresh schedule")


@dataclass(frozen=True)
class Step:
    """One sub-command."""

    help: str
    paths: tuple[Flag, ...]
    config: type[Any] | None
    run: Callable[[argparse.Namespace, Any], None]
    switches: tuple[tuple[str, str], ...] = ()


def main(argv: list[str] | None = None) -> int:
    """Run one step of the pipeline; 0 when it finished, 1 with one line on stderr when not."""
    from inference.errors import InferenceError

    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="step", metavar="STEP")
    for name, step in STEPS.items():
        add_step(commands.add_parser(name, help=step.help, description=step.help), step)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    step = STEPS[args.step]
    try:
        config = read_config(step.config, args.config, given_flags(args)) if step.config else None
        step.run(args, config)
    except (TrainingError, InferenceError) as error:
        print(f"python -m training {args.step}: {error}", file=sys.stderr)
        return 1
    return 0


def add_step(parser: argparse.ArgumentParser, step: Step) -> None:
    """The flags of one step."""
    for name, required, words in step.paths:
        parser.add_argument(f"--{name}", type=Path, required=required, help=words, metavar="PATH")
    for name, words in step.switches:
        parser.add_argument(f"--{name}", action="store_true", help=words)
    if step.config is not None:
        parser.add_argument("--config", type=Path, help="TOML file", metavar="FILE")
        add_flags(parser, step.config)


def prepare(args: argparse.Namespace, config: recipe.PrepareConfig) -> None:
    """Cases of the split into the store."""
    from data_splits.split import read_split
    from training.store import write_store

    folders = {"": args.packed, "packed": args.packed}
    if args.packed_train is not None:
        folders["packed_train"] = args.packed_train
    try:
        rows = read_split(Path(config.split))
    except OSError as error:
        raise TrainingError(f"{config.split}: expected a split, found: {error.strerror}") from None
    kept = [c for c in rows if c.split in config.sides]
    for case in kept:
        if case.pool not in folders:
            known = " or ".join(filter(None, folders))
            raise TrainingError(f"{case.file}: expected the pool {known}, found {case.pool}")
    cases = [(c, folders[c.pool] / c.file) for c in kept]
    print(f"{write_store(cases, args.store, args.truth)} cases in {args.store}")


def finetune(args: argparse.Namespace, config: recipe.FinetuneConfig) -> None:
    """Train, or go on."""
    from training.finetune import finetune

    starts = (args.warm_start, args.start_from)
    print(finetune(args.store, args.run, config, *starts, pretrained=args.pretrained))


def unfold(args: argparse.Namespace, config: recipe.UnfoldConfig) -> None:
    """Bundle to checkpoint."""
    from training.unfold import unfold

    print(unfold(args.bundle, args.store, args.run, config))


def finetune_volumes(args: argparse.Namespace, config: recipe.VolumesConfig) -> None:
    """Train on whole boxes of volumes, or go on."""
    from training.finetune_volumes import finetune_volumes

    print(finetune_volumes(args.store, args.run, config, args.start_from))


def distill(args: argparse.Namespace, config: recipe.DistillConfig) -> None:
    """Teacher to student."""
    from training.distill import distill

    print(distill(args.store, args.teacher, args.run, config, args.warm_start, args.start_from))


def experts(args: argparse.Namespace, config: recipe.ExpertsConfig) -> None:
    """Tune, judge, compose; print the verdicts."""
    from training.experts import train_experts

    run, bundle, out = args.general_run, args.bundle, args.out
    print(*train_experts(args.store, run, bundle, args.run, out, config), sep="\n")


def adopt(args: argparse.Namespace, config: recipe.AdoptConfig) -> None:
    """Judge, compose; print the verdicts."""
    from training.experts import adopt

    print(*adopt(args.store, args.bundle, args.other, args.out, config), sep="\n")


def mix(args: argparse.Namespace, config: recipe.MixConfig) -> None:
    """Two runs to one."""
    from training.mix import mix

    print(mix(args.first, args.second, args.run, config.share))


def join(args: argparse.Namespace, config: recipe.JoinConfig) -> None:
    """Two decoders to one."""
    from training.join import join

    print(join(args.first, args.second, args.run, config))


def part(args: argparse.Namespace, config: recipe.PartConfig) -> None:
    """One of two decoders."""
    from training.join import part

    print(part(args.joined, args.run, config))


def export(args: argparse.Namespace, config: recipe.ExportConfig) -> None:
    """Checkpoint to bundle."""
    from training.export import export_bundle
    from training.store import read_store

    cases = read_store(args.store, "val") if args.store else []
    some = cases[:: max(1, len(cases) // config.compared_cases)]
    export_bundle(args.run, args.bundle, args.split, config, some, args.checkpoint)
    print(args.bundle)


def export_volumes(args: argparse.Namespace, config: recipe.VolumeExportConfig) -> None:
    """Checkpoint into a bundle that is there."""
    from training.export_volumes import export_volumes

    export_volumes(args.run, args.bundle, args.out, config, args.checkpoint, args.walks)
    print(args.out)


def quantise(args: argparse.Namespace, config: recipe.QuantiseConfig) -> None:
    """INT8 bundle, and what each precision costs, in both bundles."""
    from training.bundle_record import record
    from training.precision import precision_costs
    from training.precision import quantise as quantise_bundle
    from training.store import read_store

    quantise_bundle(args.bundle, args.store, args.out, config)
    costs = precision_costs(args.bundle, read_store(args.store, "val"), args.out)
    for folder in (args.bundle, args.out):
        record(folder, "precision_costs", costs)
    print(costs)


def validate(args: argparse.Namespace, config: recipe.ValidateConfig) -> None:
    """Print the accuracy table."""
    import numpy as np

    import inference
    from training import validate as accuracy
    from training.bundle_record import record
    from training.errors import ConfigError
    from training.store import read_store
    from training.validation_cases import asked_cases

    if args.record and (config.slices or config.corrupted):
        raise ConfigError("--record: expected cases as they are, found slices or corrupted ones")
    cases = asked_cases(read_store(args.store, config.on), config)
    if args.csv:  # before the long part
        args.csv.parent.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(config.seed)
    boxes = accuracy.loosened(dice, config.loosen) if config.loosen else None
    segmenter = inference.load(args.bundle, config.engine, config.precision)
    rows = accuracy.validate(segmenter, cases, boxes)
    print(accuracy.accuracy_table(rows))
    if args.csv:
        accuracy.write_accuracy(rows, args.csv)
    if args.record:
        kind = f"loosened by up to {config.loosen} of the image side" if config.loosen else "tight"
        summary = accuracy.accuracy_summary(rows)
        record(args.bundle, "accuracy", {"split": config.on, "boxes": kind, **summary})


def sweep(args: argparse.Namespace, config: recipe.SweepConfig) -> None:
    """Print a table of one setting's values."""
    from training.store import read_store
    from training.sweep import sweep, sweep_table

    print(sweep_table(sweep(args.bundle, read_store(args.store, "val"), config), config.key))


def sources(args: argparse.Namespace, config: None) -> None:
    """Print the table of sources."""
    from training.bundle_record import sources_table

    print(sources_table(args.bundle))


def cost(args: argparse.Namespace, config: None) -> None:
    """Print time and energy of a bundle's graphs; with a store, also what bf16 costs in DSC."""
    from training.bundle_record import record
    from training.cost import measure_cost
    from training.precision import precision_costs
    from training.store import read_store

    found = {"cost": measure_cost(args.bundle)}
    if args.store:
        found["precision_costs"] = precision_costs(args.bundle, read_store(args.store, "val"))
    for key, value in found.items():
        if args.record:
            record(args.bundle, key, value)
        print(value)


def card(args: argparse.Namespace, config: recipe.CardConfig) -> None:
    """Write the model card."""
    from training.card import write_card

    write_card(args.bundle, args.records, args.out, config)
    print(args.out)


def failures(args: argparse.Namespace, config: recipe.CardConfig) -> None:
    """Draw the worst cases that may be shown."""
    from training.failures import draw_failures

    for path in draw_failures(args.bundle, args.store, args.csv, args.out, config.failures):
        print(path)


def plot(args: argparse.Namespace, config: None) -> None:
    """Curves of a run."""
    from training.plots import plot_run

    print(plot_run(args.run))


PACKED: tuple[Flag, ...] = (
    ("packed", True, "folder of the npz cases (of the pool 'packed', where there are pools)"),
    ("packed-train", False, "folder of the pool 'packed_train'"),
    ("truth", False, "folder of npz with gts, where the cases have none"),
)
CSV: Flag = ("csv", False, "write one line a case")
RECORD = (("record", "write the result into bundle.json"),)

STEPS: dict[str, Step] = {
    "prepare": Step(
        "npz cases of a split into a store", (*PACKED, STORE), recipe.PrepareConfig, prepare
    ),
    "distill": Step(
        "a teacher's embeddings into the light encoder",
        (STORE, ("teacher", True, "bundle of the teacher"), RUN, WARM, START),
        recipe.DistillConfig,
        distill,
    ),
    "finetune": Step(
        "train on masks; goes on where it stopped",
        (STORE, RUN, WARM, START, PRETRAINED),
        recipe.FinetuneConfig,
        finetune,
    ),
    "unfold": Step(
        "a bundle's weights as a checkpoint for finetune --start-from",
        (STORE, BUNDLE, RUN),
        recipe.UnfoldConfig,
        unfold,
    ),
    "finetune-volumes": Step(
        "train the network that answers whole boxes of volumes; goes on where it stopped",
        (STORE, RUN, START),
        recipe.VolumesConfig,
        finetune_volumes,
    ),
    "experts": Step(
        "tune to modality groups, keep what wins on validation",
        (STORE, ("general-run", True, "run of the general model"), BUNDLE, RUN, OUT),
        recipe.ExpertsConfig,
        experts,
    ),
    "adopt": Step(
        "another bundle's model for the modalities in which it wins on validation",
        (STORE, BUNDLE, ("other", True, "bundle with that model"), OUT),
        recipe.AdoptConfig,
        adopt,
    ),
    "mix": Step(
        "the average of two runs' weights",
        (("first", True, "a run"), ("second", True, "a run that began with it"), RUN),
        recipe.MixConfig,
        mix,
    ),
    "join": Step(
        "a run whose decoder is a plain run's and a pretrained one's together",
        (
            ("first", True, "a run with a plain decoder"),
            ("second", True, "a run with a pretrained one and the same encoder"),
            RUN,
        ),
        recipe.JoinConfig,
        join,
    ),
    "part": Step(
        "one of the two decoders of a joined run as a run of its own",
        (("joined", True, "a run with both"), RUN),
        recipe.PartConfig,
        part,
    ),
    "export": Step(
        "a run's averaged weights into a bundle",
        (
            RUN,
            ("checkpoint", False, "default: best.pt of the run, else last.pt"),
            ("split", False, "the split it was trained on"),
            ("store", False, "compare with torch on validation cases"),
            ("bundle", True, "folder of the bundle to write"),
        ),
        recipe.ExportConfig,
        export,
    ),
    "export-volumes": Step(
        "a run of finetune-volumes, or another bundle's network, into a bundle, beside its graphs",
        (
            ("run", True, "run, or bundle with such a network"),
            ("checkpoint", False, "default: last.pt of the run"),
            ("walks", False, "bundle that answers slices where a volume is walked through"),
            BUNDLE,
            OUT,
        ),
        recipe.VolumeExportConfig,
        export_volumes,
    ),
    "quantise": Step("INT8 graphs by NNCF", (STORE, BUNDLE, OUT), recipe.QuantiseConfig, quantise),
    "validate": Step(
        "accuracy of a bundle, beside the inscribed ellipse",
        (STORE, BUNDLE, CSV),
        recipe.ValidateConfig,
        validate,
        RECORD,
    ),
    "sweep": Step(
        "values of a threshold or prior compared on validation",
        (STORE, BUNDLE),
        recipe.SweepConfig,
        sweep,
    ),
    "sources": Step("what a bundle was trained on, as a table", (BUNDLE,), None, sources),
    "cost": Step(
        "time and energy of a bundle's graphs",
        (BUNDLE, ("store", False, "also what bf16 costs in DSC, on its validation cases")),
        None,
        cost,
        RECORD,
    ),
    "failures": Step(
        "pictures of the worst cases whose terms allow it",
        (STORE, BUNDLE, ("csv", True, "per-case accuracy"), OUT),
        recipe.CardConfig,
        failures,
    ),
    "card": Step(
        "the model card, from records",
        (
            BUNDLE,
            ("records", True, "folder of the version's records"),
            ("out", True, "Markdown file"),
        ),
        recipe.CardConfig,
        card,
    ),
    "plot": Step("curves of a run as SVG", (RUN,), None, plot),
}


if __name__ == "__main__":
    raise SystemExit(main())
