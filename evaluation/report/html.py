"""Pieces of HTML that the sections of the report share; what is text and not HTML is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from evaluation.report.figures import TEAM_COLOURS


def table(heads: Iterable[str], body: Iterable[str], kind: str, name: str = "") -> str:
    """A table that scrolls inside its own frame when the page is narrow; cells are HTML already.

    `kind` is its style class, `name` tells tables of one kind apart.
    """
    titles = "".join(f'<th scope="col">{head}</th>' for head in heads)
    label = f"{kind}-{name}" if name else kind
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table {escape(label)}">'
        f'<table class="{kind}" id="table-{escape(label)}">'
        f"<thead><tr>{titles}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def section(title: str, content: str) -> str:
    """A section of the page with its heading; `content` is HTML already."""
    return f'<section id="{title.lower().replace(" ", "-")}"><h2>{title}</h2>{content}</section>'


def facts_list(title: str, facts: dict[str, str]) -> str:
    """Names and values under a heading."""
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items()
    )
    return f"<h3>{escape(title)}</h3><dl>{items}</dl>"


def legend(teams: Sequence[str]) -> str:
    """Which colour is which team."""
    items = "".join(
        f'<span><i class="dot {colour_class(f"t{index}")}"></i>{escape(team)}</span>'
        for index, team in enumerate(teams)
    )
    return f'<div class="legend">{items}</div>'


def colour_class(layer: str) -> str:
    """Style class of a layer: `t7` for team 15 of 8 colours, others as they are called."""
    return f"t{int(layer[1:]) % TEAM_COLOURS}" if layer[1:].isdigit() else layer


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number with its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"
