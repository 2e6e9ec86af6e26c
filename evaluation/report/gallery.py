"""The section of the report that shows pictures of cases, with a switch for every layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evaluation.report.drawing import TEAM_COLOURS, team_class
from evaluation.report.grid import ScoreGrid
from evaluation.report.html import format_value
from evaluation.report.pictures import CasePicture

_BOX_AND_TRUTH = ("box", "truth")


def gallery(grid: ScoreGrid, pictures: Sequence[CasePicture]) -> str:
    """Pictures in a grid; each with its scores, one line a team."""
    teams = grid.teams[:TEAM_COLOURS]
    layers = [*zip(_BOX_AND_TRUTH, _BOX_AND_TRUTH, strict=True)]
    layers += [(team_class(index), team) for index, team in enumerate(teams)]
    switches = "".join(
        f'<label><input type="checkbox" checked data-switch="{layer}">'
        f'<i class="line {layer}"></i>{escape(name)}</label>'
        for layer, name in layers
    )
    figures = "".join(_picture(picture, grid) for picture in pictures)
    left_out = len(grid.teams) - len(teams)
    first = f"Contours of the first {len(teams)} of {len(grid.teams)} teams. " if left_out else ""
    return (
        "<p>Worst, best and median case of each modality in 2D and 3D by the mean DSC of all "
        f"teams, then more of the bad ones. {first}A volume shows the middle slice of its truth; "
        "scores are of the whole volume.</p>"
        f'<div class="legend switches">{switches}</div><div class="pictures">{figures}</div>'
    )


def _picture(picture: CasePicture, grid: ScoreGrid) -> str:
    shapes = [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"/>'
        for box in picture.boxes
    ]
    layers = [f'<g data-layer="box" class="box">{"".join(shapes)}</g>'] if shapes else []
    layers.append(f'<path data-layer="truth" class="truth" d="{picture.truth_path}"/>')
    lines = []
    case = grid.cases.index(picture.case)
    for index, team in enumerate(grid.teams[:TEAM_COLOURS]):
        colour = team_class(index)
        if path := picture.team_paths.get(team):
            layers.append(f'<path data-layer="{colour}" class="{colour}" d="{path}"/>')
        dsc, nsd = float(grid.dsc[index, case]), float(grid.nsd[index, case])
        result = f"DSC {format_value('dsc', dsc)}, NSD {format_value('nsd', nsd)}"
        if not grid.ok[index, case]:
            result = f"{escape(grid.statuses[grid.status[index, case]])}; {result}"
        lines.append(f'<li><i class="line {colour}"></i>{escape(team)}: {result}</li>')
    kind = f"{picture.modality} {picture.dimensions}D" + (f", {picture.role}" * bool(picture.role))
    place = f", {picture.place}" if picture.place else ""
    label = f"{picture.case}: {kind}{place}, with box, truth and contours of teams"
    return (
        f'<figure><svg viewBox="0 0 {picture.width} {picture.height}" role="img" '
        f'aria-label="{escape(label)}">'
        f'<image width="{picture.width}" height="{picture.height}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{picture.png}"/>{"".join(layers)}</svg>'
        f'<figcaption><b class="name">{escape(picture.case)}</b>'
        f"<small>{escape(kind)}{escape(place)}</small><ul>{''.join(lines)}</ul>"
        "</figcaption></figure>"
    )
