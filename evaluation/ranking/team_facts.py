"""What a ranking must know of each team beside its scores: protocol, hardware, digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluation.dataset import digest_of
from evaluation.errors import RankError, RecordError, UsageError
from evaluation.ranking.score_matrix import FailureValues
from evaluation.running.ranking_rules import RankingRules, parse_rules
from evaluation.running.run_folder import TeamFolder
from evaluation.scoring.score_tables import SCORES_FILE


@dataclass(frozen=True)
class TeamFacts:
    """How one team was run."""

    scores_sha256: str
    protocol: str
    """Name of the protocol, or empty."""
    failure: FailureValues
    rules: RankingRules | None
    """None where its run was made before protocols had them, or left no team.json."""
    hardware: Mapping[str, str]
    """By case; equal texts are equal hardware, empty ones are unknown."""


def read_facts(folder: Path) -> TeamFacts:
    """Read team.json and records of a team; raises RankError when one is damaged."""
    places = TeamFolder(folder)
    try:
        description = places.read_description()
    except RecordError as error:
        raise RankError(str(error)) from error
    protocol = description.get("protocol", {})
    try:
        failure = FailureValues(
            *(
                float(protocol.get(f"failure_{name}", usual))
                for name, usual in (("dsc", 0.0), ("nsd", 0.0), ("time_s", 3600.0))
            )
        )
        table = protocol.get("ranking")
        rules = None if table is None else parse_rules(table, f"{places.description}: ranking")
        name = str(protocol.get("name", ""))
    except (ValueError, TypeError, AttributeError, UsageError) as error:
        raise RankError(f"{places.description}: expected a protocol, found: {error}") from error
    return TeamFacts(
        scores_sha256=digest_of(folder / SCORES_FILE),
        protocol=name,
        failure=failure,
        rules=rules,
        hardware=_hardware(places, description.get("host")),
    )


def _hardware(places: TeamFolder, host: object) -> dict[str, str]:
    """Return the hardware of each case; where a record has none, what team.json says of the host.

    Records have it since hardware_key exists. The host's name and system are no part of it.
    """
    usual = ""
    if isinstance(host, dict):
        parts = [host.get(key, "") for key in ("processor", "machine", "processors")]
        usual = " ".join(str(part) for part in parts if part)
    records = places.counting_records()
    return {case: record.hardware or usual for case, record in records.items()}
