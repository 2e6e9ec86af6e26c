"""Pieces of a figure in SVG: axes, texts, marks; positions are CSS pixels from the upper left.

Colours come from the style sheet by class, so that one drawing serves light, dark and paper. Texts
are placed by plain numbers, without the newer attributes that programs for paper do not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

TEAM_COLOURS = 5
"""The style sheet has so many team colours; teams beyond them are grey."""

GREY = "grey"

MOST_TICKS = 8
"""Of a logarithmic axis."""

BASELINE = 4.0
"""From the middle of a text of 12 pixels down to its baseline."""


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` along pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Pixel of a value; values beyond the ends are drawn at the ends."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def linear_axis(low: float, high: float, start: float, end: float, count: int = 5) -> Axis:
    """An axis that ends at round numbers around `low` and `high`, with about `count` ticks."""
    span = high - low or abs(high) or 1.0
    rough = span / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(k * step, 12) for k in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def log_axis(values: Iterable[float], start: float, end: float) -> Axis:
    """An axis of positive values that ends at 1, 2 or 5 times a power of ten.

    Ticks are at all of these, or at powers of ten only where they would be too many.
    """
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    rounds = [k * 10.0**power for power in range(first - 1, last + 2) for k in (1, 2, 5)]
    lower = max(tick for tick in rounds if tick <= low * (1 + 1e-9))
    upper = min(tick for tick in rounds if tick >= high * (1 - 1e-9) and tick > lower)
    ticks = [tick for tick in rounds if lower <= tick <= upper]
    if len(ticks) > MOST_TICKS:
        ticks = [tick for tick in ticks if round(math.log10(tick), 9).is_integer()]
    return Axis(lower, upper, start, end, tuple(ticks), logarithmic=True)


def number(value: float) -> str:
    """A position with one decimal, in as few characters as it needs."""
    return f"{value + 0.0:.1f}".removesuffix(".0")


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Words whose middle height is at `y`; `anchor` is start, middle or end."""
    style = f' class="{kind}"' if kind else ""
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{number(x)}" y="{number(y + BASELINE)}"{side}{style}>{escape(words)}</text>'


def upright_text(x: float, y: float, words: str) -> str:
    """Words that run upwards around the point, for the title of an upright axis."""
    place = f"translate({number(x + BASELINE)} {number(y)}) rotate(-90)"
    return f'<text transform="{place}" text-anchor="middle">{escape(words)}</text>'


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path class="{kind}" d="M{path}"/>'


def circle(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A disk, with words that a pointer over it shows."""
    words = f"<title>{escape(title)}</title></circle>" if title else "</circle>"
    return f'<circle class="{kind}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}">{words}'


def rectangle(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """A rectangle, with words that a pointer over it shows."""
    words = f"<title>{escape(title)}</title></rect>" if title else "</rect>"
    return (
        f'<rect class="{kind}" x="{number(x)}" y="{number(y)}" width="{number(width)}" '
        f'height="{number(height)}">{words}'
    )


def grid_across(axis: Axis, top: float, bottom: float, title: str) -> str:
    """Lines, numbers and title of an axis that runs from left to right."""
    parts = []
    for tick in axis.ticks:
        x = axis.at(tick)
        parts.append(line([(x, top), (x, bottom)], "grid"))
        parts.append(text(x, bottom + 12, plain(tick), "middle", "tick"))
    parts.append(text((axis.start + axis.end) / 2, bottom + 30, title, "middle"))
    return "".join(parts)


def grid_up(axis: Axis, left: float, right: float, title: str) -> str:
    """Lines, numbers and title of an axis that runs upwards."""
    parts = []
    for tick in axis.ticks:
        y = axis.at(tick)
        parts.append(line([(left, y), (right, y)], "grid"))
        parts.append(text(left - 5, y, plain(tick), "end", "tick"))
    return "".join(parts) + upright_text(left - 40, (axis.start + axis.end) / 2, title)


def plain(value: float) -> str:
    """A number for people, without exponent as long as it is readable."""
    return f"{value:.6g}"


def shortened(name: str, room: int = 16) -> str:
    """A name cut to `room` characters, the cut shown."""
    return name if len(name) <= room else name[: room - 1] + "…"


def team_class(index: int) -> str:
    """Style class of the team that is `index` teams behind the first."""
    return f"t{index}" if index < TEAM_COLOURS else GREY
