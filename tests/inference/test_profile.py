"""Spans: nothing while off, hand-worked own seconds, a trace that a viewer takes."""

import json
import threading
import time

import pytest

from inference import profile
from inference.command_line import main
from inference.profile import Span
from tests.inference.builders import write_bundle

MAIN = 1


@pytest.fixture(autouse=True)
def ended():
    yield
    profile.end()


def test_nothing_is_measured_unless_asked():
    with profile.span("read"):
        pass
    profile.add("start-up", 0.0, 1.0)
    assert profile.end() == []
    assert profile.span("read") is profile.span("write")  # one object that does nothing


def test_spans_tell_name_thread_and_that_they_lie_in_one_another():
    profile.begin()
    with profile.span("outer"):
        with profile.span("inner"):
            time.sleep(0.002)
        thread = threading.Thread(target=lambda: profile.span("beside").__enter__())
        thread.start()
        thread.join()
    outer, inner = profile.end()  # what never ended is not told
    assert (outer.name, inner.name) == ("outer", "inner")
    assert outer.began_s <= inner.began_s < inner.ended_s <= outer.ended_s
    assert inner.ended_s - inner.began_s >= 0.002
    assert profile.end() == []


def test_a_span_ends_where_its_work_fails():
    profile.begin()
    with pytest.raises(ValueError), profile.span("read"):
        raise ValueError
    assert [s.name for s in profile.end()] == ["read"]


SPANS = [
    Span("propagate", 1.0, 9.0, MAIN),
    Span("encode", 1.0, 4.0, MAIN),
    Span("encoder graph", 2.0, 3.5, MAIN),
    Span("load graph", 2.0, 8.0, 2),
    Span("decode", 5.0, 8.0, MAIN),
    Span("write", 9.0, 11.0, MAIN),
]


def test_own_seconds_are_those_of_no_span_inside():
    # 8 - 3 - 3; 3 - 1.5; another thread takes nothing away
    assert profile.own_seconds(SPANS) == [2.0, 1.5, 1.5, 6.0, 3.0, 2.0]


def test_the_table_adds_up_to_the_wall_time_of_the_main_thread():
    lines = profile.table(SPANS, MAIN).splitlines()
    seconds = {line[:18].strip(): float(line.split()[-2]) for line in lines[1:-1]}
    assert seconds.pop("+ load graph") == 6.0
    assert sum(seconds.values()) == 10.0
    assert lines[-1].split() == ["wall", "10.000"]
    assert profile.table([], MAIN).splitlines()[-1].split() == ["wall", "0.000"]


def test_the_trace_is_in_microseconds_from_the_first_span():
    events = json.loads(profile.trace(SPANS))["traceEvents"]
    assert [e["name"] for e in events] == [s.name for s in SPANS]
    graph = events[2]
    assert (graph["ph"], graph["ts"], graph["dur"], graph["tid"]) == ("X", 1e6, 1.5e6, MAIN)


def test_the_process_began_before_now_and_not_long_ago():
    began = profile.process_began_s()
    assert began is not None and 0 < time.perf_counter() - began < 24 * 3600


@pytest.mark.parametrize("is_volume", [False, True])
def test_a_run_tells_every_step(tmp_path, make_case, fake_engine, capsys, is_volume):
    if is_volume:
        case = make_case("3DBox_CT_1", (4, 30, 40), [[5, 5, 0, 20, 20, 3]])
    else:
        case = make_case("2DBox_CT_1", (30, 40), [[5, 5, 20, 20], [1, 1, 9, 9]])
    bundle, out, trace = write_bundle(tmp_path / "bundle"), tmp_path / "masks", tmp_path / "trace"
    line = ["-i", str(case.parent), "-o", str(out), "--model", str(bundle)]
    assert main([*line, "--profile", str(trace)]) == 0
    names = [e["name"] for e in json.loads(trace.read_text())["traceEvents"]]
    wanted = {"start-up", "import", "bundle", "read", "load graph", "encode", "encoder graph"}
    wanted |= {"decode", "decoder graph", "write"} | ({"propagate"} if is_volume else set())
    assert wanted <= set(names)
    assert names.count("decode") == (4 if is_volume else 2)
    assert "wall" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [case.name]


def test_a_trace_that_cannot_be_written_is_a_usage_error(tmp_path, make_case, capsys):
    case = make_case("2DBox_CT_1", (30, 40), [[5, 5, 20, 20]])
    line = ["-i", str(case.parent), "-o", str(tmp_path / "masks")]
    assert main([*line, "--profile", str(tmp_path / "none" / "trace")]) == 2
    assert "trace: expected a file to write to" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()
