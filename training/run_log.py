"""The log of a run, log.jsonl: losses, time and validations by step."""

import json
from pathlib import Path
from typing import Any


def append_line(path: Path, line: dict[str, Any]) -> None:
    """One more line of a jsonl file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a jsonl file; none where there is no file.  A last one that was not
    written to its end (a full disk) is none."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line]


def keep_lines_until(path: Path, step: int) -> None:
    """Drop what was logged after ``step``, and what was not logged to its end: a run that goes on
    from there will log it again."""
    lines = read_lines(path)
    kept = [line for line in lines if line["step"] <= step]
    is_torn = path.exists() and not path.read_bytes().endswith(b"\n")
    if len(kept) < len(lines) or is_torn:
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)


def run_seconds(lines: list[dict[str, Any]]) -> float:
    """Wall time of a run by its log: where the clock goes back, the run was started again."""
    total = last = 0.0
    for line in lines:
        if "seconds" in line:
            total += last if line["seconds"] < last else 0.0
            last = line["seconds"]
    return total + last


def shortened_log(lines: list[dict[str, Any]], most: int = 200) -> list[dict[str, Any]]:
    """At most ``most`` lines of losses, each the mean of those around it; validations all stay."""
    losses = [line for line in lines if "loss" in line]
    every = max(1, -(-len(losses) // most))
    short = []
    for start in range(0, len(losses), every):
        part = losses[start : start + every]
        mean = sum(line["loss"] for line in part) / len(part)
        seconds = round(run_seconds(losses[: start + len(part)]), 1)
        short.append({"step": part[-1]["step"], "loss": round(mean, 4), "seconds": seconds})
    others = [line for line in lines if "loss" not in line]
    return sorted(short + others, key=lambda line: line["step"])
