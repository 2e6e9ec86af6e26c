"""Where everything on the page comes from, down to digests, and how to make the page again."""

from __future__ import annotations

from html import escape

from evaluation.report.data import PROCESS_RUNNER, ReportData, TeamInfo
from evaluation.report.html import facts_list, folded

COMMON = ("protocol.", "protocol_sha256", "host.", "versions.", "workers.")
"""Facts of a team that stand once at the top where they are the same for all teams."""


def provenance_section(data: ReportData, facts: dict[str, str], command: str) -> str:
    """The command, what the page was made with, what all teams share, then every team."""
    made = {
        **facts,
        "rank.json sha256": data.rank_sha256,
        "inputs of all cases sha256": data.cases_sha256 or "not recorded",
    }
    rules = {
        f"ranking.{key}": ", ".join(f"{k} {v}" for k, v in value.items())
        if isinstance(value, dict)
        else str(value)
        for key, value in data.ranking.rules.items()
    }
    shared = _shared(data.teams)
    return (
        "<p>The same files and the same command give this page again, byte for byte:</p>"
        f"<pre class=name>{escape(command)}</pre>"
        + facts_list("This page", {**made, **rules})
        + (facts_list("All teams", shared) if shared else "")
        + "".join(
            folded(team.name, _team_facts(team, set(shared)), opened=len(data.teams) <= 3)
            for team in data.teams
        )
    )


def _shared(teams: tuple[TeamInfo, ...]) -> dict[str, str]:
    """Facts about protocol, host and versions that are equal for all of several teams."""
    if len(teams) < 2:
        return {}
    first, *others = (team.description for team in teams)
    return {
        key: value
        for key, value in first.items()
        if key.startswith(COMMON) and all(other.get(key) == value for other in others)
    }


def _team_facts(team: TeamInfo, shared: set[str]) -> str:
    own = {key: value for key, value in team.description.items() if key not in shared}
    facts = {"runner": team.runner, **own}
    if PROCESS_RUNNER in team.runner:
        facts["limits"] = "of the protocol only the time limit holds for a process; see the top"
    if team.started:
        facts["first case started"], facts["last case started"] = team.started
    facts |= {f"{name} sha256": digest for name, digest in team.digests.items()}
    return facts_list("", facts)
