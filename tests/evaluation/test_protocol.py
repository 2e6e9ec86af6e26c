"""The defaults isolate; flags override; the digest goes with the conditions."""

import argparse
import os
from dataclasses import replace
from typing import Any

import pytest

from evaluation.errors import UsageError
from evaluation.protocol import (
    GIB,
    Protocol,
    add_protocol_arguments,
    default_user,
    parse_bytes,
    protocol_from,
)


def parsed(*words: str) -> Protocol:
    parser = argparse.ArgumentParser()
    add_protocol_arguments(parser)
    return protocol_from(parser.parse_args(words))


def test_no_flags_give_the_defaults() -> None:
    assert parsed() == Protocol()


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
        {"pids": 0},
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
    assert replace(protocol, name="other").digest == protocol.digest
    assert replace(protocol, memory_bytes=GIB).digest != protocol.digest
    assert replace(protocol, command=("true",)).digest != protocol.digest


def test_containers_never_run_as_root_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_user() == "1000:1000"
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 77)
    assert default_user() == "1234:77"
    assert Protocol().owner == (1234, 77)
