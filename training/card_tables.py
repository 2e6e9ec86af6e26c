"""Rows of the model card's tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.precision import MOST_LOST, bf16_loss
from training.failures import worst
from training.recipe import CardConfig
from training.validate import SCORES, CaseAccuracy, accuracy_summary, read_accuracy

Rows = list[list[str]]


def markdown_table(heads: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> str:
    """A table; ``align`` has one letter a column: r for numbers, - for words."""
    rules = ["---:" if letter == "r" else "---" for letter in align]
    lines = [list(heads), rules, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in x) + " |" for x in lines)


def interval(
    cells: Sequence[Sequence[CaseAccuracy]], config: CardConfig, score: str = "dsc"
) -> tuple[float, float] | None:
    """Percentile bootstrap of the mean over ``cells`` (modalities) of the mean over their cases.

    Whole groups are drawn with replacement within each cell, because cases of one group are alike
    (Davison and Hinkley, Bootstrap Methods, 1997, section 3.8); a cell of one group stays as it is.
    None where every cell has one group only.
    """
    if all(len({row.group for row in cell}) < 2 for cell in cells):
        return None
    dice = np.random.default_rng(config.seed)
    totals = np.zeros(config.resamples)
    for cell in cells:
        sums: dict[str, list[float]] = {}
        for row in cell:
            sums.setdefault(row.group, []).append(getattr(row, score))
        total = np.array([sum(values) for values in sums.values()])
        count = np.array([len(values) for values in sums.values()])
        drawn = dice.integers(0, len(total), (config.resamples, len(total)))
        totals += total[drawn].sum(1) / count[drawn].sum(1)
    tail = (1 - config.level) / 2
    low, high = np.quantile(totals / len(cells), [tail, 1 - tail])
    return float(low), float(high)


def interval_words(found: tuple[float, float] | None) -> str:
    """As it stands in a table."""
    return "one group" if found is None else f"{found[0]:.3f}–{found[1]:.3f}"


def accuracy_rows(rows: Sequence[CaseAccuracy], config: CardConfig) -> Rows:
    """By (dims, modality), and the mean over modalities."""
    table: Rows = []
    for dims, summary in accuracy_summary(rows).items():
        cells = {m: [r for r in rows if (r.dims, r.modality) == (dims, m)] for m in summary}
        for modality, scores in summary.items():
            is_mean = modality == "mean"
            members = [c for m, c in cells.items() if m != "mean"] if is_mean else [cells[modality]]
            bold = "**" if is_mean else ""
            dsc, ellipse, nsd, ellipse_nsd = (f"{bold}{scores[n]:.3f}{bold}" for n in SCORES)
            name = "**mean over modalities**" if is_mean else modality
            counts = [f"{scores['cases']:.0f}", f"{scores['groups']:.0f}"]
            words = interval_words(interval(members, config))
            table.append([dims, name, *counts, dsc, words, ellipse, nsd, ellipse_nsd])
    return table


def source_rows(rows: Sequence[CaseAccuracy], config: CardConfig) -> Rows:
    """By (dims, modality, source)."""
    table: Rows = []
    for key in sorted({(r.dims, r.modality, r.source) for r in rows}):
        members = [r for r in rows if (r.dims, r.modality, r.source) == key]
        dsc, ellipse = (float(np.mean([getattr(m, n) for m in members])) for n in SCORES[:2])
        counts = [str(len(members)), str(len({m.group for m in members}))]
        words = interval_words(interval([members], config))
        table.append([*key, *counts, f"{dsc:.3f}", words, f"{ellipse:.3f}"])
    return table


def bars(
    tight: Sequence[CaseAccuracy], loose: Sequence[CaseAccuracy], content: dict[str, Any]
) -> Rows:
    """What was asked of the model beside what it does."""
    found, table = accuracy_summary(tight), []

    def add(bar: str, measured: str, met: bool) -> None:
        table.append([bar, measured, "yes" if met else "**no**"])

    for dims, least in (("2D", 0.90), ("3D", 0.80)):
        if dims in found:
            mean = found[dims]["mean"]["dsc"]
            add(f"{dims}: mean DSC at least {least:.2f}", f"{mean:.3f}", mean >= least)
    near = {
        m: s["dsc"] - s["ellipse_dsc"]
        for m, s in found.get("2D", {}).items()
        if m != "mean" and s["ellipse_dsc"] <= 0.9 and s["dsc"] - s["ellipse_dsc"] < 0.05
    }
    words = ", ".join(f"{m} {gain:+.3f}" for m, gain in near.items()) or "all"
    add("2D: each modality 0.05 above the ellipse unless that is above 0.90", words, not near)
    moved = accuracy_summary(loose) if loose else {}
    for dims in moved:
        lost = found[dims]["mean"]["dsc"] - moved[dims]["mean"]["dsc"]
        add(f"{dims}: at most 0.03 lost with loosened boxes", f"{lost:.3f}", lost <= 0.03)
    loss = bf16_loss(content)
    if loss is not None:
        add("bf16, by default where it is fast: at most 0.003 below f32", f"{loss:.4f}",
            loss <= MOST_LOST)  # fmt: skip
    if "cost" in content:
        spent = sum(content["cost"][f"{part}_ms"]["median"] for part in ("encoder", "decoder"))
        add("one picture, one box, graphs only: at most 150 ms", f"{spent:.0f} ms", spent <= 150)
    return table


def failure_rows(rows: Sequence[CaseAccuracy], count: int) -> Rows:
    """The worst cases in numbers."""
    return [
        [row.file, str(row.n_labels), f"{row.dsc:.3f}", f"{row.ellipse_dsc:.3f}", f"{row.nsd:.3f}"]
        for row in worst(rows, count)
    ]


def earlier_versions(folder: Path) -> Rows:
    """Means of the versions whose records lie beside ``folder`` and come before it by name."""
    table: Rows = []
    before = [p for p in sorted(folder.parent.iterdir(), key=version_key)
              if p.is_dir() and version_key(p) < version_key(folder)]  # fmt: skip
    for other in before:
        cells = [other.name]
        for name in ("test_tight.csv", "test_loose.csv"):
            path = other / name
            summary = accuracy_summary(read_accuracy(path)) if path.exists() else {}
            for dims in ("2D", "3D"):
                cells.append(f"{summary[dims]['mean']['dsc']:.3f}" if dims in summary else "")
        table.append(cells)
    return table


def version_key(folder: Path) -> tuple[int | str, ...]:
    """Numbers of a version as numbers; names that are none come first."""
    parts = folder.name.split(".")
    return tuple(int(p) for p in parts) if all(p.isdigit() for p in parts) else (-1,)
