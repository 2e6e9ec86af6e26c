"""Images of published programs, for container_pairs.py; both on the base image that ours is on.

    python benchmarks/peer_images.py medficientsam TAG --base IMAGE \\
        --program BINARY --libraries OPENVINO/libs --graphs DIR
    python benchmarks/peer_images.py litemedsam TAG --base IMAGE \\
        --checkout DIR --site DIR --weights FILE

BINARY is MedficientSAM's C++ program (hieplpvip/medficientsam, cpp/), DIR of --graphs has
encoder.xml and decoder.xml (see peers_speed.py).  The shared libraries that it was linked to are
copied along, so it has to be built on the Debian release of the base.  DIR of --site is what
``pip install --target DIR torch numpy matplotlib pandas tqdm opencv-python-headless`` makes, for
the base's Python; FILE is a checkpoint of LiteMedSAM, random weights will do.  The little that the
baseline takes of timm is stood in for, and so is torchvision, which it imports and does not use.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "peers"

OF_THE_BASE = re.compile(r"^(ld-linux.*|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+))\.so")
"""Libraries that every Debian image with Python and libstdc++ has."""

LOADED_LATER = ("libopenvino_intel_cpu_plugin.so*", "libopenvino_ir_frontend.so*", "libtbb*.so*")
"""Of OpenVINO's folder: what ldd does not tell."""

RUN_MEDFICIENTSAM = """#!/bin/sh
exec ./main encoder.xml decoder.xml /workspace/outputs/ /workspace/inputs/ /workspace/outputs/
"""
"""Its predict.sh without /usr/bin/time, which the base lacks."""

STAND_INS = {
    "timm/__init__.py": "",
    "timm/models/__init__.py": "",
    "timm/models/layers.py": (
        "from torch import nn\n\ntrunc_normal_ = nn.init.trunc_normal_\n\n\n"
        "def to_2tuple(x):\n    return x if isinstance(x, tuple) else (x, x)\n\n\n"
        "class DropPath(nn.Identity):\n    drop_prob = None\n"
    ),
    "timm/models/registry.py": "def register_model(f):\n    return f\n",
    "torchvision/__init__.py": "",
    "torchvision/ops/__init__.py": "",
    "torchvision/ops/boxes.py": "batched_nms = box_area = None\n",
    "torchvision/transforms/__init__.py": "",
    "torchvision/transforms/functional.py": "resize = to_pil_image = None\n",
}
"""Of packages that cannot be had for the CPU alone, or weigh much for four names."""


def fill_medficientsam(context: Path, args: argparse.Namespace) -> None:
    """The program, its graphs and its libraries."""
    library = context / "lib"
    library.mkdir()
    shutil.copy(args.program, context / "main")
    told = subprocess.run(["ldd", args.program], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", told, re.MULTILINE):
        if not OF_THE_BASE.match(name):
            shutil.copy(path, library / name)
    for pattern in LOADED_LATER:
        for path in args.libraries.glob(pattern):
            shutil.copy(path, library)
    for path in args.libraries.glob("libhwloc*"):
        shutil.copy(path, library)
    for name in ("encoder", "decoder"):
        for suffix in (".xml", ".bin"):
            shutil.copy(args.graphs / f"{name}{suffix}", context)
    (context / "predict.sh").write_text(RUN_MEDFICIENTSAM)


def fill_litemedsam(context: Path, args: argparse.Namespace) -> None:
    """The checkout with its checkpoint, and the packages."""
    app = context / "app"
    shutil.copytree(args.checkout, app, ignore=shutil.ignore_patterns(".git", "work_dir"))
    weights = app / "work_dir" / "LiteMedSAM" / "lite_medsam.pth"
    weights.parent.mkdir(parents=True)
    shutil.copy(args.weights, weights)
    shutil.copytree(args.site, context / "site", symlinks=True)
    for name, text in STAND_INS.items():
        path = context / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main() -> None:
    """Fill a folder and build the image from it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=("medficientsam", "litemedsam"))
    parser.add_argument("tag")
    parser.add_argument("--base", required=True, help="the base image of ours")
    for name in ("--program", "--libraries", "--graphs", "--checkout", "--site", "--weights"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    fill = fill_medficientsam if args.system == "medficientsam" else fill_litemedsam
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder, "context")
        context.mkdir()
        fill(context, args)
        line = ["docker", "build", "--build-arg", f"BASE={args.base}", "--tag", args.tag]
        line += ["--file", str(HERE / f"{args.system}.Dockerfile"), str(context)]
        subprocess.run(line, check=True)


if __name__ == "__main__":
    main()
