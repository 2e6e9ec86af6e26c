"""Time and energy: joules only where the processor tells them."""

import itertools
import json
from types import SimpleNamespace

import pytest

from inference.bundle import DEFAULT_BUNDLE
from inference.rules import VolumeRegionRule
from tests.inference.builders import spec_of, write_bundle
from training.cost import measure_cost, package_joules, summary, timed


def test_joules_are_those_of_whole_packages(tmp_path):
    assert package_joules(tmp_path) is None
    for zone, value in (
        ("intel-rapl:0", 5_000_000),
        ("intel-rapl:0:0", 1),
        ("intel-rapl:1", 250_000),
    ):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(str(value))
    assert package_joules(tmp_path) == 5.25
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert package_joules(tmp_path) is None  # one package unknown: the sum would be wrong


def test_the_first_run_is_not_counted():
    runs = []
    assert len(timed(lambda: runs.append(1), 3)) == 3 and len(runs) == 4
    assert summary([3.0, 1.0, 2.04]) == {"median": 2.0, "best": 1.0}


def test_the_cost_of_a_bundle_says_how_it_was_measured(monkeypatch):
    pytest.importorskip("openvino")
    joules = iter([10.0, 14.0])
    monkeypatch.setattr("training.cost.package_joules", lambda: next(joules))
    found = measure_cost(DEFAULT_BUNDLE, repeats=1)
    assert found["encoder_ms"]["best"] > 0 and found["decoder_ms"]["median"] > 0
    assert found["joules_per_case"] == 2.0 and found["energy_by"].startswith("RAPL")
    assert json.loads(json.dumps(found)) == found


def test_the_cost_of_whole_boxes_is_told_where_a_bundle_answers_them(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    ticks = itertools.count()  # a toy's graph takes less than is told, 0.1 ms
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 1000)
    monkeypatch.setattr("training.cost.time", clock)
    rule = VolumeRegionRule("volume.onnx", (4, 8, 8), 0.2, 0.2)
    folder = write_bundle(tmp_path / "bundle", spec_of(volume_region=rule))
    assert measure_cost(folder, repeats=1)["volume_ms"]["best"] > 0
    assert "volume_ms" not in measure_cost(write_bundle(tmp_path / "plain"), repeats=1)
