"""Curves of a run: loss and validation over steps, as SVG."""

from pathlib import Path

from inference.whole_file import replace_whole
from training.run_log import read_lines


def plot_run(run_dir: Path) -> Path | None:
    """Write ``curves.svg`` from ``log.jsonl``; None where nothing was logged.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    lines = read_lines(run_dir / "log.jsonl")
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    validations = [(line["step"], line["validation"]) for line in lines if "validation" in line]
    if not losses:
        return None
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    left = figure.add_subplot()
    left.plot(*zip(*losses, strict=True), color="tab:blue", linewidth=1)
    left.set(xlabel="optimiser step", ylabel="training loss", yscale="log")
    if validations:
        right = left.twinx()
        names = sorted({n for _, scores in validations for n in scores} - {"score"})
        for name, style in zip(names, ("-", "--", ":", "-."), strict=False):
            points = [(step, scores[name]) for step, scores in validations if name in scores]
            right.plot(*zip(*points, strict=True), style, color="tab:red", marker=".", label=name)
        right.set_ylabel("validation DSC, mean over modalities")
        right.legend(loc="center right")
    path = run_dir / "curves.svg"
    replace_whole(
        path, lambda to: figure.savefig(to, format="svg", metadata={"Date": None}), ".partial"
    )
    return path
