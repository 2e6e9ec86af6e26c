"""Records survive whatever happens to the harness."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.errors import RecordError
from evaluation.running.outcomes import Status
from evaluation.running.records import CaseRecord, RecordLog, last_records, read_records

RECORD = CaseRecord(
    case="2DBox_US_1",
    modality="Ultrasound",
    dimensions=2,
    status=Status.OK,
    reason="",
    exit_code=0,
    oom_killed=False,
    wall_s=1.5,
    started_at="2024-05-25T12:00:00.000+00:00",
    runner="docker",
    submission="sha256:0",
    case_sha256="1",
    protocol_sha256="2",
    mask_bytes=100,
    mask_sha256="3",
)


def write(path: Path, *records: CaseRecord) -> None:
    with RecordLog(path) as log:
        for record in records:
            log.append(record)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "team" / "records.jsonl"
    crash = replace(RECORD, case="b", status=Status.CRASH, reason="exit code 1", wall_s=None)
    write(path, RECORD)
    write(path, crash)
    assert read_records(path) == [RECORD, crash]
    assert all(json.loads(line)["schema"] == 1 for line in path.read_text().splitlines())


def test_no_file_holds_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_not_read_and_not_continued(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "records.jsonl"
    write(path, RECORD)
    line = path.read_bytes()
    path.write_bytes(line + line[:kept])
    assert read_records(path) == [RECORD]
    again = replace(RECORD, case="b")
    write(path, again)
    assert read_records(path) == [RECORD, again]


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, RECORD)
    path.write_bytes(path.read_bytes() + b"{nonsense\n" + path.read_bytes())
    with pytest.raises(RecordError, match=r"records.jsonl:2: expected a record"):
        read_records(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, replace(RECORD, schema=99))
    with pytest.raises(RecordError, match="schema must be 1, found 99"):
        read_records(path)


def test_the_last_record_of_a_case_counts() -> None:
    fault = replace(RECORD, status=Status.HARNESS_FAULT)
    assert last_records([fault, RECORD]) == {"2DBox_US_1": RECORD}


def test_only_harness_faults_are_run_again() -> None:
    assert [status for status in Status if not status.is_final] == [Status.HARNESS_FAULT]
