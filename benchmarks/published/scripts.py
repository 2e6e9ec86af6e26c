"""Systems whose program is a Python script or SAM's predictor."""

import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from published.weights import make_ready, remember


def challenge_script(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """The organisers' program and its descendants: everything happens in one script."""

    def fill(model: nn.Module, *_: Any, **__: Any) -> None:
        make_ready(model, 256, work)
        remember(model)

    script = checkout / "CVPR24_LiteMedSAM_infer.py"
    inputs, masks = f"{work / 'cases'}/", f"{work / 'masks'}/"
    sys.argv = [str(script), "-i", inputs, "-o", masks, "-png_save_dir", str(work / "png")]
    torch.load = lambda *_, **__: {}
    nn.Module.load_state_dict = fill  # type: ignore[assignment]
    runpy.run_path(str(script), run_name="__main__")


def sam_predictor(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """SAM and MobileSAM: the predictor of the checkout, one box after the other."""
    mobile = system == "mobilesam"
    package = __import__("mobile_sam" if mobile else "segment_anything")
    model = package.sam_model_registry["vit_t" if mobile else "vit_b"]()
    make_ready(model, 1024, work, model.preprocess)
    predictor = package.SamPredictor(model)
    sys.modules[type(predictor.transform).__module__].to_pil_image = _to_pil  # type: ignore[attr-defined]
    sys.modules[type(predictor.transform).__module__].resize = _pil_resize  # type: ignore[attr-defined]
    for path in sorted((work / "cases").glob("2D*.npz")):
        case = np.load(path)
        predictor.set_image(
            np.atleast_3d(case["imgs"]).repeat(3, 2)[:, :, :3]
            if case["imgs"].ndim == 2
            else case["imgs"]
        )
        segs = np.zeros(case["imgs"].shape[:2], np.uint16)
        for label, box in enumerate(case["boxes"], 1):
            mask = predictor.predict(box=box.astype(float), multimask_output=False)[0][0]
            segs[mask] = label
        np.savez_compressed(work / "masks" / path.name, segs=segs)


def _to_pil(array: Any) -> Any:
    from PIL import Image

    return Image.fromarray(array)


def _pil_resize(image: Any, size: tuple[int, int]) -> Any:
    """What torchvision's ``resize`` does with a PIL image and two numbers."""
    from PIL import Image

    return image.resize(size[::-1], Image.Resampling.BILINEAR)


def medsam_script(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """MedSAM's script, once for every box of every picture; it writes one mask a run."""
    from segment_anything import sam_model_registry  # type: ignore[import-not-found]
    from skimage import io

    checkpoint = work / "checkpoint.pth"
    checkpoint.touch()  # its builder opens one whether asked to or not
    with patch("torch.load", lambda *_, **__: {}), patch.object(nn.Module, "load_state_dict"):
        model = sam_model_registry["vit_b"](checkpoint)
    make_ready(model, 1024, work)
    remember(model)
    sam_model_registry["vit_b"] = lambda checkpoint: model  # the same weights, once for all runs
    script = checkout / "MedSAM_Inference.py"
    (work / "png").mkdir(exist_ok=True)
    for path in sorted((work / "cases").glob("2D*.npz")):
        case = np.load(path)
        picture = work / "png" / f"{path.stem}.png"
        io.imsave(picture, case["imgs"], check_contrast=False)
        segs = np.zeros(case["imgs"].shape[:2], np.uint16)
        for label, box in enumerate(case["boxes"][:2], 1):
            sys.argv = [
                str(script),
                "-i",
                str(picture),
                "-o",
                str(work / "png"),
                "--box",
                str([int(v) for v in box]),
                "--device",
                "cpu",
                "-chk",
                str(checkpoint),
            ]
            runpy.run_path(str(script), run_name="__main__")
            segs[io.imread(work / "png" / f"seg_{picture.name}") > 0] = label
        np.savez_compressed(work / "masks" / path.name, segs=segs)
