"""Our export of a published system against that system's own code, with random weights.

    PYTHONPATH=. python benchmarks/published_agreement.py SYSTEM --checkout DIR --data DIR
        [--program BINARY]

SYSTEM is an ARCH of python -m inference.export; DIR the checkout of its repository, --data a folder
of npz cases, searched through.  Needs requirements-export.txt.  Twenty cases (13 pictures of all
modalities, 7 volumes cut to a few slices; teachers: pictures only) are segmented by the published
program as it is (published_programs.py, a process of its own) and by our bundle with
``fidelity="published"`` and ``"corrected"``.  Prints every case and one line of a table: largest
differences of encoder and decoder relative to the largest value, for OpenVINO and ONNX Runtime; the
least and the largest part of a case that is labelled; the part of all its pixels that agree, mean
and worst case.  Exit code 1 where a bar is missed or the published program left a case out.

The C++ programs (medficientsam-*, daft) are built from the checkout's cpp/ first: --program.  DAFT
imports EfficientViT's package: EFFICIENTVIT_CHECKOUT names medficientsam's checkout, which has it.
Swin-LiteMedSAM's code needs einops (and connected-components-3d, which requirements-dev.txt has).
"""

import argparse
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from answered_cases import PIXEL_BAR, answered_cases
from numpy.typing import NDArray

import inference
from inference.bundle_file import read_bundle
from inference.case import read_case
from inference.engine import EngineName, EngineSettings, compile_graph
from inference.export.architectures import ARCHITECTURES
from inference.export.bundles import export_bundle
from inference.export.systems import SYSTEMS
from inference.modality import modality_of

Array = NDArray[np.generic]

GRAPH_BAR = 1e-4
TEACHERS = ("medsam", "mobilesam", "sam-vit-b")
"""Their programs know no volume with one box an object: SAM's and MobileSAM's predictors and
MedSAM's script take a picture; what MedSAM's repository has for volumes starts from a mask in many
slices (extensions/seg_3dnii_sparse_marker) or in all (comparisons/SAM)."""

END_SLICES = {"swin-litemedsam": 2}
"""Slices more of a volume, for a program that leaves out those at both ends of a box."""

SLICES, BOXES_2D, BOXES_3D = 4, 4, 2
"""Most of each in a case: the published programs take seconds for every slice of every box."""


def main() -> int:
    """Run the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=list(ARCHITECTURES))
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--work", type=Path, help="keep everything here")
    parser.add_argument("--cases", type=int, default=20, help="0: the graphs alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        only_2d = args.system in TEACHERS
        boxes = 2 if only_2d else BOXES_2D
        slices = SLICES + END_SLICES.get(args.system, 0)
        make_cases(args.data, work / "cases", args.cases, only_2d, boxes, slices)
        run_published(args.system, args.checkout, work, args.program)
        bundle = work / "bundle"
        if not bundle.exists():
            export_alone(args.system, work / "checkpoint.pth", bundle)
        graphs = compare_graphs(bundle, np.load(work / "probe.npz"))
        encoder = RememberingEncoder(bundle)
        published = compare_masks(work, "published", encoder)
        corrected = published
        if SYSTEMS[args.system].published:
            corrected = compare_masks(work, "corrected", encoder)
    good = report(args.system, graphs, published, corrected)
    return 0 if good and len(published) == args.cases else 1


def make_cases(
    data: Path, folder: Path, count: int, only_2d: bool, boxes: int, slices: int = SLICES
) -> None:
    """Pictures of every modality, those with most boxes first, and volumes cut to few slices."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return
    volumes = 0 if only_2d else count * 7 // 20
    chosen = pick(data, "2DBox_*.npz", count - volumes) + pick(data, "3DBox_*.npz", volumes)
    for path in chosen:
        with np.load(path) as file:
            case = {key: file[key] for key in ("imgs", "boxes", "spacing") if key in file}
        case["boxes"] = case["boxes"].astype(np.int64)
        if case["boxes"].shape[1] == 6:
            case = cut(case, slices)
        elif case["imgs"].ndim == 2:
            case["imgs"] = np.repeat(case["imgs"][:, :, None], 3, 2)  # what the programs read
        case["boxes"] = case["boxes"][:boxes]
        np.savez_compressed(folder / path.name, **case)


def pick(data: Path, pattern: str, count: int) -> list[Path]:
    """``count`` files, the modalities in turn, in each those with most boxes of its first 60."""
    by_modality: dict[str, list[Path]] = {}
    for path in sorted(data.rglob(pattern)):
        by_modality.setdefault(modality_of(path.name), []).append(path)
    for modality, paths in by_modality.items():
        by_modality[modality] = sorted(paths[:60], key=lambda p: -number_of_boxes(p))
    chosen: list[Path] = []
    while len(chosen) < count and any(by_modality.values()):
        for paths in by_modality.values():
            if paths and len(chosen) < count:
                chosen.append(paths.pop(0))
    return chosen


def number_of_boxes(path: Path) -> int:
    """Boxes of a case."""
    with np.load(path) as file:
        return len(file["boxes"])


def cut(case: dict[str, Array], slices: int) -> dict[str, Array]:
    """At most so many slices around the middle of the first box, and the boxes that reach there."""
    first = case["boxes"][0]
    start = max(0, int(first[2] + first[5]) // 2 - slices // 2)
    stop = min(len(case["imgs"]), start + slices)
    boxes = case["boxes"].copy()
    boxes[:, 2] = np.clip(boxes[:, 2] - start, 0, None)
    boxes[:, 5] = np.clip(boxes[:, 5] - start, None, stop - start - 1)
    kept = boxes[boxes[:, 2] < boxes[:, 5]][:BOXES_3D]
    return {
        **case,
        "imgs": case["imgs"][start:stop],
        "boxes": kept,
        "spacing": case.get("spacing", np.ones(3)),
    }


def run_published(system: str, checkout: Path, work: Path, program: Path | None) -> None:
    """The published program on the cases, and no bundle of earlier weights; skipped where all its
    masks are there."""
    cases = sorted((work / "cases").glob("*.npz"))
    if cases and all((work / "masks" / path.name).exists() for path in cases):
        return
    shutil.rmtree(work / "bundle", ignore_errors=True)
    script = Path(__file__).with_name("published_programs.py")
    line = [sys.executable, str(script), system, str(checkout.resolve()), str(work)]
    line += ["--program", str(program.resolve())] if program else []
    subprocess.run(line, check=True, env=os.environ | {"PYTHONPATH": ""}, stdout=sys.stderr)


def export_alone(system: str, checkpoint: Path, folder: Path) -> None:
    """Our bundle of one checkpoint; where the system has experts, of one that answers for all."""
    whole = ARCHITECTURES[system]
    alone = dataclasses.replace(whole, routing=None, fallback=None)
    table = dict(ARCHITECTURES) | {system: alone}
    inference.export.bundles.ARCHITECTURES = table  # type: ignore[attr-defined]
    export_bundle(system, checkpoint, folder)


def compare_graphs(folder: Path, probe: dict[str, Array]) -> dict[str, float]:
    """Largest relative difference of each graph on each engine from the published modules."""
    bundle = read_bundle(folder)
    spec = bundle.models["general"]
    differences = {}
    engines: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    for engine in engines:
        settings = EngineSettings(engine)
        encoder = compile_graph(bundle, spec.encoder, settings)
        decoder = compile_graph(bundle, spec.decoder, settings)
        given = {name: probe[name].astype(np.float32) for name in probe}
        found = dict(zip(spec.embedding_names, encoder.run(given), strict=True))
        parts = {name: laid_out(given[name], part.shape) for name, part in found.items()}
        differences[f"{engine} encoder"] = max(relative(found[n], parts[n]) for n in parts)
        placed = {n: given[n] + np.float32(0.5) for n in ("boxes", "points") if n in given}
        logits = decoder.run(given | parts | placed)[0]
        differences[f"{engine} decoder"] = relative(logits, given["logits"])
    return differences


def laid_out(published: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A published tensor (1, C, h, w) as our encoder gives it: channels last where the shape says
    so."""
    return published if published.shape == shape else np.moveaxis(published, 1, 3)


def relative(found: Array, expected: Array) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The published program's labels of a case and ours."""

    name: str
    boxes: int
    same: float
    """Part of the pixels with the same label."""
    labelled: float
    """Part of the pixels that the published program labels."""


class RememberingEncoder:
    """A bundle's encoder that keeps its answers, as both fidelities encode the same pictures."""

    def __init__(self, folder: Path) -> None:
        bundle = read_bundle(folder)
        self._graph = compile_graph(bundle, bundle.models["general"].encoder, EngineSettings())
        self._kept: dict[bytes, tuple[Array, ...]] = {}

    def run(self, inputs: dict[str, Array]) -> tuple[Array, ...]:
        """What the encoder gives for ``image``."""
        key = hashlib.sha256(inputs["image"].tobytes()).digest()
        if key not in self._kept:
            self._kept[key] = self._graph.run({"image": inputs["image"].astype(np.float32)})
        return self._kept[key]


def compare_masks(work: Path, fidelity: str, encoder: RememberingEncoder) -> list[Agreement]:
    """Every case that the published program answered."""
    segmenter = inference.load(work / "bundle", fidelity=fidelity)  # type: ignore[arg-type]
    model = segmenter.model()
    model.encoder = model.slice_encoder = encoder  # type: ignore[assignment]
    rows = []
    for path, expected in answered_cases(work):
        case = read_case(path)
        same = float((segmenter.segment_case(case, modality_of(path.name)) == expected).mean())
        rows.append(Agreement(path.stem, len(case.boxes), same, float((expected > 0).mean())))
    return rows


def report(
    system: str,
    graphs: dict[str, float],
    published: list[Agreement],
    corrected: list[Agreement],
) -> bool:
    """Print every case and the line of the table; whether the bars are met."""
    for row, other in zip(published, corrected, strict=True):
        print(
            f"  {row.name}: {row.boxes} boxes, {row.same:.6f} published, {other.same:.6f}"
            f" corrected, {row.labelled:.3f} labelled"
        )
    values = " | ".join(f"{value:.1e}" for value in graphs.values())
    if not published:
        print(f"| {system} | {values} | none | | | | |")
        return max(graphs.values()) <= GRAPH_BAR
    volumes = sum(row.name.startswith("3D") for row in published)
    cases = f"{len(published)} ({len(published) - volumes} 2D, {volumes} 3D)"
    covered = [row.labelled for row in published]
    same = [row.same for row in published]
    print(
        f"| `{system}` | {values} | {cases} | {min(covered):.2f} to {max(covered):.2f}"
        f" | {np.mean(same):.5f} | {min(same):.5f}"
        f" | {np.mean([row.same for row in corrected]):.4f} |"
    )
    return max(graphs.values()) <= GRAPH_BAR and min(same) >= PIXEL_BAR


if __name__ == "__main__":
    sys.exit(main())
