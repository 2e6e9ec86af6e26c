"""Time and energy of the graphs: one picture encoded, one box decoded."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import inference
from inference.engine import EngineName, Precision
from inference.model import Model
from inference.rules import VolumeRegionRule

RAPL = Path("/sys/class/powercap")
"""Where Linux shows the processor's energy counters (Intel and AMD), if it shows them."""


def measure_cost(
    bundle: Path,
    engine: EngineName = "openvino",
    precision: Precision = "f32",
    threads: int = 2,
    repeats: int = 30,
) -> dict[str, Any]:
    """Median and best milliseconds of the graphs, and joules a case where RAPL can be read.

    Graph time only: reading, resizing and drawing are in ``benchmarks/case_cost.py``.  Joules are
    those of all processor packages, whatever else runs on them.
    """
    model = inference.load(bundle, engine, precision, threads).model()
    spec = model.spec
    dice = np.random.default_rng(0)
    side = spec.input_size
    image = {"image": dice.uniform(0, 255, (1, 3, side, side)).astype(np.float32)}
    asked = {
        "embedding": model.encoder.run(image)[0],
        "boxes": np.tile(
            np.array([[0.2, 0.2, 0.6, 0.7]], np.float32) * side, (spec.boxes_at_once, 1)
        ),
    }
    if spec.region is not None:
        r = spec.region.side
        asked["regions"] = asked["boxes"]
        asked["context"] = np.zeros((spec.boxes_at_once, 2), np.float32)
        shape = (spec.boxes_at_once, spec.region.channels, r, r)
        asked["crops"] = dice.uniform(0, 1, shape).astype(np.float32)
    whole = {} if spec.volume_region is None else whole_box(model, spec.volume_region, repeats)
    before = package_joules()
    encoder = timed(lambda: model.encoder.run(image), repeats)
    decoder = timed(lambda: model.decoder.run(asked), repeats)
    after = package_joules()
    known = before is not None and after is not None
    joules = (after - before) / (repeats + 1) if known else None  # type: ignore[operator]
    return {
        "engine": engine,
        "precision": precision,
        "threads": threads,
        "processor": processor_name(),
        "encoder_ms": summary(encoder),
        "decoder_ms": summary(decoder),
        **whole,
        "joules_per_case": None if joules is None else round(joules, 3),
        "energy_by": "RAPL, all packages" if known else "not measured: RAPL is absent",
    }


def whole_box(model: Model, rule: VolumeRegionRule, repeats: int) -> dict[str, Any]:
    """Median and best milliseconds of the graph that answers a volume's box."""
    z, y, x = rule.grid
    asked = {
        "crops": np.zeros((1, 2, z, y, x), np.float32),
        "place": np.zeros((1, 6, z, y // 2, x // 2), np.float32),
    }
    return {"volume_ms": summary(timed(lambda: model.volume_graph.run(asked), repeats))}


def timed(run: Callable[[], Any], repeats: int) -> list[float]:
    """Milliseconds of each of ``repeats`` runs after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3)
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Median and smallest."""
    return {"median": round(statistics.median(times), 1), "best": round(min(times), 1)}


def package_joules(root: Path = RAPL) -> float | None:
    """Energy that all processor packages have used since some time; None where RAPL is absent or
    may not be read.  Sub-zones (``intel-rapl:0:1``) are parts of a package and not added."""
    microjoules = []
    for zone in sorted(root.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:
            try:
                microjoules.append(int((zone / "energy_uj").read_text()))
            except (OSError, ValueError):
                return None
    return sum(microjoules) / 1e6 if microjoules else None


def processor_name() -> str:
    """As Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
