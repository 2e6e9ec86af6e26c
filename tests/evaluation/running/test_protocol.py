"""The defaults isolate; flags override; the digest goes with the conditions."""

import argparse
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.errors import UsageError
from evaluation.running.protocol import GIB, NOT_RUN_UNDER, Protocol, default_user
from evaluation.running.protocol_options import (
    OPTIONS,
    add_protocol_arguments,
    parse_bytes,
    protocol_from,
    read_protocol,
    shipped_protocols,
)


def parsed(*words: str) -> Protocol:
    parser = argparse.ArgumentParser()
    add_protocol_arguments(parser)
    return protocol_from(parser.parse_args(words))


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_no_flags_give_the_defaults() -> None:
    assert parsed() == Protocol()


def test_every_condition_can_be_written() -> None:
    assert [*OPTIONS, "ranking"] == [entry.name for entry in fields(Protocol)]
    assert shipped_protocols() == ["cvpr24-isolated", "cvpr24-official", "flare22-like"]


def test_the_official_protocol_is_the_organisers_command_and_nothing_else() -> None:
    protocol = parsed("--protocol", "cvpr24-official")
    assert protocol.name == "cvpr24-official"
    assert protocol.command == ("/bin/bash", "-c", "sh predict.sh")
    assert protocol.keep_folders
    assert (protocol.memory_bytes, protocol.swap_bytes) == (8 * GIB, 8 * GIB)
    assert (protocol.cpus, protocol.pids, protocol.tmp_bytes, protocol.user) == (0, 0, 0, "")
    assert protocol.network == "default"
    assert not protocol.read_only_root and not protocol.drop_capabilities
    assert protocol.allow_new_privileges and not protocol.refuse_unknown_labels


def test_flare_scores_a_failed_case_as_an_hour() -> None:
    protocol = parsed("--protocol", "flare22-like")
    assert protocol.memory_bytes == 28 * GIB
    assert (protocol.failure_dsc, protocol.failure_nsd, protocol.failure_time_s) == (0, 0, 3600)


def test_a_file_of_ones_own_is_named_after_itself_and_flags_override_it(tmp_path: Path) -> None:
    file = written(tmp_path / "ours.toml", 'memory = "2g"\npids = 64\nread-only-root = false\n')
    protocol = parsed("--protocol", file, "--pids", "32")
    assert protocol == replace(
        Protocol(), name="ours", memory_bytes=2 * GIB, pids=32, read_only_root=False
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memroy = '2g'", "expected keys out of .*memory.*found 'memroy'"),
        ("memory = 'much'", "memory: expected SIZE, found 'much'"),
        ("read-only-root = 'yes'", "read-only-root: expected true or false, found 'yes'"),
        ("pids = true", "pids: expected N, found True"),
        ("pids = ", "expected a TOML file"),
        ('command = ["sh", 3]', "command: expected CMD, found"),
        ("cpus = [2]", "cpus: expected N, found"),
        ("repeats = 3\nkeep-folders = true", "repeats, jobs: expected 1 with keep-folders"),
    ],
)
def test_a_file_that_says_nothing_sensible_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        parsed("--protocol", written(tmp_path / "odd.toml", text))


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"cvpr24-official.* or a file, found 'cvpr25'"):
        parsed("--protocol", "cvpr25")


def test_the_defaults_are_the_organisers_command_in_isolation() -> None:
    protocol = Protocol()
    assert protocol.command == ("/bin/bash", "-c", "sh predict.sh")
    assert (protocol.inputs_at, protocol.outputs_at) == ("/workspace/inputs", "/workspace/outputs")
    assert protocol.memory_bytes == 8 * GIB
    assert protocol.network == "none"
    assert protocol.read_only_root and protocol.drop_capabilities
    assert not protocol.allow_new_privileges


def test_flags_override_the_defaults() -> None:
    protocol = parsed(
        *["--memory", "2g", "--cpus", "1.5", "--time-limit", "90", "--network", "bridge"],
        *["--command", "sh -c 'run it'", "--no-read-only-root", "--user", ""],
    )
    assert protocol.memory_bytes == 2 * GIB
    assert (protocol.cpus, protocol.time_limit_s, protocol.network) == (1.5, 90.0, "bridge")
    assert protocol.command == ("sh", "-c", "run it")
    assert not protocol.read_only_root
    assert protocol.owner is None
    assert parsed("--command", "").command == ()


@pytest.mark.parametrize(
    ("text", "size"),
    [("8g", 8 << 30), ("512m", 512 << 20), ("64K", 64 << 10), ("1000", 1000), ("1.5GiB", 3 << 29)],
)
def test_sizes_are_read_as_docker_reads_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "g", "-1", "8 t", "many"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    "conditions",
    [
        {"memory_bytes": 1000},
        {"pids": -1},
        {"time_limit_s": float("inf")},
        {"repeats": 0},
        {"failure_dsc": 1.5},
        {"failure_time_s": float("nan")},
        {"time_limit_s": 0.0},
        {"time_limit_s": float("nan")},
        {"cpus": -1.0},
        {"inputs_at": "workspace"},
        {"outputs_at": "/"},
        {"outputs_at": "/workspace/inputs"},
        {"user": "root"},
    ],
)
def test_conditions_under_which_nothing_runs_are_refused(conditions: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Protocol(**conditions)


def test_the_digest_changes_with_any_condition_but_not_with_the_name() -> None:
    protocol = Protocol()
    for name, value in {"name": "other", "failure_dsc": 0.5, "failure_time_s": 1.0}.items():
        assert name in NOT_RUN_UNDER
        assert replace(protocol, **{name: value}).digest == protocol.digest
    assert replace(protocol, memory_bytes=GIB).digest != protocol.digest
    assert replace(protocol, command=("true",)).digest != protocol.digest


def test_containers_never_run_as_root_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_user() == "1000:1000"
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 77)
    assert default_user() == "1234:77"
    assert Protocol().owner == (1234, 77)


def test_a_command_may_be_a_list_of_words(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('command = ["python", "run it.py"]')
    assert read_protocol(str(path))["command"] == ("python", "run it.py")
