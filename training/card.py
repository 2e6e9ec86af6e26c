"""The model card, written from records; no figure in it is typed by hand.

A version's records are a folder: ``record.toml`` (what a person decided and saw),
``test_tight.csv`` and ``test_loose.csv`` (one line a case, from ``validate --csv``) and, where the
bundle has none, ``log.jsonl`` (the run's log).  The bundle tells the rest: sources, time,
precision, cost, experts.
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.whole_file import replace_whole
from training.bundle_record import LOG_FILE, sources_table
from training.card_tables import (
    accuracy_rows,
    bars,
    earlier_versions,
    failure_rows,
    markdown_table,
    source_rows,
)
from training.errors import RecordError
from training.recipe import CardConfig
from training.run_log import read_lines, run_seconds
from training.validate import CaseAccuracy, read_accuracy

REQUIRED = {"parts": list, "introduction": str, "commands": list, "limits": list, "choices": list}
"""Keys that record.toml must have."""


@dataclass(frozen=True)
class Records:
    """Everything that a card is made of."""

    bundle: Path
    content: dict[str, Any]
    """bundle.json."""
    notes: dict[str, Any]
    """record.toml."""
    tight: list[CaseAccuracy]
    loose: list[CaseAccuracy]
    """Empty where it was not measured."""
    log: list[dict[str, Any]]
    folder: Path


def read_records(bundle: Path, folder: Path) -> Records:
    """Read a bundle and a version's records.

    Raises:
        RecordError: naming the file or key that is missing.
    """
    try:
        content = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        notes = tomllib.loads((folder / "record.toml").read_text(encoding="utf-8"))
        tight = read_accuracy(folder / "test_tight.csv")
    except OSError as error:
        raise RecordError(f"{error.filename}: expected a record, found: {error.strerror}") from None
    except ValueError as error:
        raise RecordError(f"{bundle}, {folder}: expected JSON and TOML, found: {error}") from None
    for key, kind in REQUIRED.items():
        if not isinstance(notes.get(key), kind):
            found = type(notes.get(key)).__name__
            raise RecordError(
                f"{folder}/record.toml: {key}: expected {kind.__name__}, found {found}"
            )
    if not tight:
        raise RecordError(f"{folder}/test_tight.csv: expected cases, found none")
    loose = folder / "test_loose.csv"
    log = read_lines(bundle / LOG_FILE) or read_lines(folder / "log.jsonl")
    rows = read_accuracy(loose) if loose.exists() else []
    return Records(bundle, content, notes, tight, rows, log, folder)


def write_card(bundle: Path, folder: Path, out: Path, config: CardConfig) -> None:
    """Write the card, replacing it whole."""
    text = card_text(read_records(bundle, folder), config)
    replace_whole(out, lambda partial: partial.write_text(text, encoding="utf-8"), ".partial")


def card_text(records: Records, config: CardConfig) -> str:
    """The whole card as Markdown."""
    content, notes = records.content, records.notes
    parts = [
        f"# Model card: {content['name']} {content['version']}",
        "The bundle in `inference/bundle/`. This page is written by `python -m training card` "
        f"from `training/records/{records.folder.name}/` and `bundle.json`; change those and run "
        "it again.",
        "## What it is",
        markdown_table(["part", "what"], "--", notes["parts"]),
        notes["introduction"].strip(),
        *accuracy_section(records, config),
        *failure_section(records, config),
        *precision_section(content),
        *cost_section(content),
        *data_section(records),
        *training_section(records),
        *choices_section(records),
        *earlier_section(records),
        "## Limits",
        "\n".join(f"- {limit}" for limit in notes["limits"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def accuracy_section(records: Records, config: CardConfig) -> list[str]:
    """Tables of accuracy with intervals, by modality and by source, and the bars."""
    heads = ["", "modality", "cases", "groups", "DSC", "interval", "ellipse DSC", "NSD",
             "ellipse NSD"]  # fmt: skip
    command = "python -m training validate --config training/configs/validate.toml"
    percent = f"{config.level:.0%}".replace("%", " %")
    text = [
        "## How accurate",
        "Cases of the test side of `data_splits/default.csv`: no case of their groups (patient, "
        "scan, video) was trained on; choices were made on the validation side (how often the test "
        "side was looked at is said below the tables). Mean over the labels of a case, then over "
        "the cases of a modality, then over modalities. NSD at 2 px (2D, contour) or 2 mm (3D). "
        "Beside it the *inscribed ellipse*: what filling each box with an ellipse (ellipsoid) "
        f"scores. Intervals: {percent} percentile bootstrap over groups, {config.resamples:,} "
        f"resamples, seed {config.seed}; none where all cases are of one group.",
        "### Against the bars",
        markdown_table(
            ["bar", "measured", "met"], "---", bars(records.tight, records.loose, records.content)
        ),  # fmt: skip
        "### Tight boxes",
        f"`{command} --store STORE --bundle inference/bundle --csv "
        f"training/records/{records.folder.name}/test_tight.csv`",
        markdown_table(heads, "--rrrrrrr", accuracy_rows(records.tight, config)),
    ]
    if records.loose:
        text += [
            "### Boxes loosened by up to 5 % of the image side",
            "Each side moved outward by a uniform share of it (`--loosen 0.05 --seed 0`).",
            f"`{command} --loosen 0.05 --store STORE --bundle inference/bundle --csv "
            f"training/records/{records.folder.name}/test_loose.csv`",
            markdown_table(heads, "--rrrrrrr", accuracy_rows(records.loose, config)),
        ]
    remarks = records.notes.get("remarks", [])
    text += ["\n".join(f"- {remark}" for remark in remarks)]
    return [
        *text,
        "### By source, tight boxes",
        markdown_table(
            ["", "modality", "source", "cases", "groups", "DSC", "interval", "ellipse DSC"],
            "---rrrrr",
            source_rows(records.tight, config),
        ),
    ]


def failure_section(records: Records, config: CardConfig) -> list[str]:
    """The worst cases in words; pictures are drawn on the reader's machine."""
    return [
        "## Failures",
        f"The {config.failures} worst test cases, at most two of a source. Pictures of those whose "
        "terms allow it: `python -m training failures --store STORE --bundle inference/bundle "
        f"--csv training/records/{records.folder.name}/test_tight.csv --out build/failures` "
        "(truth green, model red, boxes yellow); none is in this repository.",
        markdown_table(
            ["case", "objects", "DSC", "ellipse DSC", "NSD"],
            "-rrrr",
            failure_rows(records.tight, config.failures),
        ),
        "\n".join(f"- {words}" for words in records.notes.get("failures", [])),
    ]


def precision_section(content: dict[str, Any]) -> list[str]:
    """What each precision costs, where it was measured."""
    costs = content.get("precision_costs")
    if not costs:
        return ["## Precision", "f32 ships. What INT8 or bf16 would cost has not been measured."]
    rows = [
        [
            name,
            *(
                f"{costs[name][d]['dsc']:.4f} ({0.0 - costs[name][d]['loss']:+.4f})"
                for d in costs["f32"]
            ),
        ]
        for name in ("f32", "bf16", "int8")
        if name in costs
    ]
    native = "" if costs["bf16_native"] else " This processor has no bf16: OpenVINO ran it in f32."
    return [
        "## Precision",
        f"DSC on {costs['cases']} validation cases, tight boxes, and the difference to f32 "
        f"(`python -m training cost --bundle BUNDLE --store STORE --record`).{native}",
        markdown_table(["precision", *costs["f32"]], "-" + "r" * len(costs["f32"]), rows),
    ]


def cost_section(content: dict[str, Any]) -> list[str]:
    """Time and energy of the graphs."""
    cost = content.get("cost")
    if not cost:
        return ["## Speed and energy", "Not recorded: `python -m training cost --bundle "
                "inference/bundle --record`. Whole cases: `benchmarks/case_cost.py`."]  # fmt: skip
    joules = cost["joules_per_case"]
    energy = cost["energy_by"] if joules is None else f"{joules} J a case ({cost['energy_by']})"
    rows = [[part, f"{cost[f'{part}_ms']['median']}", f"{cost[f'{part}_ms']['best']}"]
            for part in ("encoder", "decoder", "volume") if f"{part}_ms" in cost]  # fmt: skip
    return [
        "## Speed and energy",
        f"Graphs alone, one run, {cost['engine']} {cost['precision']}, "
        f"{cost['threads']} threads, {cost['processor']} (`python -m training cost --bundle "
        "inference/bundle`); whole cases: `benchmarks/case_cost.py`.",
        markdown_table(["graph", "median ms", "best ms"], "-rr", rows),
        f"Energy: {energy}.",
    ]


def data_section(records: Records) -> list[str]:
    """Sources and terms."""
    return [
        "## What it was trained on",
        "`data_splits/default.csv` lists every case with its source, group and terms; "
        "`inference/bundle/bundle.json` repeats the sources under `training.sources`. Cases whose "
        "redistribution is documented, or not documented either way, were used for training; no "
        "picture is in this repository.",
        "`python -m training sources --bundle inference/bundle`",
        sources_table(records.bundle).strip(),
    ]


def training_section(records: Records) -> list[str]:
    """Commands, time, stages."""
    notes, training = records.notes, records.content["training"]
    text = ["## How it was trained", "\n".join(f"    {line}" for line in notes["commands"])]
    hours = run_seconds(records.log) / 3600
    losses = [line for line in records.log if "loss" in line]
    if losses:
        text.append(
            f"{losses[-1]['step']:,} steps in {hours:.1f} h by the run's log, loss "
            f"{losses[0]['loss']:.3f} to {losses[-1]['loss']:.3f}. Start: "
            f"{training.get('warm_start', 'random weights')}."
        )
    text.append(notes.get("reproduces", "").strip())
    stages = [[stage["steps"], stage["what"]] for stage in notes.get("stages", [])]
    if stages:
        text.append(markdown_table(["steps", "what changed at its beginning"], "--", stages))
    return text


def choices_section(records: Records) -> list[str]:
    """The ablation table, and the experts' verdicts."""
    rows = [[c["choice"], c["tried"], c["kept"]] for c in records.notes["choices"]]
    text = [
        "## What was tried",
        "On validation, mean over modalities of the DSC; what did not help stands here too.",
        markdown_table(["choice", "tried", "kept"], "---", rows),
    ]
    verdicts = records.content.get("experts", [])
    if verdicts:
        judged = [
            [v["group"], v["modality"], str(v["cases"]), f"{v['general_dsc']:.3f}",
             f"{v['expert_dsc']:.3f}", "yes" if v["kept"] else f"no: {v['reason']}"]
            for v in verdicts
        ]  # fmt: skip
        heads = ["expert", "modality", "cases", "general DSC", "expert DSC", "kept"]
        text.append(markdown_table(heads, "--rrr-", judged))
    return text


def earlier_section(records: Records) -> list[str]:
    """Means of the versions before this one, from their own records."""
    rows = earlier_versions(records.folder)
    if not rows:
        return []
    heads = ["version", "2D DSC, tight", "3D DSC, tight", "2D DSC, loosened", "3D DSC, loosened"]
    return [
        "## Earlier versions",
        "Same test side; their records, with what was tried then, are in `training/records/`.",
        markdown_table(heads, "-rrrr", rows),
    ]
