"""Exporting checkpoints needs torch, kornia and safetensors, which the tests' own requirements
leave out; wrapping ready-made graphs does not."""

import importlib.util
from pathlib import Path

ABSENT = [n for n in ("torch", "kornia", "safetensors") if importlib.util.find_spec(n) is None]
TORCH_TESTS = [
    "test_architectures.py",
    "test_bundles.py",
    "test_checkpoints.py",
    "test_many_boxes.py",
    "test_token_side.py",
]
collect_ignore = TORCH_TESTS if ABSENT else []


def pytest_report_header() -> str | None:
    """Say why most of this folder is not run."""
    if ABSENT:
        return f"{Path(__file__).parent.name}: checkpoints not tested without {', '.join(ABSENT)}"
    return None
