"""Exporting needs torch, kornia and safetensors, which the tests' own requirements leave out."""

import importlib.util
from pathlib import Path

ABSENT = [n for n in ("torch", "kornia", "safetensors") if importlib.util.find_spec(n) is None]
collect_ignore_glob = ["test_*.py"] if ABSENT else []


def pytest_report_header() -> str | None:
    """Say why nothing of this folder is run."""
    if ABSENT:
        return f"{Path(__file__).parent.name}: not run without {', '.join(ABSENT)}"
    return None
