"""Our scribbles against the organisers' own program of the sister task, with random weights.

    PYTHONPATH=. python benchmarks/scribble_agreement.py --checkout DIR --data DIR [--cases 8]

DIR is a checkout of bowang-lab/MedSAM, branch LiteMedSAMScribble; --data a folder of npz cases with
boxes, searched through.  In each picture one to three objects get a stroke 1, 2 and 6 pixels wide
across their boxes, the lower border a background stroke.  The published function that answers a
case is run without its pool of processes, in a process of its own.  Prints every case and one line
of the table of docs/challenge_models.md; exit code 1 where a bar is missed.  Needs
requirements-export.txt.
"""

import argparse
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import published_agreement as boxes
import torch
from published.stand_ins import stand_in
from published.weights import SEED, decode, randomise
from torch import nn

import inference
from inference.case import read_case
from inference.engine import EngineName, EngineSettings, compile_graph
from inference.export.bundles import export_bundle
from inference.scribble import BACKGROUND

WIDTHS = (1, 2, 6)
"""Of the strokes of a picture's first, second and third object."""

SCRIPT = "CVPR24_LiteMedSAM_infer_scribble.py"


def main() -> int:
    """Run the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="keep everything here")
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--published", action="store_true", help="only run the published program")
    args = parser.parse_args()
    if args.published:
        run_published(args.checkout, args.work)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        make_cases(args.data, work / "cases", args.cases)
        line = [sys.executable, __file__, "--checkout", str(args.checkout.resolve())]
        line += ["--data", str(args.data), "--work", str(work), "--published"]
        if not (work / "probe.npz").exists():
            subprocess.run(line, check=True, env=os.environ, stdout=sys.stderr)
        if not (work / "bundle").exists():
            export_bundle("litemedsam", work / "checkpoint.pth", work / "bundle", scribbles=True)
        graphs = compare_graphs(work)
        published, corrected = (compare_masks(work, f) for f in ("published", "corrected"))
    values = f"| | {graphs['openvino']:.1e} | | {graphs['onnxruntime']:.1e}"
    print(
        f"| `litemedsam`, scribbles {values} | {len(published)} (2D)"
        f" | {np.mean(published):.5f} | {min(published):.5f} | {np.mean(corrected):.4f} |"
    )
    good = max(graphs.values()) <= boxes.GRAPH_BAR and min(published) >= boxes.PIXEL_BAR
    return 0 if good and len(published) == args.cases else 1


def make_cases(data: Path, folder: Path, count: int) -> None:
    """Pictures with strokes in the place of boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return
    for path in boxes.pick(data, "2DBox_*.npz", count):
        with np.load(path) as file:
            picture, objects = file["imgs"], file["boxes"][: len(WIDTHS)].astype(int)
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, 2)  # what the program reads
        strokes = np.zeros(picture.shape[:2], np.int64)
        strokes[-2:] = BACKGROUND
        for i, ((x0, y0, x1, y1), width) in enumerate(zip(objects, WIDTHS, strict=False)):
            top = (y0 + y1) // 2
            strokes[top : top + width, x0 + (x1 - x0) // 5 : x1 - (x1 - x0) // 5 + 1] = 2 * i + 2
        np.savez_compressed(folder / path.name, imgs=picture, scribbles=strokes)


def run_published(checkout: Path, work: Path) -> None:
    """Random weights, one probe of the published modules, and the published masks of all cases."""
    stand_in()
    torch.manual_seed(SEED)
    sys.path.insert(0, str(checkout))
    (work / "masks").mkdir(exist_ok=True)
    models: list[Any] = []
    torch.load = lambda *_, **__: {}
    nn.Module.load_state_dict = lambda model, *_, **__: models.append(model)  # type: ignore[assignment]
    sys.argv = [SCRIPT, "-i", str(work / "cases"), "-o", str(work / "masks"), "-num_workers", "1"]
    with torch.no_grad():
        program = runpy.run_path(str(checkout / SCRIPT), run_name="published")
        model = models[0]
        randomise(model)
        torch.save(model.state_dict(), work / "checkpoint.pth")
        for path in sorted((work / "cases").glob("*.npz")):
            program["MedSAM_infer_npz"](str(path))
        probe(model, work)


def probe(model: Any, work: Path) -> None:
    """Save one embedding, strokes, and the published decoder's answer to them."""
    random = torch.Generator().manual_seed(1)
    embedding = torch.randn(1, 256, 64, 64, generator=random)
    strokes = (torch.rand(1, 1, 256, 256, generator=random) > 0.9).float()
    prompts = model.prompt_encoder(points=None, boxes=None, masks=strokes)
    logits = decode(model, embedding, prompts)
    arrays = {"embedding": embedding, "strokes": strokes, "logits": logits}
    np.savez(work / "probe.npz", **{key: value.numpy() for key, value in arrays.items()})


def compare_graphs(work: Path) -> dict[str, float]:
    """Largest relative difference of the third graph on each engine."""
    bundle = inference.load(work / "bundle").bundle
    with np.load(work / "probe.npz") as file:
        given = {name: file[name] for name in file}
    given["embedding"] = np.moveaxis(given["embedding"], 1, 3)  # channels last, as we export it
    engines: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    return {
        engine: boxes.relative(
            compile_graph(bundle, "scribbles.onnx", EngineSettings(engine)).run(given)[0],
            given["logits"],
        )
        for engine in engines
    }


def compare_masks(work: Path, fidelity: str) -> list[float]:
    """Part of the pixels with the same label, of every case."""
    segmenter = inference.load(work / "bundle", fidelity=fidelity)  # type: ignore[arg-type]
    same = []
    for path in sorted((work / "masks").glob("*.npz")):
        with np.load(path) as file:
            expected = file["segs"]
        found = segmenter.segment_case(read_case(work / "cases" / path.name))
        same.append(float((found == expected).mean()))
        print(f"  {path.stem}: {same[-1]:.6f} {fidelity}", flush=True)
    return same


if __name__ == "__main__":
    sys.exit(main())
