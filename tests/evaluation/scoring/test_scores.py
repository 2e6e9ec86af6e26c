"""The command `score`: every case of every team gets a row, whatever its mask is."""

from __future__ import annotations

import csv
import io
import os
import zipfile

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.errors import ScoreError
from evaluation.running.outcomes import Status
from evaluation.scoring import case_scores
from evaluation.scoring.labelmaps import read_truth
from evaluation.scoring.score_tables import LabelRow, ScoreRow, read_table, write_table
from evaluation.scoring.scores import score_run
from tests.evaluation.builders import add_result, describe_team, disk, score_row, write_truth

LABELS = (disk((24, 30), (9, 9), 6) + 2 * disk((24, 30), (16, 22), 5)).astype(np.uint8)
"""Two disks, labels 1 and 2."""


@pytest.fixture
def folders(tmp_path):
    """A run folder and a truth folder."""
    (tmp_path / "truth").mkdir()
    return tmp_path / "run", tmp_path / "truth"


def rows_of(run, team="team"):
    return {row.case: row for row in read_table(run / team / "scores.csv", ScoreRow)}


def score(run, truth, *flags):
    return main(["score", str(run), "--truth", str(truth), "--workers", "1", *flags])


def save_zip(path, **members):
    """A zip with members of any bytes; a name may come twice."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_npy", ".npy"), content)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_of(header):
    """An npy file with any text as its header."""
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def save_broken_lzma(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("segs.npy", npy(LABELS))
    content = bytearray(path.read_bytes())
    content[45:80] = bytes(35)
    path.write_bytes(content)


def test_the_truth_as_a_submission_scores_one(folders):
    run, truth = folders
    write_truth(truth, "2DBox_CT_1", LABELS)
    add_result(run, "team", "2DBox_CT_1", LABELS.astype(np.uint16), wall_s=1.25)
    assert score(run, truth) == 0
    row = rows_of(run)["2DBox_CT_1"]
    assert (row.status, row.dsc, row.nsd, row.wall_s) == ("ok", 1.0, 1.0, 1.25)
    assert (row.labels, row.dimensions, row.modality) == (2, 2, "CT")
    assert (row.spacing_mm, row.spacing_origin) == ("1 1", "pixels")


def test_a_swap_of_two_labels_scores_zero(folders):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    add_result(run, "team", "case", np.array([0, 2, 1], np.uint8)[LABELS])
    score(run, truth)
    assert rows_of(run)["case"].dsc == 0.0


def test_spacing_of_a_volume_is_stored_as_xyz_and_used_as_zyx(folders):
    """One slice of 5 mm off: half of a voxel's surface is near; one column of 0.8 mm: all of it."""
    run, truth = folders
    volume = np.zeros((4, 6, 6), np.uint8)
    volume[1, 3, 3] = 1
    for name, axis in (("slice", 0), ("column", 2)):
        write_truth(truth, name, volume, spacing_xyz=(0.8, 0.8, 5))
        add_result(run, "team", name, np.roll(volume, 1, axis))
    score(run, truth)
    rows = rows_of(run)
    assert rows["slice"].nsd == 0.5
    assert rows["column"].nsd == 1.0
    assert (rows["slice"].spacing_mm, rows["slice"].spacing_origin) == ("5 0.8 0.8", "truth")


def test_a_truth_without_spacing_takes_it_from_the_case(folders, tmp_path):
    _, truth = folders
    path = write_truth(truth, "case", np.ones((2, 3, 4), np.uint8))
    case = tmp_path / "case.npz"
    np.savez(case, imgs=np.zeros((2, 3, 4)), spacing=[0.5, 0.6, 3])
    found = read_truth(path, case)
    assert (found.spacing_mm, found.spacing_origin) == ((3.0, 0.6, 0.5), "case")
    found = read_truth(path)
    assert (found.spacing_mm, found.spacing_origin) == ((1.0, 1.0, 1.0), "assumed")


BROKEN = {
    "missing output": lambda path: path.unlink(),
    "unreadable output": lambda path: path.write_bytes(b"not a zip"),
    "wrong shape": lambda path: np.savez(path, segs=LABELS[:, :-1]),
    "wrong type": lambda path: np.savez(path, segs=LABELS.astype(np.float32)),
}


@pytest.mark.parametrize("status", BROKEN)
def test_a_broken_mask_scores_zero_and_stays_with_its_reason(folders, status):
    run, truth = folders
    for case in ("bad", "good"):
        write_truth(truth, case, LABELS)
        path = add_result(run, "team", case, LABELS)
        if case == "bad":
            BROKEN[status](path)
    assert score(run, truth) == 0
    rows = rows_of(run)
    assert rows["good"].dsc == 1.0
    assert (rows["bad"].status, rows["bad"].dsc, rows["bad"].nsd) == (status, 0.0, 0.0)
    assert "bad.npz" in rows["bad"].reason
    assert rows["bad"].labels == 2


@pytest.mark.parametrize(
    ("status", "write"),
    [
        ("wrong type", lambda path: np.savez(path, segs=np.array([[{}]], object))),
        ("wrong type", lambda path: np.savez(path, segs=LABELS.astype(np.int8) - 1)),
        ("unreadable output", lambda path: np.savez(path, mask=LABELS)),
        ("unreadable output", lambda path: path.write_bytes(path.read_bytes()[:-60])),
        ("unreadable output", lambda path: save_zip(path, segs_npy=npy(LABELS)[:-9])),
        (
            "unreadable output",
            lambda path: save_zip(path, segs_npy=npy(LABELS), segs=npy(LABELS)),
        ),
        ("missing output", lambda path: path.unlink() or os.symlink("/dev/zero", path)),
        ("unreadable output", lambda path: save_zip(path, segs_npy=npy_of("{'descr': (("))),
        ("unreadable output", lambda path: save_zip(path, segs_npy=npy_of("{[]: 1}"))),
        ("unreadable output", lambda path: save_zip(path, segs_npy=npy_of("-" * 9000 + "1"))),
        ("unreadable output", lambda path: save_broken_lzma(path)),
    ],
    ids=[
        "pickled",
        "negative",
        "no segs",
        "truncated",
        "short member",
        "segs twice",
        "link",
        "open brackets",
        "a list as key",
        "deep",
        "broken lzma",
    ],
)
def test_hostile_masks_are_refused_and_never_unpickled(folders, status, write):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    write(add_result(run, "team", "case", LABELS))
    assert score(run, truth) == 0
    row = rows_of(run)["case"]
    assert (row.status, row.dsc) == (status, 0.0)


def test_a_small_file_that_declares_a_huge_mask_is_not_unpacked(folders):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    path = add_result(run, "team", "case", LABELS)
    declared = npy(LABELS).replace(b"(24, 30), }" + b" " * 10, b"(10000000, 10000000)}")
    assert b"10000000" in declared
    save_zip(path, segs_npy=declared)
    score(run, truth)
    assert rows_of(run)["case"].status == "wrong shape"


def test_boolean_masks_are_one_label(folders):
    run, truth = folders
    write_truth(truth, "case", (LABELS == 1).astype(np.uint8))
    add_result(run, "team", "case", LABELS == 1)
    score(run, truth)
    assert rows_of(run)["case"].dsc == 1.0


def test_a_container_that_failed_scores_zero_whatever_it_left(folders):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    add_result(run, "team", "case", LABELS, status=Status.CRASH, reason="exit code 1: a\nb")
    score(run, truth)
    row = rows_of(run)["case"]
    assert (row.status, row.reason, row.dsc) == ("crash", "exit code 1: a b", 0.0)


def test_a_failure_scores_what_its_protocol_says(folders):
    run, truth = folders
    labels = disk((9, 9), (4, 4), 3).astype(np.uint8)
    write_truth(truth, "case", labels)
    add_result(run, "team", "case", None, status=Status.CRASH, reason="exit code 1")
    describe_team(run, "team", protocol={"failure_dsc": 0.25, "failure_nsd": 0.5})
    ((row,),) = [result.scores for result in score_run(run, truth)]
    assert (row.dsc, row.nsd, row.status) == (0.25, 0.5, "crash")


def test_a_case_that_only_another_team_ran_counts_against_the_team(folders):
    run, truth = folders
    for case in ("one", "two"):
        write_truth(truth, case, LABELS)
        add_result(run, "full", case, LABELS)
    add_result(run, "half", "one", LABELS)
    score(run, truth)
    rows = rows_of(run, "half")
    assert sorted(rows) == ["one", "two"]
    assert (rows["two"].status, rows["two"].dsc, rows["two"].wall_s) == ("not run", 0.0, None)


def test_a_missing_truth_is_named_and_the_others_are_scored(folders, caplog):
    run, truth = folders
    write_truth(truth, "good", LABELS)
    (truth / "broken.npz").write_bytes(b"")
    for case in ("broken", "good", "lost"):
        add_result(run, "team", case, LABELS)
    assert score(run, truth) == 1
    rows = rows_of(run)
    assert rows["good"].dsc == 1.0
    for case in ("broken", "lost"):
        assert (rows[case].status, rows[case].dsc) == ("no truth", None)
        assert f"{case}.npz" in caplog.text


def test_a_folder_without_any_of_the_truths_overwrites_no_scores(folders, tmp_path, capsys):
    run, truth = folders
    write_truth(truth, "one", LABELS)
    add_result(run, "team", "one", LABELS)
    assert score(run, truth) == 0
    before = (run / "team" / "scores.csv").read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    assert score(run, other) != 0
    assert (
        "expected the truth of at least one of 1 cases, such as one.npz" in capsys.readouterr().err
    )
    assert (run / "team" / "scores.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"gts": LABELS.astype(float)}, "gts must be integer"),
        ({"gts": np.zeros(5, np.uint8)}, r"\(H, W\) or \(D, H, W\)"),
        ({"imgs": LABELS}, "key gts"),
        ({"gts": LABELS.astype(np.int8) - 3}, "gts must be 0 or above, found -3"),
        ({"gts": np.ones((2, 2, 2), int), "spacing": [1, 0, 1]}, "spacing must be 3 positive"),
    ],
)
def test_a_truth_that_is_no_label_map_says_why(tmp_path, arrays, message):
    np.savez(tmp_path / "case.npz", **arrays)
    with pytest.raises(ScoreError, match=message):
        read_truth(tmp_path / "case.npz")


def test_the_last_record_of_a_case_counts(folders):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    add_result(run, "team", "case", status=Status.HARNESS_FAULT, reason="engine", wall_s=None)
    add_result(run, "team", "case", LABELS, wall_s=3.0)
    score(run, truth)
    assert (rows_of(run)["case"].status, rows_of(run)["case"].wall_s) == ("ok", 3.0)


@pytest.mark.parametrize(
    "says", [{"digest": "sha256:1"}, {"digest": "sha256:1", "protocol_sha256": "0"}]
)
def test_only_records_of_what_was_run_last_count(folders, says):
    """An image run to its end, and a second one that was stopped after its first case."""
    run, truth = folders
    for case in ("a", "b"):
        write_truth(truth, case, LABELS)
        add_result(run, "team", case, LABELS)
    add_result(run, "team", "a", LABELS, submission="sha256:1", wall_s=2.0)
    describe_team(run, "team", **says)
    assert score(run, truth) == 0
    again, stale = rows_of(run)["a"], rows_of(run)["b"]
    assert (again.status, again.dsc, again.wall_s) == ("ok", 1.0, 2.0)
    found = (stale.status, stale.dsc, stale.dsc_official, stale.wall_s)
    assert found == ("not run", 0.0, 0.0, None)
    describe_team(run, "team", digest="sha256:1", protocol_sha256="another")
    assert score(run, truth) == 0
    assert [row.status for row in rows_of(run).values()] == ["not run"] * 2
    describe_team(run, "team")  # says nothing of it: every record counts
    assert score(run, truth) == 0
    assert [row.status for row in rows_of(run).values()] == ["ok"] * 2


def test_tables_are_the_same_bytes_again_with_any_number_of_workers(folders):
    run, truth = folders
    rng = np.random.default_rng(1)
    for index in range(4):
        write_truth(truth, f"case{index}", rng.integers(0, 4, (12, 14)))
        for team in ("a", "b"):
            add_result(run, team, f"case{index}", rng.integers(0, 5, (12, 14)), wall_s=0.1 * index)
    files = [run / team / name for team in "ab" for name in ("scores.csv", "labels.csv")]
    score_run(run, truth)
    first = [path.read_bytes() for path in files]
    score_run(run, truth, workers=2)
    assert [path.read_bytes() for path in files] == first
    assert not list(run.glob("*/.*tmp"))


def test_label_rows_add_up_to_the_case(folders):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    add_result(run, "team", "case", np.roll(LABELS, 2, 1))
    score(run, truth)
    labels = read_table(run / "team" / "labels.csv", LabelRow)
    row = rows_of(run)["case"]
    assert [label.label for label in labels] == [1, 2]
    assert row.dsc == sum(label.dsc for label in labels) / 2
    for label in labels:
        total = label.truth_voxels + label.predicted_voxels
        assert label.dsc == 2 * label.overlap_voxels / total
        within = label.truth_surface_within + label.predicted_surface_within
        assert label.nsd == within / (label.truth_surface + label.predicted_surface)


def test_a_table_reads_back_as_it_was_written(tmp_path):
    rows = [
        score_row("a", "one", 0.1 + 0.2, reason='said "no", twice', status="crash"),
        score_row("a", "two", None, nsd=None, wall_s=None, dimensions=None),
    ]
    write_table(tmp_path / "scores.csv", ScoreRow, rows)
    assert read_table(tmp_path / "scores.csv", ScoreRow) == rows


def test_a_table_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "scores.csv"
    write_table(path, ScoreRow, [score_row("a", "one")])
    path.write_text(path.read_text().replace("\n2,", "\n99,"))
    with pytest.raises(ScoreError, match="line 2 must have schema 2.*found schema 99"):
        read_table(path, ScoreRow)
    path.write_text("case,dsc,nsd\n")
    with pytest.raises(ScoreError, match="columns must be schema,team"):
        read_table(path, ScoreRow)


def test_the_columns_are_documented_names(tmp_path):
    write_table(tmp_path / "scores.csv", ScoreRow, [])
    with (tmp_path / "scores.csv").open(newline="") as stream:
        assert next(csv.reader(stream))[:9] == [
            "schema", "team", "case", "modality", "dimensions", "status", "reason", "wall_s", "dsc",
        ]  # fmt: skip


def test_a_run_without_records_and_a_missing_truth_folder_are_errors(tmp_path, capsys):
    assert score(tmp_path, tmp_path / "none") == 1
    assert "expected a folder of truths" in capsys.readouterr().err
    assert score(tmp_path, tmp_path) == 1
    assert "records" in capsys.readouterr().err


def test_a_folder_of_masks_is_scored_without_records(folders, tmp_path):
    _, truth = folders
    segs, out = tmp_path / "segs", tmp_path / "out" / "scores.csv"
    segs.mkdir()
    for case in ("2DBox_CT_1", "2DBox_US_2", "2DBox_US_3"):
        write_truth(truth, case, LABELS)
    np.savez(segs / "2DBox_CT_1.npz", segs=LABELS)
    (segs / "2DBox_US_2.npz").write_bytes(b"no zip")
    words = ["score", "--segs", str(segs), "--truth", str(truth), "--out", str(out)]
    assert main([*words, "--workers", "1"]) == 0
    rows = read_table(out, ScoreRow)
    assert [(row.modality, row.status, row.dsc) for row in rows] == [
        ("CT", "ok", 1.0),
        ("Ultrasound", "unreadable output", 0.0),
        ("Ultrasound", "missing output", 0.0),
    ]
    assert {row.team for row in rows} == {"segs"}
    assert len(read_table(out.with_name("scores.labels.csv"), LabelRow)) == 6


@pytest.mark.parametrize("words", [[], ["run", "--segs", "segs"], ["--segs", "segs"]])
def test_a_run_or_a_folder_with_a_table_is_asked_for(words, tmp_path, capsys):
    assert main(["score", *words, "--truth", str(tmp_path)]) == 2
    assert "either RUN or both" in capsys.readouterr().err


def test_what_was_scored_is_not_scored_again_and_a_change_is(folders, monkeypatch):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    add_result(run, "a", "case", LABELS)
    path = add_result(run, "b", "case", LABELS)
    calls = []
    real = case_scores.score_maps
    monkeypatch.setattr(
        case_scores, "score_maps", lambda *args, **more: calls.append(1) or real(*args, **more)
    )
    score(run, truth)
    first = (run / "a" / "scores.csv").read_bytes()
    assert len(calls) == 2
    score(run, truth)
    assert len(calls) == 2
    assert (run / "a" / "scores.csv").read_bytes() == first
    np.savez(path, segs=np.roll(LABELS, 1, 0))
    score(run, truth)
    assert len(calls) == 3
    assert rows_of(run, "b")["case"].dsc < 1
    write_truth(truth, "case", np.roll(LABELS, 1, 0))
    score(run, truth)
    assert len(calls) == 5
    assert rows_of(run, "b")["case"].dsc == 1


def test_a_kept_result_that_is_damaged_is_computed_again(folders):
    run, truth = folders
    write_truth(truth, "case", LABELS)
    add_result(run, "team", "case", LABELS)
    score(run, truth)
    for path in (run / ".scores").rglob("*.json"):
        path.write_text('{"score": {}')
    score(run, truth)
    assert rows_of(run)["case"].dsc == 1.0


def test_memory_that_we_lack_is_no_fault_of_a_mask(tmp_path, monkeypatch):
    from evaluation.scoring import labelmaps

    np.savez(tmp_path / "case.npz", segs=LABELS)

    def lacks(*_):
        raise MemoryError

    monkeypatch.setattr(labelmaps, "_read", lacks)
    with pytest.raises(MemoryError):
        labelmaps.read_mask(tmp_path / "case.npz", LABELS.shape)
