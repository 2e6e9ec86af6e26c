"""A run as large in teams as a challenge, and a browser to look at its page with."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from tests.evaluation.builders import describe_team, score_row, write_scores

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

TEAMS = 25
KINDS = (("CT", 3), ("MR", 3), ("Ultrasound", 2), ("Dermoscopy", 2), ("Mammography", 2))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; without one the test is skipped, or fails if MEDSAM_REQUIRE_BROWSER=1."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        if os.environ.get("MEDSAM_REQUIRE_BROWSER") == "1":
            pytest.fail("chromium and the package playwright must be installed")
        pytest.skip("needs chromium and the package playwright")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 25 teams with long names on 80 cases, ranked and reported."""
    run = tmp_path_factory.mktemp("large") / "run"
    rng = np.random.default_rng(0)
    rows = []
    for number in range(TEAMS):
        team = f"team-{number:02d}-of-a-university"
        for case in range(80):
            modality, dimensions = KINDS[case % len(KINDS)]
            failed = case % 16 == 0 and number % 5 == 0
            dsc = 0.0 if failed else float(np.clip(rng.normal(0.9 - 0.01 * number, 0.05), 0, 1))
            more = {"status": "crash", "reason": f"exit code {number}"} if failed else {}
            rows.append(
                score_row(
                    team,
                    f"{dimensions}DBox_{modality}_a-long-name-of-a-case_{case:03d}",
                    dsc,
                    modality=modality,
                    dimensions=dimensions,
                    wall_s=float(rng.lognormal(number / 12, 0.2)),
                    nsd_official=round(min(1.0, dsc + 0.02 * rng.random()), 4),
                    **more,
                )
            )
    write_scores(run, *rows)
    for number in range(TEAMS):
        describe_team(run, f"team-{number:02d}-of-a-university", runner="docker")
    rules = run.parent / "rules.toml"
    rules.write_text("[ranking]\nbootstraps = 60\n")
    assert main(["rank", str(run), "--protocol", str(rules)]) == 0
    assert main(["report", str(run)]) == 0
    return run / "report.html"
