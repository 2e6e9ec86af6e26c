"""What a time was measured on, and when two times compare."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.running.host import describe_engine_host, describe_host, hardware_key
from evaluation.running.protocol import GIB, Protocol
from evaluation.running.run_folder import TeamFolder

MACHINE = {
    **{"name": "a", "system": "Linux 6", "machine": "x86_64", "processor": "Xeon W-2133"},
    **{"processors": 12, "memory_bytes": 32 * GIB},
}

Factory = Callable[..., Any]


class DistantEngine:
    base_url = "http://10.0.0.7:2375"


def test_the_key_says_what_a_case_was_given() -> None:
    key = hardware_key(MACHINE, Protocol())
    assert key == "Xeon W-2133 (x86_64), 12 of 12 processors, 8192 MiB, 1 at once"
    assert ", 2 of 12 processors," in hardware_key(MACHINE, Protocol(), "4,5")
    assert ", 1.5 of 12 processors," in hardware_key(MACHINE, Protocol(cpus=1.5), "4,5")
    assert ", 2 of 12 processors," in hardware_key(MACHINE, Protocol(cpus=3), "4,5")


def test_two_machines_of_one_kind_are_equal() -> None:
    other = {**MACHINE, "name": "b", "system": "Linux 5", "memory_bytes": 64 * GIB}
    assert hardware_key(other, Protocol()) == hardware_key(MACHINE, Protocol())


@pytest.mark.parametrize(
    ("machine", "protocol"),
    [
        ({"processor": "Xeon E5"}, Protocol()),
        ({"machine": "aarch64"}, Protocol()),
        ({"processors": 8}, Protocol()),
        ({}, Protocol(memory_bytes=4 * GIB)),
        ({}, Protocol(cpus=2)),
        ({}, Protocol(jobs=2)),
    ],
)
def test_anything_that_changes_a_time_changes_the_key(
    machine: dict[str, Any], protocol: Protocol
) -> None:
    assert hardware_key({**MACHINE, **machine}, protocol) != hardware_key(MACHINE, Protocol())


def test_a_process_is_never_compared_with_a_container() -> None:
    free = hardware_key(MACHINE, Protocol(), enforced=False)
    assert free == "Xeon W-2133 (x86_64), 12 of 12 processors, no container"


def test_a_distant_engine_names_its_own_machine_and_is_equal_to_no_other() -> None:
    info = {"Name": "far", "OperatingSystem": "Debian", "KernelVersion": "6", "NCPU": 4}
    info |= {"Architecture": "x86_64", "MemTotal": 8 * GIB}
    machine = describe_engine_host(DistantEngine(), info)
    assert machine["processors"] == 4
    assert machine.keys() == describe_host().keys()
    other = describe_engine_host(DistantEngine(), {**info, "Name": "farther"})
    assert hardware_key(machine, Protocol()) != hardware_key(other, Protocol())


def test_records_and_the_teams_description_say_it(
    make_case: Factory, make_folder: Factory, run_team: Factory
) -> None:
    make_case()
    result = run_team(make_folder(), "--runner", "process")
    key = hardware_key(describe_host(), Protocol(), enforced=False)
    assert result.only.hardware == key
    assert TeamFolder(result.folder).counting_records()["2DBox_US_1"].hardware == key
    assert json.loads((result.folder / "team.json").read_text())["hardware"] == [key]


@pytest.mark.docker
def test_a_container_has_what_its_protocol_gives(
    make_case: Factory, make_image: Factory, run_team: Factory, tmp_path: Path
) -> None:
    make_case()
    record = run_team(make_image(), "--memory", "64m", "--cpus", "0.5").only
    expected = Protocol(memory_bytes=64 << 20, cpus=0.5)
    assert record.hardware == hardware_key(describe_host(), expected)
    assert record.host == describe_host()["name"]
