"""What is left to do, and where."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.dataset import digest_of, read_cases
from evaluation.running import case_digests
from evaluation.running.case_digests import DIGESTS_FILE, digest_cases
from evaluation.running.plan import Turns, balanced_order
from evaluation.running.records import read_records

Factory = Callable[..., Any]


@pytest.mark.parametrize("teams", [1, 2, 3, 4, 7, 25])
def test_every_team_is_as_often_first_and_as_often_after_any_other(teams: int) -> None:
    cases = teams * (1 if teams % 2 == 0 else 2)
    orders = [balanced_order(teams, case) for case in range(cases)]
    assert all(sorted(order) == list(range(teams)) for order in orders)
    for place in range(teams):
        assert set(Counter(order[place] for order in orders).values()) == {cases // teams}
    after = Counter(pair for order in orders for pair in zip(order, order[1:], strict=False))
    assert len(after) == teams * (teams - 1)
    assert len(set(after.values())) <= 1


def turn(name: str) -> Any:
    return (name, [])


def test_what_is_left_of_a_case_goes_to_the_hardware_it_began_on() -> None:
    turns = Turns([("old", turn("a")), ("", turn("b")), ("new", turn("c"))], {"old", "new"})
    assert turns.take("new") == turn("c")
    assert turns.take("new") == turn("b")
    assert turns.take("new") is None  # a waits for the old machine
    assert turns.take("old") == turn("a")
    assert turns.elsewhere == 0


def test_a_case_whose_hardware_is_gone_goes_anywhere_and_is_counted() -> None:
    turns = Turns([("gone", turn("a")), ("", turn("b"))], {"new"})
    assert [turns.take("new"), turns.take("new")] == [turn("a"), turn("b")]
    assert turns.elsewhere == 1


def test_times_from_unequal_hardware_are_told(
    make_case: Factory, make_folder: Factory, run_team: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    make_case("a")
    make_case("b")
    source = make_folder()
    result = run_team(source, "--runner", "process")
    assert "unequal hardware" not in caplog.text
    records = result.folder / "records.jsonl"
    other = [json.loads(line) for line in records.read_text().splitlines()]
    other[0]["hardware"] = "another machine"
    records.write_text("".join(json.dumps(record) + "\n" for record in other))
    words = ["--runner", "process", "--team", f"second={source}"]
    run_team(source, *words)
    assert "1 cases go on on other hardware than before" in caplog.text
    assert "1 cases have times from unequal hardware" in caplog.text
    assert len(read_records(records)) == 2  # nothing was run twice


@pytest.fixture
def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of files that are as young as a test's."""
    monkeypatch.setattr(case_digests, "_SETTLED_NS", 0)


def test_a_case_is_not_read_again_while_its_file_is_the_same(
    make_case: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsettled: None
) -> None:
    make_case("a")
    make_case("b")
    cases = read_cases(tmp_path / "cases")
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.stem)
        return digest_of(path)

    monkeypatch.setattr(case_digests, "digest_of", counted)
    digests = digest_cases(cases, tmp_path)
    assert digests == {case.name: digest_of(case.path) for case in cases}
    assert digest_cases(cases, tmp_path) == digests
    assert read == ["a", "b"]


def test_a_change_that_keeps_size_and_time_is_seen(
    make_case: Factory, tmp_path: Path, unsettled: None
) -> None:
    path = make_case("a")
    cases = read_cases(tmp_path / "cases")
    before = digest_cases(cases, tmp_path)
    found, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert digest_cases(cases, tmp_path) != before


def test_a_file_changed_a_moment_ago_is_read_again(make_case: Factory, tmp_path: Path) -> None:
    make_case("a")
    digest_cases(read_cases(tmp_path / "cases"), tmp_path)
    assert json.loads((tmp_path / DIGESTS_FILE).read_text()) == {}


def test_digests_that_cannot_be_read_are_made_again(
    make_case: Factory, tmp_path: Path, caplog: pytest.LogCaptureFixture, unsettled: None
) -> None:
    make_case("a")
    cases = read_cases(tmp_path / "cases")
    digests = digest_cases(cases, tmp_path)
    for nonsense in ("", "[]", '{"a": 1}', "\x00"):
        (tmp_path / DIGESTS_FILE).write_text(nonsense)
        assert digest_cases(cases, tmp_path) == digests
    assert "cannot be read" in caplog.text
