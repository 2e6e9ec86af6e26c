"""Pieces of HTML that the sections of the report share; what is text and not HTML is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

METRIC_TITLES = {"dsc": "DSC", "nsd": "NSD", "seconds": "Seconds"}

DECIMALS = {"dsc": 4, "nsd": 4, "seconds": 2}
"""Decimals for people; rank.json and the csv files keep all that is stored."""


def table(
    heads: Iterable[str],
    body: Iterable[str],
    kind: str,
    name: str = "",
    caption: str = "",
) -> str:
    """A table that scrolls inside its own frame when the page is narrow; cells are HTML already.

    `kind` is its style class, the first word of which with `name` makes its id.
    """
    titles = "".join(
        head if head.startswith("<th") else f'<th scope="col">{head}</th>' for head in heads
    )
    first = kind.split()[0]
    label = f"{first}-{name}" if name else first
    words = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table {escape(label)}">'
        f'<table class="{kind}" id="table-{escape(label)}">{words}'
        f"<thead><tr>{titles}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def anchor(title: str) -> str:
    """The id of a section."""
    return title.lower().replace(" ", "-")


def section(title: str, content: str) -> str:
    """A section of the page with its heading; `content` is HTML already."""
    name = anchor(title)
    return (
        f'<section id="{name}" aria-labelledby="{name}-head">'
        f'<h2 id="{name}-head">{title}</h2>{content}</section>'
    )


def folded(title: str, content: str, *, opened: bool = False, long: bool = False) -> str:
    """Content behind a line that opens it; a long one stays folded on paper."""
    if not content:
        return ""
    state = (" open" if opened else "") + (' class="long"' if long else "")
    return f"<details{state}><summary>{escape(title)}</summary>{content}</details>"


def facts_list(title: str, facts: dict[str, str]) -> str:
    """Names and values, under a heading unless it is empty."""
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items()
    )
    return (f"<h3>{escape(title)}</h3>" if title else "") + f"<dl>{items}</dl>"


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_value(metric: str, value: float | None) -> str:
    """Write a number with the decimals of its metric; a dash for none."""
    return "-" if value is None else f"{value:.{DECIMALS[metric]}f}"


def number_cell(text: str, key: float | None = None, more: str = "", kind: str = "num") -> str:
    """A cell that is sorted by `key`, where its text is more than a number."""
    data = "" if key is None else f' data-key="{key:.6g}"'
    return f'<td class="{kind}"{data}{more}>{text}</td>'


def options(names: Sequence[str], everything: str) -> str:
    """Choices of a select element; the first, of value "", is everything."""
    return f'<option value="">{escape(everything)}</option>' + "".join(
        f'<option value="{escape(name)}">{escape(name)}</option>' for name in names
    )


def as_script_data(content: object) -> str:
    """JSON that may stand inside a script element, whatever names are in it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
