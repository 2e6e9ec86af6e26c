"""Limits and use are read from both versions of cgroups; wrong limits are told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.errors import LimitError
from evaluation.running import limits as limits_module
from evaluation.running.cgroups import Cgroup, CgroupLimits, Usage, can_hold_cases, find_container
from evaluation.running.limits import check_cgroup, check_host_config, processors_in
from evaluation.running.protocol import MIB, Protocol

PROTOCOL = Protocol(memory_bytes=64 * MIB, cpus=1.5, pids=20)
FOUND = CgroupLimits(64 * MIB, 0, 20, 1.5, "0-1")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    return write(
        tmp_path,
        {
            "memory/case/id/memory.limit_in_bytes": "67108864\n",
            "memory/case/id/memory.memsw.limit_in_bytes": "67108864\n",
            "memory/case/memory.max_usage_in_bytes": "5000000\n",
            "cpu/case/id/cpu.cfs_quota_us": "150000\n",
            "cpu/case/id/cpu.cfs_period_us": "100000\n",
            "cpuacct/case/cpuacct.usage": "2500000000\n",
            "pids/case/id/pids.max": "20\n",
            "cpuset/case/id/cpuset.cpus": "0-1\n",
        },
    )


CONTROLLERS = "cpuset cpu io memory hugetlb pids rdma misc\n"


def leaf(path: str) -> dict[str, str]:
    """The files of a container's cgroup with all controllers, as cgroup-v2.rst lists them."""
    files = {
        "cgroup.controllers": CONTROLLERS,
        "cgroup.subtree_control": "\n",
        "cgroup.type": "domain\n",
        "cgroup.events": "populated 1\nfrozen 0\n",
        "cgroup.procs": "4242\n4243\n",
        "memory.current": "4000000\n",
        "memory.max": "67108864\n",
        "memory.swap.max": "0\n",
        "cpu.max": "150000 100000\n",
        "pids.max": "20\n",
        "cpuset.cpus": "\n",
        "cpuset.cpus.effective": "0-1\n",
    }
    return {f"{path}/{name}": content for name, content in (files | totals()).items()}


def totals() -> dict[str, str]:
    """The files with what a cgroup and all below it have used."""
    return {
        "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"
        "nr_periods 9\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\nburst_usec 0\n",
        "memory.peak": "5000000\n",
        "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n",
    }


def root_files(enabled: str = CONTROLLERS) -> dict[str, str]:
    """The root of a v2 tree; it has no limits and no cgroup.type."""
    return {
        "cgroup.controllers": CONTROLLERS,
        "cgroup.subtree_control": enabled,
        "cgroup.procs": "1\n",
        "cpu.stat": "usage_usec 99000000\nuser_usec 1\nsystem_usec 1\n",
    }


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """A case with a parent of its own, under the driver cgroupfs."""
    parent = {
        "case/cgroup.controllers": CONTROLLERS,
        "case/cgroup.subtree_control": CONTROLLERS,  # runc enables them for the container
        "case/cgroup.procs": "",  # no processes beside children
        "case/memory.current": "4000000\n",
        **{f"case/{name}": content for name, content in totals().items()},
    }
    return write(tmp_path, root_files() | parent | leaf("case/id"))


@pytest.fixture
def version_2_systemd(tmp_path: Path) -> Path:
    """A container as the driver systemd makes it: a delegated scope below a slice."""
    slice_files = {"system.slice/cgroup.controllers": CONTROLLERS}
    return write(tmp_path, root_files() | slice_files | leaf("system.slice/docker-id.scope"))


def test_version_1_is_read(version_1: Path) -> None:
    case = Cgroup("case", version_1)
    assert case.version == 1
    assert case.child("id").exists and not case.child("other").exists
    assert case.child("id").limits() == FOUND
    assert case.usage() == Usage(2.5, 5_000_000, None)


def test_version_2_is_read(version_2: Path) -> None:
    case = Cgroup("case", version_2)
    assert case.version == 2
    assert case.child("id").limits() == FOUND
    assert case.usage() == Usage(2.5, 5_000_000, 2)


def test_version_2_is_read_below_a_slice_of_systemd(version_2_systemd: Path) -> None:
    container = find_container("id", version_2_systemd)
    assert container is not None
    assert container.limits() == FOUND
    assert container.usage() == Usage(2.5, 5_000_000, 2)
    assert container.processes() == [4242, 4243]
    assert container.memory_bytes() == 4_000_000


def test_version_2_without_limits_has_none(version_2: Path) -> None:
    unlimited = {"memory.max": "max\n", "memory.swap.max": "max\n", "pids.max": "max\n"}
    files = unlimited | {"cpu.max": "max 100000\n"}
    write(version_2, {f"case/id/{name}": content for name, content in files.items()})
    assert Cgroup("case/id", version_2).limits() == CgroupLimits(None, None, None, None, "0-1")


@pytest.mark.parametrize("missing", ["memory", "cpu", "pids"])
def test_a_controller_that_is_not_enabled_limits_nothing_and_is_refused(
    version_2: Path, missing: str
) -> None:
    enabled = " ".join(name for name in CONTROLLERS.split() if name != missing)
    (version_2 / "case/id/cgroup.controllers").write_text(enabled)
    for file in (version_2 / "case/id").glob(f"{missing}.*"):
        file.unlink()
    found = Cgroup("case/id", version_2).limits()
    assert found is not None
    with pytest.raises(LimitError, match="expected .* in the container's cgroup, found None"):
        check_cgroup(found, PROTOCOL, "")


@pytest.mark.parametrize("missing", ["memory.max", "cpu.max", "pids.max", "cgroup.controllers"])
def test_a_cgroup_of_version_2_that_is_just_going_tells_nothing(
    version_2: Path, missing: str
) -> None:
    (version_2 / "case/id" / missing).unlink()
    assert Cgroup("case/id", version_2).limits() is None


def test_a_kernel_without_a_peak_has_none_but_the_use_of_the_moment(version_2: Path) -> None:
    (version_2 / "case/memory.peak").unlink()  # Linux before 5.19
    assert Cgroup("case", version_2).usage() == Usage(2.5, None, 2)
    assert Cgroup("case", version_2).memory_bytes() == 4_000_000


def test_no_limit_is_none(version_1: Path) -> None:
    write(
        version_1,
        {
            "memory/case/id/memory.limit_in_bytes": "9223372036854771712\n",
            "cpu/case/id/cpu.cfs_quota_us": "-1\n",
            "pids/case/id/pids.max": "max\n",
        },
    )
    found = Cgroup("case/id", version_1).limits()
    assert found == CgroupLimits(None, None, None, None, "0-1")


def test_a_cgroup_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    assert Cgroup("case", tmp_path).limits() is None
    assert Cgroup("case", tmp_path).usage() == Usage()
    assert find_container("id", tmp_path) is None


ROOTLESS = "user.slice/user-1000.slice/user@1000.service/user.slice/docker-id.scope"


@pytest.mark.parametrize("place", ["docker/id", "system.slice/docker-id.scope", ROOTLESS])
def test_a_container_without_a_parent_of_ours_is_found(tmp_path: Path, place: str) -> None:
    write(tmp_path / "2", root_files() | leaf(place))
    write(tmp_path / "1", {f"memory/{place}/memory.limit_in_bytes": "1\n"})
    for version in (1, 2):
        found = find_container("id", tmp_path / str(version))
        assert found is not None
        assert (found.version, found.exists) == (version, True)
        assert find_container("other", tmp_path / str(version)) is None


def test_cases_have_parents_with_the_cgroupfs_driver_only(version_2: Path) -> None:
    assert can_hold_cases("cgroupfs", version_2)
    assert not can_hold_cases("systemd", version_2)


def test_removing_takes_empty_ones_from_every_hierarchy(tmp_path: Path) -> None:
    for controller in ("memory", "pids", "unified"):
        (tmp_path / controller / "case-1").mkdir(parents=True)
    Cgroup("case-1", tmp_path).remove()
    assert not list(tmp_path.glob("*/case-1"))


@pytest.mark.parametrize(
    "wrong",
    [{"memory_bytes": None}, {"memory_bytes": 8}, {"swap_bytes": 64 * MIB}, {"pids": None}]
    + [{"cpus": None}],
)
def test_a_limit_of_the_kernel_that_is_not_the_protocols_is_told(wrong: dict[str, Any]) -> None:
    check_cgroup(FOUND, PROTOCOL, "")
    (name,) = wrong
    with pytest.raises(LimitError, match=f"{name}: expected .* in the container's cgroup, found"):
        check_cgroup(replace(FOUND, **wrong), PROTOCOL, "")


def test_processors_are_compared_as_sets() -> None:
    assert processors_in("0-2,5") == {0, 1, 2, 5}
    check_cgroup(FOUND, PROTOCOL, "0,1")
    with pytest.raises(LimitError, match="cpuset: expected 1 in the cgroup, found '0-1'"):
        check_cgroup(FOUND, PROTOCOL, "1")


def test_uncounted_swap_is_no_fault_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    uncounted = replace(FOUND, swap_bytes=None)
    monkeypatch.setattr(limits_module, "host_has_swap", lambda: False)
    check_cgroup(uncounted, PROTOCOL, "")
    monkeypatch.setattr(limits_module, "host_has_swap", lambda: True)
    with pytest.raises(LimitError, match="swap_bytes"):
        check_cgroup(uncounted, PROTOCOL, "")


HOST_CONFIG = {
    "Memory": 64 * MIB, "MemorySwap": 64 * MIB, "NanoCpus": 1_500_000_000, "PidsLimit": 20,
    "NetworkMode": "none", "ReadonlyRootfs": True, "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges:true"], "Privileged": False, "CpusetCpus": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [("Memory", 0), ("MemorySwap", -1), ("PidsLimit", None), ("NetworkMode", "bridge")]
    + [("ReadonlyRootfs", False), ("CapDrop", None), ("SecurityOpt", []), ("Privileged", True)],
)
def test_a_limit_of_the_engine_that_is_not_the_protocols_is_told(key: str, value: object) -> None:
    assert check_host_config(HOST_CONFIG, PROTOCOL, "")["PidsLimit"] == 20
    with pytest.raises(LimitError, match=f"^{key}: expected .* in the HostConfig, found"):
        check_host_config(HOST_CONFIG | {key: value}, PROTOCOL, "")


@pytest.mark.docker
def test_limits_are_stored_with_every_record(
    make_image: Callable[..., str], make_case: Callable[..., Path], run_team: Callable[..., Any]
) -> None:
    make_case()
    record = run_team(make_image(), "--memory", "64m", "--cpus", "1.5", "--pids", "20").only
    assert record.limits["host_config"]["Memory"] == 64 * MIB
    assert record.limits["host_config"]["CapDrop"] == ["ALL"]
    assert record.limits["cgroup"]["memory_bytes"] == 64 * MIB
    assert (record.limits["cgroup"]["pids"], record.limits["cgroup"]["cpus"]) == (20, 1.5)
    assert 0 < record.cpu_s < 10
    assert 0 < record.peak_bytes <= 64 * MIB


@pytest.mark.docker
@pytest.mark.parametrize("where", ["engine", "kernel"])
def test_a_run_whose_limit_did_not_take_is_refused_and_not_timed(
    make_image: Callable[..., str],
    make_case: Callable[..., Path],
    run_team: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
) -> None:
    from evaluation.running import runner

    make_case()
    image = make_image()
    if where == "engine":
        given = runner.host_config
        monkeypatch.setattr(
            runner, "host_config", lambda *words: given(*words) | {"PidsLimit": None}
        )
    else:
        monkeypatch.setattr(Cgroup, "limits", lambda self: replace(FOUND, pids=None))
    result = run_team(image, "--memory", "64m", "--cpus", "1.5", "--pids", "20")
    assert result.exit_code == 1
    assert not result.history
    message = capsys.readouterr().err
    assert ("PidsLimit: expected 20" if where == "engine" else "pids: expected 20") in message
