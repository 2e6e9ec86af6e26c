"""Hostile containers: each gets its exact status, and none costs another team a case."""

import io
import os
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.running.kernel_log import is_readable
from evaluation.running.outcomes import Status
from evaluation.running.records import CaseRecord, read_records
from evaluation.running.runner import LOCK_LABEL

pytestmark = pytest.mark.docker

COPY_MASK = "for f in inputs/*.npz; do cp mask.npz outputs/${f##*/}; done\n"
GIVE = "for f in inputs/*.npz; do cp odd outputs/${f##*/}; done\n"

MIB = 1 << 20

Factory = Callable[..., Any]


def npz(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


GOOD = npy(np.ones((8, 9), np.uint8))
BOMB = npy(np.broadcast_to(np.uint8(0), (20_000, 20_000)))
PICKLE = npy(np.array([1, "two"], dtype=object), allow_pickle=True)

FORKS = "i=0; while [ $i -lt 400 ]; do sleep 30 & i=$((i+1)); done; wait\n"
"""More processes than are allowed, without the endless ones that would keep two cores busy."""

MASKS: dict[str, tuple[bytes, Status, str]] = {
    "a zip bomb": (npz(("segs.npy", BOMB)), Status.WRONG_SHAPE, "found (20000, 20000)"),
    "a bomb beside the mask": (
        npz(("segs.npy", GOOD), ("more.npy", bytes(64 * MIB))),
        *(Status.OK, ""),
    ),
    "a pickle": (npz(("segs.npy", PICKLE)), Status.UNREADABLE_OUTPUT, "found pickled objects"),
    "a bare pickle": (pickle.dumps({"segs": 1}), Status.UNREADABLE_OUTPUT, "expected an npz file"),
    "a wrong shape": (
        npz(("segs.npy", npy(np.ones((9, 8), np.uint8)))),
        *(Status.WRONG_SHAPE, "must be (8, 9), found (9, 8)"),
    ),
    "a wrong type": (
        npz(("segs.npy", npy(np.ones((8, 9))))),
        *(Status.WRONG_TYPE, "must be integer, found float64"),
    ),
    "a label too many": (
        npz(("segs.npy", npy(np.full((8, 9), 2, np.uint8)))),
        *(Status.UNKNOWN_LABELS, "must be 0 to 1, one label a box, found 2"),
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_hostile_mask_gets_its_exact_status(
    make_image: Factory, make_case: Factory, run_team: Factory, name: str
) -> None:
    content, status, reason = MASKS[name]
    make_case()
    result = run_team(make_image(GIVE, odd=content))
    assert (result.exit_code, result.only.status) == (0, status)
    assert reason in result.only.reason
    assert len(list((result.folder / "masks").iterdir())) == (status is Status.OK)


def test_a_duplicate_segs_member_is_unreadable(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = npz(("segs.npy", GOOD), ("segs.npy", GOOD))
    make_case()
    record = run_team(make_image(GIVE, odd=twice)).only
    assert record.status is Status.UNREADABLE_OUTPUT
    assert "expected segs once, found segs.npy, segs.npy" in record.reason


def test_the_official_protocol_overlooks_labels_as_the_official_script_does(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    image = make_image(GIVE, odd=MASKS["a label too many"][0])
    assert run_team(image, "--protocol", "cvpr24-official").only.status is Status.OK


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("dd if=/dev/zero of=outputs/big bs=1M count=100000; sleep 60", "bytes in the outputs"),
        ("i=0; while true; do echo x > outputs/$i; i=$((i+1)); done", "at most 200 files"),
        (COPY_MASK + "dd if=/dev/zero of=outputs/big bs=1M count=30", "bytes in the outputs"),
    ],
    ids=["bytes", "files", "at the end"],
)
def test_the_quota_of_the_outputs_is_enforced_while_the_case_runs(
    make_image: Factory, make_case: Factory, run_team: Factory, script: str, reason: str
) -> None:
    make_case()
    flags = ["--output-limit", "20m", "--output-files", "200", "--tmp", "255m"]
    record = run_team(make_image(script), *flags).only
    assert record.status is Status.TOO_LARGE
    assert reason in record.reason
    assert record.wall_s < 20
    # one look's worth of writing, and no file above the limit that the kernel holds it to, which
    # is that of /tmp; the file system's own blocks for so large a file count, too
    assert record.written_bytes <= 256 * MIB


def test_an_ordinary_file_that_is_too_large_is_told_by_its_size(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    script = "for f in inputs/*; do dd if=/dev/zero of=outputs/${f##*/} bs=1M count=3; done"
    record = run_team(make_image(script), "--output-limit", "1m").only
    assert record.status is Status.TOO_LARGE
    assert "1048576 bytes" in record.reason


def test_one_who_forks_without_end_is_held_at_the_limit(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    record = run_team(make_image(FORKS), "--pids", "40", "--time-limit", "10").only
    assert record.status is Status.CRASH
    assert "fork" in record.reason
    assert record.limits["cgroup"]["pids"] == 40


def test_one_who_needs_root_crashes_and_is_ok_where_the_image_decides(
    make_image: Factory, make_case: Factory, run_team: Factory
) -> None:
    make_case()
    image = make_image('[ "$(id -u)" = 0 ] || { echo must be root; exit 9; }\n' + COPY_MASK)
    record = run_team(image).only
    assert (record.status, record.reason) == (Status.CRASH, "exit code 9: must be root")
    if os.geteuid() == 0:
        assert run_team(image, "--user", "").records[record.case].status is Status.OK


ATTACKS: dict[str, tuple[str, Status]] = {
    "sleeper": ("sleep 1000", Status.TIME_OUT),
    "allocator": ("exec dd if=/dev/zero of=/dev/null bs=900M count=1", Status.OUT_OF_MEMORY),
    "clock": (
        "date -s 2001-01-01 2>&1 | grep -q 'not permitted' || exit 7\n" + COPY_MASK,
        Status.OK,
    ),
    "network": ("nc -w 1 192.0.2.1 80 || exit 5", Status.CRASH),
    "input": ("for f in inputs/*; do echo x > $f || exit 6; done", Status.CRASH),
    "thief": ("cat ../*/outputs/* ../../*/masks/* || exit 8", Status.CRASH),
    "escape": ("ln -s /etc outputs/etc; ln -s / outputs/root; exit 4", Status.CRASH),
    "flood": ("yes flood | head -c 3000000; exit 3", Status.CRASH),
    "orphan": ("setsid sleep 999 & setsid sleep 999 &\n" + COPY_MASK, Status.OK),
    "liar": (COPY_MASK + "exit 1", Status.CRASH),
    "idle": ("exit 0", Status.MISSING_OUTPUT),
}


def test_none_costs_another_team_a_case(
    make_image: Factory, make_case: Factory, tmp_path: Path
) -> None:
    make_case()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    honest = make_image(COPY_MASK)
    attackers = [f"{name}={make_image(script)}" for name, (script, _) in ATTACKS.items()]
    teams = [f"before={honest}", *attackers, f"after={honest}"]  # of one case, the order of turns
    words = [word for team in teams for word in ("--team", team)]
    words += ["--cases", str(tmp_path / "cases"), "--out", str(tmp_path / "run")]
    limits = ["--memory", "128m", "--time-limit", "3", "--log-limit", "100k"]
    limits += ["--start-up-runs", "0", "--sentinel", "0"]
    assert main(["run", *words, *limits]) == 0

    def history(team: str) -> list[CaseRecord]:
        return read_records(tmp_path / "run" / team / "records.jsonl")

    for team in ("before", "after"):
        assert [record.status for record in history(team)] == [Status.OK]
        assert (tmp_path / "run" / team / "masks" / "2DBox_US_1.npz").is_file()
    if not is_readable():  # the engine's flag alone is lost now and then
        ATTACKS["allocator"] = (ATTACKS["allocator"][0], history("allocator")[0].status)
    found = {team: [record.status for record in history(team)] for team in ATTACKS}
    assert found == {team: [status] for team, (_, status) in ATTACKS.items()}
    assert not (tmp_path / "run" / ".work").exists()
    logs = sum(path.stat().st_size for path in (tmp_path / "run").glob("*/logs/*"))
    assert logs < 1 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_volume_of_the_image_is_no_way_round_the_quota(
    make_image: Factory,
    make_case: Factory,
    run_team: Factory,
    engine: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_case("2DBox_US_1")
    make_case("2DBox_US_2")
    script = "cat /data/there; echo x > /data/filled && echo WRITABLE\n" + COPY_MASK
    files = {"../data/there": b"weights"}
    result = run_team(make_image(script, volume="/data", **files))
    assert {record.status for record in result.history} == {Status.OK}
    log = (result.folder / "logs" / "2DBox_US_2.log").read_text()
    assert "weights" in log and "WRITABLE" not in log
    ours = {"label": f"{LOCK_LABEL}={tmp_path / 'run' / '.lock'}"}
    assert not engine.volumes(filters=ours)["Volumes"]
    assert run_team(make_image(volume="/workspace")).exit_code == 1
    assert "expected no VOLUME above /workspace/inputs" in capsys.readouterr().err
    official = run_team(make_image(volume="/workspace"), "--protocol", "cvpr24-official")
    assert official.exit_code == 0  # the organisers' command lets it write anywhere
