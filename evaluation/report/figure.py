"""A figure: drawing, words and numbers; in the page, and as files for a paper.

Every figure is drawn once. In the page it is inline SVG coloured by the page's style sheet, so that
it follows light and dark. As a file it is the same drawing with colours of its own on white, as
wide as a column of a journal, beside a csv with the numbers in it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from evaluation.scoring.score_tables import replace_file

ASSETS = Path(__file__).parent / "assets"

WIDTH = 400
"""Of every figure in CSS pixels: as narrow as a telephone; wide screens show several in a row."""

PAPER_WIDTH_MM = 88
"""One column of a journal; texts of 12 pixels are 7.5 points high then."""

Cell = str | int | float | None


@dataclass(frozen=True)
class Figure:
    """One figure."""

    name: str
    """Stem of its files."""
    title: str
    """What is shown, with units."""
    caption: str
    """n, failures, what the marks mean; plain text."""
    height: float
    """CSS pixels; the width is WIDTH."""
    drawing: str
    """Inside of the SVG."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """The numbers in it, for the csv."""

    def as_html(self) -> str:
        """The figure in the page; its caption is what a screen reader says of it."""
        label = f"figure-{self.name}"
        return (
            f'<figure id="{label}"><h4 id="{label}-title">{escape(self.title)}</h4>'
            f'<svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" '
            f'aria-labelledby="{label}-title" aria-describedby="{label}-caption">{self.drawing}'
            f'</svg><figcaption id="{label}-caption">{escape(self.caption)}</figcaption></figure>'
        )

    def as_svg(self) -> str:
        """The figure as a file: colours resolved, as programs for paper know no variables."""
        height_mm = PAPER_WIDTH_MM * self.height / WIDTH
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'width="{PAPER_WIDTH_MM}mm" height="{height_mm:.1f}mm" '
            f'viewBox="0 0 {WIDTH} {self.height:g}">\n'
            f"<title>{escape(self.title)}</title>\n<desc>{escape(self.caption)}</desc>\n"
            f"<style>\n{paper_style()}</style>\n"
            f'<rect width="{WIDTH}" height="{self.height:g}" fill="#fff"/>\n'
            f"{self.drawing}\n</svg>\n"
        )

    def as_csv(self) -> str:
        """The numbers of the figure; an empty cell where there is none."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(
            ["" if cell is None else _short(cell) for cell in row] for row in self.rows
        )
        return stream.getvalue()


def write_figures(folder: Path, figures: Sequence[Figure]) -> None:
    """Write NAME.svg and NAME.csv of every figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        replace_file(folder / f"{figure.name}.svg", figure.as_svg())
        replace_file(folder / f"{figure.name}.csv", figure.as_csv())


def in_a_row(figures: Iterable[Figure]) -> str:
    """Figures side by side where there is room, else one below the other."""
    contents = [figure.as_html() for figure in figures]
    kind = "plots pairs" if len(contents) in (2, 4) else "plots"
    return f'<div class="{kind}">{"".join(contents)}</div>' if contents else ""


def paper_style() -> str:
    """The style sheet of figures with the colours of the light page in the place of variables."""
    palette = (ASSETS / "palette.css").read_text(encoding="utf-8").partition("@media")[0]
    colours = dict(re.findall(r"--([\w-]+):\s*([^;]+);", palette))
    rules = (ASSETS / "figure.css").read_text(encoding="utf-8")
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], rules)


def _short(cell: str | int | float) -> str | int:
    """Six decimals, as rank.json has them, without trailing zeros."""
    if not isinstance(cell, float):
        return cell
    return f"{cell:.6f}".rstrip("0").rstrip(".")
