"""The scores of all teams on all cases as arrays, from which figures and tables are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.scoring.score_tables import NOT_RUN, OK, ScoreRow

Values = NDArray[np.float64]
"""(T, C) teams by cases; NaN where there is no number."""


@dataclass(frozen=True)
class ScoreGrid:
    """T teams, best first, by C cases, by name."""

    teams: tuple[str, ...]
    cases: tuple[str, ...]
    modalities: tuple[str, ...]
    """All there are, by name."""
    modality: NDArray[np.intp]
    """(C,) into `modalities`."""
    dimensions: NDArray[np.intp]
    """(C,) 2 or 3, 0 where nobody knows."""
    statuses: tuple[str, ...]
    """All there are, `ok` first."""
    status: NDArray[np.intp]
    """(T, C) into `statuses`."""
    reasons: dict[tuple[int, int], str]
    """By team and case; only where there is one."""
    dsc: Values
    nsd: Values
    seconds: Values
    """Wall time, of cases with status `ok` only: others enter no mean."""
    dsc_official: Values
    nsd_official: Values
    script_stops: dict[str, int]
    """Cases by team over which the organisers' script would fall."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(T, C) whether the case has the status `ok`."""
        return np.equal(self.status, 0)

    def of_dimensions(self, dimensions: Sequence[int]) -> NDArray[np.bool_]:
        """(C,) the cases with a score that are 2D or 3D."""
        scored = np.isfinite(self.dsc).any(axis=0)
        return scored & np.isin(self.dimensions, list(dimensions))

    def metric(self, name: str) -> Values:
        """The array of `dsc`, `nsd` or `seconds`."""
        values: Values = getattr(self, name)
        return values


_NUMBERS = ("dsc", "nsd", "seconds", "dsc_official", "nsd_official")


def build_grid(
    rows: Sequence[ScoreRow], teams: Sequence[str], failure: tuple[float, float]
) -> ScoreGrid:
    """Arrange the rows of scores.csv; `teams` is the order of teams.

    A case that a team never ran gets the failure values in DSC and NSD, as in the ranking.
    """
    cases = sorted({row.case for row in rows})
    modalities = sorted({row.modality for row in rows})
    missing = len(rows) < len(cases) * len(teams)
    statuses = _statuses(rows, missing)
    team_at, case_at = _places(teams), _places(cases)
    modality_at, status_at = _places(modalities), _places(statuses)
    shape = (len(teams), len(cases))
    numbers = {name: np.full(shape, np.nan) for name in _NUMBERS}
    status = np.full(shape, status_at.get(NOT_RUN, 0), dtype=np.intp)
    modality, dimensions = (np.zeros(len(cases), dtype=np.intp) for _ in range(2))
    reasons = {}
    stops = dict.fromkeys(teams, 0)
    for row in rows:
        at = team_at[row.team], case_at[row.case]
        values = (row.dsc, row.nsd, row.wall_s, row.dsc_official, row.nsd_official)
        for array, value in zip(numbers.values(), values, strict=True):
            if value is not None:
                array[at] = value
        status[at] = status_at[row.status]
        modality[at[1]] = modality_at[row.modality]
        dimensions[at[1]] = max(dimensions[at[1]], row.dimensions or 0)
        stops[row.team] += bool(row.official_remark)
        if row.reason:
            reasons[at] = row.reason
    numbers["seconds"][status != 0] = np.nan
    if missing:
        never = (status == status_at[NOT_RUN]) & np.isfinite(numbers["dsc"]).any(axis=0)
        numbers["dsc"][never], numbers["nsd"][never] = failure
    return ScoreGrid(
        teams=tuple(teams),
        cases=tuple(cases),
        modalities=tuple(modalities),
        modality=modality,
        dimensions=dimensions,
        statuses=tuple(statuses),
        status=status,
        reasons=reasons,
        script_stops=stops,
        **numbers,
    )


def _statuses(rows: Sequence[ScoreRow], missing: bool) -> list[str]:
    """All there are, `ok` first."""
    found = {row.status for row in rows} | {OK} | ({NOT_RUN} if missing else set())
    return sorted(found, key=lambda name: (name != OK, name))


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}
