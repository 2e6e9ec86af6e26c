"""The ``[ranking]`` table of a protocol: how scores become places.

It is part of the protocol, so that a team knows before it submits how it will be ranked; no
container notices it, and `run` never reads it. A table in a file::

    [ranking]
    scheme = "rank-then-average"
    weights = { dsc = 1, nsd = 1, seconds = 1 }
    balance-modalities = true
    seconds-tolerance = 0
    alpha = 0.05
    bootstraps = 1000
    seed = 2024
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from evaluation.errors import UsageError

SCHEMES = ("rank-then-average", "aggregate-then-rank", "test-then-rank")
"""Ways from scores to places; all are computed, the protocol says which one decides."""

_METRICS = ("dsc", "nsd", "seconds")
_KINDS = {"scheme": str, "weights": dict, "balance_modalities": bool}
_WHOLE = ("bootstraps", "seed")


def _equal_weights() -> dict[str, float]:
    return dict.fromkeys(_METRICS, 1.0)


@dataclass(frozen=True)
class RankingRules:
    """How teams are ranked; the defaults are those of the lab's FLARE challenges."""

    scheme: str = SCHEMES[0]
    weights: dict[str, float] = field(default_factory=_equal_weights)
    """Of each metric; 0 leaves it out. FLARE 2022 gives its two memory metrics half a weight."""
    balance_modalities: bool = True
    """Whether every modality weighs the same, whatever its number of cases."""
    seconds_tolerance_s: float = 0.0
    """Run times up to this count as equal, as start-up in NeurIPS 2022 CellSeg, and as 2 GB of
    memory in FLARE 2022."""
    alpha: float = 0.05
    """Level of all tests, and 1 less the coverage of all intervals."""
    bootstraps: int = 1000
    seed: int = 2024

    def __post_init__(self) -> None:
        """Raise UsageError for rules by which nothing can be ranked."""
        if self.scheme not in SCHEMES:
            raise UsageError(f"scheme: expected {', '.join(SCHEMES)}, found {self.scheme!r}")
        if set(self.weights) != set(_METRICS):
            found = ", ".join(self.weights)
            raise UsageError(f"weights: expected dsc, nsd and seconds, found {found or 'none'}")
        for metric, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise UsageError(f"weights: {metric}: expected 0 or more, found {weight}")
        if not any(self.weights.values()):
            raise UsageError("weights: expected at least one above 0, found none")
        if not 0 <= self.seconds_tolerance_s < math.inf:
            found_s = self.seconds_tolerance_s
            raise UsageError(f"seconds-tolerance: expected 0 or more, found {found_s}")
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha: expected between 0 and 1, found {self.alpha}")
        if self.bootstraps < 1:
            raise UsageError(f"bootstraps: expected 1 or more, found {self.bootstraps}")
        if self.seed < 0:
            raise UsageError(f"seed: expected 0 or more, found {self.seed}")


def parse_rules(table: object, where: str = "[ranking]") -> RankingRules:
    """Return the rules in a TOML table or in the stored form of one; what it lacks is as usual.

    Raises UsageError, naming `where` and the key, for a key or value that means nothing.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: expected a table, found {table!r}")
    names = {entry.name.removesuffix("_s").replace("_", "-"): entry.name for entry in _entries()}
    names |= {entry.name: entry.name for entry in _entries()}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            known = ", ".join(name for name in names if "_" not in name)
            raise UsageError(f"{where}: expected keys out of {known}, found {key!r}")
        values[names[key]] = _typed(f"{where}: {key}", names[key], value)
    try:
        return RankingRules(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _entries() -> tuple[Any, ...]:
    return fields(RankingRules)


def _typed(where: str, name: str, value: object) -> Any:
    """Return a value as its field's type; a part of the weights leaves the others at 1."""
    if name == "weights" and isinstance(value, Mapping):
        parts = {key: _number(f"{where}: {key}", part) for key, part in value.items()}
        return {**_equal_weights(), **parts}
    kind = _KINDS.get(name)
    if kind is not None:
        if not isinstance(value, kind):
            raise UsageError(f"{where}: expected {kind.__name__}, found {value!r}")
        return value
    number = _number(where, value)
    if name in _WHOLE:
        if number != int(number):
            raise UsageError(f"{where}: expected a whole number, found {value!r}")
        return int(number)
    return number


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where}: expected a number, found {value!r}")
    return float(value)
