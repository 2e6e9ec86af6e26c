"""The section of the report that shows pictures of cases, with a switch for every layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evaluation.ranking.rank import format_value
from evaluation.report.data import ReportData
from evaluation.report.html import colour_class
from evaluation.report.pictures import CasePicture
from evaluation.scoring.score_tables import OK, ScoreRow


def gallery(data: ReportData, pictures: Sequence[CasePicture]) -> str:
    """Pictures in a grid; each with its scores, one line a team."""
    scores = {(row.case, row.team): row for row in data.rows}
    teams = [team.name for team in data.teams]
    layers = [("box", "box"), ("truth", "truth")]
    layers += [(f"t{index}", team) for index, team in enumerate(teams)]
    switches = "".join(
        f'<label><input type="checkbox" checked data-switch="{layer}">'
        f'<i class="line {colour_class(layer)}"></i>{escape(name)}</label>'
        for layer, name in layers
    )
    figures = "".join(_picture(picture, teams, scores) for picture in pictures)
    return (
        "<p>Worst, best and middle case of each kind by the teams' mean DSC, then the next worst. "
        "A volume shows the middle slice of its truth.</p>"
        f'<div class="legend switches">{switches}</div><div class="pictures">{figures}</div>'
    )


def _picture(
    picture: CasePicture, teams: Sequence[str], scores: dict[tuple[str, str], ScoreRow]
) -> str:
    shapes = [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"/>'
        for box in picture.boxes
    ]
    layers = [f'<g data-layer="box" class="box">{"".join(shapes)}</g>'] if shapes else []
    layers.append(f'<path data-layer="truth" class="truth" d="{picture.truth_path}"/>')
    lines = []
    for index, team in enumerate(teams):
        colour = colour_class(f"t{index}")
        if path := picture.team_paths.get(team):
            layers.append(f'<path data-layer="t{index}" class="{colour}" d="{path}"/>')
        row = scores[picture.case, team]
        result = f"DSC {format_value('dsc', row.dsc)}, NSD {format_value('nsd', row.nsd)}"
        result = result if row.status == OK else f"{escape(row.status)}, scores 0"
        lines.append(f'<li><i class="line {colour}"></i>{escape(team)}: {result}</li>')
    place = f"<small>{escape(picture.place)}</small>" if picture.place else ""
    return (
        f'<figure><svg viewBox="0 0 {picture.width} {picture.height}" role="img" '
        f'aria-label="{escape(picture.case)} with box and contours">'
        f'<image width="{picture.width}" height="{picture.height}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{picture.png}"/>{"".join(layers)}</svg>'
        f'<figcaption><b class="name">{escape(picture.case)}</b>{place}<ul>{"".join(lines)}</ul>'
        "</figcaption></figure>"
    )
