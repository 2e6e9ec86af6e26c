"""What rewriting a graph gives here (inference/winograd.py, inference/tanh.py), runs in turns.

    python benchmarks/rewritten_graphs.py [--graph BUNDLE/encoder.onnx] [-n 9]

Three tables, f32, two threads unless --threads says.  First, with --graph: a graph as it is, with
each rewriting and with both (milliseconds of a run, median of the ratios of pairs, largest
difference of its first output; milliseconds until the compiled graph is open).  Then single 3 x 3
convolutions with GELU and a 1 x 1 convolution behind them, as they are and by Winograd's algorithm;
inference/winograd.py takes those from 128 channels on.  Last GELU in its tanh form between two
convolutions.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openvino
from openvino import opset8 as ops

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference import tanh, winograd  # noqa: E402
from inference.blob import compiler_settings  # noqa: E402
from inference.openvino_engine import read_graph  # noqa: E402

SIZES = (
    # input channels, output channels, side
    (256, 256, 64),
    (128, 512, 64),
    (256, 256, 32),
    (128, 128, 32),
    (64, 256, 128),
    (64, 64, 64),
)

OPEN = (
    "import mmap, sys, time; from inference.library_graph import import_graph\n"
    "from inference.openvino_library import open_device\n"
    "settings = dict(word.split('=') for word in sys.argv[2:]); open_device(settings)\n"
    "file = open(sys.argv[1], 'r+b')\n"
    "content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)\n"
    "began = time.perf_counter(); import_graph(content, 0, settings)\n"
    "print(time.perf_counter() - began)"
)

REWRITINGS: Mapping[str, tuple[ModuleType, ...]] = {
    "as it is": (),
    "winograd": (winograd,),
    "tanh": (tanh,),
    "both": (winograd, tanh),  # in the engine's order
}


def compiled(model: Any, rewritings: Sequence[ModuleType], threads: int) -> Any:
    """A model rewritten and compiled as the engine does."""
    counts = {module: module.rewrite(model) for module in rewritings}
    settings = {
        **compiler_settings("f32", threads),
        "SNIPPETS_MODE": "ENABLE" if counts.get(tanh) else "DISABLE",
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def measure(models: Mapping[str, Any], count: int) -> dict[str, tuple[float, float, float]]:
    """(median ms, median ratio to the first, largest difference from the first) of each."""
    requests = {name: model.create_infer_request() for name, model in models.items()}
    rng = np.random.default_rng(0)
    ports = next(iter(models.values())).inputs
    inputs = [rng.uniform(-2, 2, list(port.shape)).astype(np.float32) for port in ports]
    first = {name: np.array(r.infer(inputs)[0]) for name, r in requests.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(count):
        for name, request in requests.items():
            began = time.perf_counter()
            request.infer(inputs)
            times[name].append(time.perf_counter() - began)
    base = next(iter(models))
    return {
        name: (
            1000 * statistics.median(taken),
            statistics.median(t / b for t, b in zip(taken, times[base], strict=True)),
            float(np.abs(first[name] - first[base]).max()),
        )
        for name, taken in times.items()
    }


def opening_ms(model: Any, threads: int, count: int, folder: Path) -> float:
    """Median of the wall time until the compiled graph is open, in processes of their own."""
    content = io.BytesIO()
    model.export_model(content)
    path = folder / "graph.blob"
    path.write_bytes(content.getvalue())
    settings = [f"{key}={value}" for key, value in compiler_settings("f32", threads).items()]
    line = [sys.executable, "-c", OPEN, str(path), *settings]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = [
        subprocess.run(line, capture_output=True, check=True, env=here).stdout for _ in range(count)
    ]
    return 1000 * statistics.median(map(float, found))


def graph_table(path: Path, threads: int, count: int) -> None:
    """A whole graph."""
    models = {
        name: compiled(read_graph(openvino.Core(), path, 1), rewritings, threads)
        for name, rewritings in REWRITINGS.items()
    }
    print(f"| {path.name} | ms | ratio | largest difference | ms to open |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (ms, ratio, apart) in measure(models, count).items():
            opened = opening_ms(models[name], threads, count, Path(scratch))
            print(f"| {name} | {ms:.0f} | {ratio:.2f} | {apart:.1e} | {opened:.0f} |")
    print()


def convolution(x: Any, outputs: int, inputs: int, size: int) -> Any:
    """One with weights at random, which keeps the picture's size."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(outputs, inputs, size, size)) / np.sqrt(inputs * size * size)
    pad = [size // 2, size // 2]
    return ops.convolution(x, ops.constant(weights.astype(np.float32)), [1, 1], pad, pad, [1, 1])


def block(inputs: int, outputs: int, side: int) -> Any:
    """A 3 x 3 convolution, GELU, a 1 x 1 convolution and what came in added."""
    x = ops.parameter([1, inputs, side, side], np.float32)
    wide = ops.gelu(convolution(x, outputs, inputs, 3), "erf")
    return openvino.Model([ops.add(convolution(wide, inputs, outputs, 1), x)], [x])


def size_table(threads: int, count: int) -> None:
    """Single convolutions, whether inference/winograd.py would take them or not."""
    taken = winograd.LEAST_CHANNELS
    print("| channels in, out, side | as it is ms | winograd ms | ratio | taken |")
    print("| --- | ---: | ---: | ---: | --- |")
    for size in SIZES:
        winograd.LEAST_CHANNELS = 1
        models = {
            name: compiled(block(*size), REWRITINGS[name], threads)
            for name in ("as it is", "winograd")
        }
        winograd.LEAST_CHANNELS = taken
        found = measure(models, count)
        words = "yes" if min(size[:2]) >= taken else "no"
        plain, fast = found["as it is"], found["winograd"]
        print(f"| {size} | {plain[0]:.1f} | {fast[0]:.1f} | {fast[1]:.2f} | {words} |", flush=True)


def behind_a_convolution(gelu: bool) -> Any:
    """A 1 x 1 convolution from 64 to 256 channels of 128 x 128 pixels, GELU behind it, and the way
    back."""
    x = ops.parameter([1, 64, 128, 128], np.float32)
    wide = convolution(x, 256, 64, 1)
    return openvino.Model([convolution(ops.gelu(wide, "tanh") if gelu else wide, 64, 256, 1)], [x])


def gelu_table(threads: int, count: int) -> None:
    """What GELU's tanh form costs a number, as it is and rewritten."""
    models = {
        "none": compiled(behind_a_convolution(False), REWRITINGS["as it is"], threads),
        "as it is": compiled(behind_a_convolution(True), REWRITINGS["as it is"], threads),
        "by the logistic function": compiled(
            behind_a_convolution(True), REWRITINGS["tanh"], threads
        ),
    }
    found = measure(models, count)
    print("\n| GELU of 4.2 million numbers | ms with both convolutions | ns a number |")
    print("| --- | ---: | ---: |")
    for name, (ms, _, _) in found.items():
        print(f"| {name} | {ms:.1f} | {(ms - found['none'][0]) / (256 * 128 * 128) * 1e6:.1f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-n", type=int, default=9)
    args = parser.parse_args()
    if args.graph:
        graph_table(args.graph, args.threads, args.n)
    size_table(args.threads, args.n)
    gelu_table(args.threads, args.n)


if __name__ == "__main__":
    main()
