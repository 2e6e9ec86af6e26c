"""Which arithmetic a run computes in.

``auto`` is bf16 where the processor is fast in it, the engine uses it, and the bundle's own record
says that it costs next to nothing; else f32.  Needed before graphs are opened, so
without numpy and typing.
"""

from __future__ import annotations

from collections.abc import Mapping

from inference.processor import processor

TYPE_CHECKING = False  # as typing's, whose import would hold up the graphs (head_start.py)
if TYPE_CHECKING:
    from typing import Any

    from inference.engine import Precision

MOST_LOST = 0.003
"""DSC, mean over modalities, that bf16 may lose to f32, in 2D and in 3D alike, to be chosen; what
INT8 is allowed, too."""

_VECTORS, _MATRICES = "avx512_bf16", "amx_bf16"
"""Instructions of x86 by their names in ``/proc/cpuinfo``.  OpenVINO also takes bf16 on any
AVX-512, where it has to imitate it."""


def resolve_precision(wanted: str, engine: str, content: Mapping[str, Any]) -> Precision:
    """What ``auto`` means here for a bundle of this ``content`` (bundle.json); every other word
    means itself, and the engine refuses those that it does not know."""
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    lost = bf16_loss(content)
    sound = lost is not None and lost <= MOST_LOST
    return "bf16" if sound and engine == "openvino" and is_fast_in_bf16() else "f32"


def bf16_loss(content: Mapping[str, Any]) -> float | None:
    """The larger of what bf16 loses in 2D and in 3D, by ``precision_costs`` of bundle.json, which
    ``python -m training cost --bundle BUNDLE --store STORE --record`` writes; None where it was not
    measured, or on a processor that computes in f32 all the same."""
    try:
        record = content["precision_costs"]
        losses = [float(found["loss"]) for found in record["bf16"].values()]
        return max(losses) if record["bf16_native"] is True else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # a record, not a setting: without it nothing is chosen


def has_bf16() -> bool:
    """Whether this processor has instructions for bf16."""
    words = processor().split()
    return _VECTORS in words or _MATRICES in words


def is_fast_in_bf16() -> bool:
    """Whether bf16 takes less time than f32 here: with AMX, and on AMD; Intel's vectors alone
    (Sapphire Rapids with AMX hidden) take twice the time of f32 (``docs/speed.md``)."""
    words = processor().split()
    return _MATRICES in words or (_VECTORS in words and "AMD" in words)
