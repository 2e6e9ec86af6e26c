"""Decoders of pictures with many boxes, milliseconds a box, in turns.

    python benchmarks/many_boxes.py BUNDLE [BUNDLE ...] [--boxes 48] [-n 9] [--precision f32]

Bundles of SAM models (``python -m inference.export``) whose model of every modality has the rule
``many_boxes``.  Of each: the usual decoder, one box a run; the decoder of many boxes, one run at a
time and as the program runs it, several at a time; all without drawing.  Then what is worked out
once a picture: milliseconds and MiB.  Medians of the rounds; graphs are compiled first.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from inference.bundle_file import read_bundle  # noqa: E402
from inference.decoder import batches  # noqa: E402
from inference.engine import (  # noqa: E402
    AS_OPEN,
    Array,
    EngineSettings,
    Graph,
    Precision,
    compile_graph,
)
from inference.in_turn import in_turn  # noqa: E402

FILLED = 49
"""Rows of the embedding that a picture of 768 x 1024 fills."""


class Decoders:
    """The graphs of one bundle, about one picture of noise."""

    def __init__(self, folder: Path, precision: Precision, boxes: int) -> None:
        bundle = read_bundle(folder)
        spec = bundle.models[bundle.model_for("Unknown", False)]
        rule = spec.many_boxes
        if rule is None:
            raise SystemExit(f"{folder}: expected a model with many_boxes, found one without")
        if boxes % rule.boxes_at_once:
            found = f"expected a multiple of {rule.boxes_at_once} for {folder}, found {boxes}"
            raise SystemExit(f"--boxes: {found}")
        one = EngineSettings(precision=precision)
        several = EngineSettings(precision=precision, streams=one.parallel_runs)
        self.at_once, self.size = one.parallel_runs, rule.boxes_at_once
        self.usual = compile_graph(bundle, spec.decoder, one)
        self.prepare = compile_graph(bundle, rule.prepare, one)
        self.many = compile_graph(bundle, rule.decoder, one, AS_OPEN)
        self.parallel = compile_graph(bundle, rule.decoder, several, AS_OPEN)
        rng = np.random.default_rng(0)
        image = rng.uniform(0, 255, (1, 3, spec.input_size, spec.input_size)).astype(np.float32)
        encoder = compile_graph(bundle, spec.encoder, one)
        self.embedding = {"embedding": encoder.run({"image": image})[0]}
        prepared = dict(zip(rule.names, self.prepare.run(self.embedding), strict=True))
        self.prepared_bytes = sum(array.nbytes for array in prepared.values())
        side = self.embedding["embedding"].shape[1]
        places = np.arange(FILLED * side, dtype=np.float32)
        self.given = {**self.embedding, **prepared, "places": places}
        low = rng.uniform(0, 0.5, (boxes, 2))
        corners = np.hstack([low, low + rng.uniform(0.05, 0.3, (boxes, 2))]) * spec.input_size
        self.boxes = corners.astype(np.float32)

    def one_by_one(self) -> None:
        """The usual decoder."""
        for box in self.boxes:
            self.usual.run({**self.embedding, "boxes": box[None]})

    def at_a_time(self, graph: Graph, at_once: int) -> None:
        """The decoder of many boxes."""

        def run(part: slice) -> tuple[Array, ...]:
            return graph.run({**self.given, "boxes": self.boxes[part]})

        for _ in in_turn(run, batches(len(self.boxes), self.size), at_once):
            pass


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--boxes", type=int, default=48, help="default: %(default)s")
    parser.add_argument("-n", "--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    args = parser.parse_args()
    work: dict[tuple[Path, str], tuple[Callable[[], object], int]] = {}
    held = {}
    for folder in args.bundles:
        held[folder] = d = Decoders(folder, args.precision, args.boxes)
        several = f"many boxes, {d.at_once} runs at a time"
        work[folder, "usual"] = d.one_by_one, args.boxes
        work[folder, "many boxes"] = lambda d=d: d.at_a_time(d.many, 1), args.boxes
        work[folder, several] = lambda d=d: d.at_a_time(d.parallel, d.at_once), args.boxes
        work[folder, "prepare"] = lambda d=d: d.prepare.run(d.embedding), 1
    taken: dict[tuple[Path, str], list[float]] = {key: [] for key in work}
    for counted in range(-1, args.rounds):
        for key, (run, share) in work.items():
            ms = 1000 * seconds(run) / share
            if counted >= 0:  # the first round warms up
                taken[key].append(ms)
    print("| bundle | decoder | ms a box |\n| --- | --- | ---: |")
    for (folder, name), ms_of in taken.items():
        ms = f"{statistics.median(ms_of):.1f}"
        if name == "prepare":
            mib = held[folder].prepared_bytes / 2**20
            name, ms = f"prepared once a picture, {mib:.0f} MiB", f"{ms} a picture"
        print(f"| {folder.name} | {name} | {ms} |")


if __name__ == "__main__":
    main()
