"""Logs of runs: what is dropped, what a run has cost, what a bundle keeps."""

import json

import pytest


def lines_of(pairs):
    return [{"step": s, "loss": 1.0 * s, "seconds": t} for s, t in pairs]


def test_time_is_added_up_over_restarts():
    from training.run_log import run_seconds

    assert run_seconds(lines_of([(20, 5.0), (40, 10.0), (60, 4.0), (80, 9.0)])) == 19.0
    assert run_seconds([]) == 0


def test_what_was_logged_after_the_checkpoint_is_dropped(tmp_path):
    from training.run_log import keep_lines_until, read_lines

    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(x) + "\n" for x in lines_of([(20, 1), (40, 2), (60, 3)])))
    keep_lines_until(path, 40)
    assert [line["step"] for line in read_lines(path)] == [20, 40]
    keep_lines_until(tmp_path / "none.jsonl", 3)
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_thinned_log_keeps_means_validations_and_time():
    from training.run_log import run_seconds, shortened_log

    lines = lines_of([(s, s / 2) for s in range(1, 11)])
    lines.insert(4, {"step": 4, "validation": {"score": 0.5}})
    short = shortened_log(lines, most=3)
    assert [line.get("loss") for line in short if "loss" in line] == [2.5, 6.5, 9.5]
    assert [line["step"] for line in short if "validation" in line] == [4]
    assert run_seconds([x for x in short if "loss" in x]) == pytest.approx(5.0)


def test_a_line_that_was_not_written_to_its_end_is_none(tmp_path):
    from training.run_log import append_line, keep_lines_until, read_lines

    path = tmp_path / "log.jsonl"
    append_line(path, {"step": 20, "loss": 1.0})
    with path.open("a") as file:
        file.write('{"step": 40, "lo')
    assert read_lines(path) == [{"step": 20, "loss": 1.0}]
    keep_lines_until(path, 20)
    append_line(path, {"step": 40, "loss": 2.0})
    assert [line["step"] for line in read_lines(path)] == [20, 40]
