"""DAFT: its Python program and its C++ program, of the same network."""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from published.binaries import run_binary
from published.weights import make_ready


def daft_model(work: Path) -> Any:
    """DAFT's network with random weights (EfficientViT's package as the first place vendors it),
    exported as its export_onnx.py does, for every expert the same."""
    import openvino
    from src.models.efficientvit.sam_model_zoo import create_sam_model

    model = create_sam_model("l0", False)
    make_ready(model, 256, work)  # sets the prompt encoder's input size too
    folder = work / "openvinomodels"
    folder.mkdir(exist_ok=True)
    np.save(folder / "positional_encoding.npy", model.prompt_encoder.get_dense_pe().numpy())
    box = torch.tensor([[[[100.0, 100, 200, 200]]]])
    sparse, dense = model.prompt_encoder(points=None, boxes=box, masks=None)
    given = {
        "image_embeddings": torch.rand(1, 256, 64, 64),
        "image_pe": model.prompt_encoder.get_dense_pe(),
        "sparse_prompt_embeddings": sparse,
        "dense_prompt_embeddings": dense,
    }
    prompts = ["sparse_embeddings", "dense_embeddings"]
    decoder = _WithoutMultimask(model.mask_decoder)
    outputs = ["low_res_masks", "iou_predictions"]
    parts = (
        ("image_encoder", model.image_encoder, (torch.rand(1, 3, 256, 256),), ["image"], ["e"]),
        ("prompt_encoder", _BoxOnly(model.prompt_encoder), (box,), ["boxes"], prompts),
        ("mask_decoder", decoder, tuple(given.values()), list(given), outputs),
    )
    for name, module, inputs, names, results in parts:
        onnx = folder / f"{name}.onnx"
        torch.onnx.export(
            module.eval(),
            inputs,
            str(onnx),
            opset_version=17,
            dynamo=False,
            input_names=names,
            output_names=results,
        )
        openvino.save_model(
            openvino.convert_model(onnx), onnx.with_suffix(".xml"), compress_to_fp16=False
        )
    experts = (
        "3D CT XRay US Fundus Endoscopy Dermoscopy Microscopy Mammography OCT general lite_medsam"
    )
    for expert in experts.split():
        for part in ("image_encoder", "mask_decoder", "prompt_encoder"):
            for suffix in (".xml", ".bin"):
                link = folder / f"{expert}_{part}{suffix}"
                link.unlink(missing_ok=True)
                link.symlink_to(folder / f"{part}{suffix}")
    return model


class _WithoutMultimask(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.decoder(*inputs, multimask_output=False)


class _BoxOnly(nn.Module):
    def __init__(self, prompts: nn.Module) -> None:
        super().__init__()
        self.prompts = prompts

    def forward(self, boxes: torch.Tensor) -> Any:
        return self.prompts(points=None, boxes=boxes, masks=None)


def daft_binary(system: str, checkout: Path, work: Path, program: Path | None) -> None:
    """DAFT's C++ program."""
    sys.path.insert(0, os.environ["EFFICIENTVIT_CHECKOUT"])
    daft_model(work)
    run_binary([program, work / "cache", work / "cases", work / "masks"], work)


def daft_script(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """DAFT's Python program of the challenge, in float32."""
    import openvino

    sys.path.insert(0, os.environ["EFFICIENTVIT_CHECKOUT"])
    daft_model(work)

    class Core(openvino.Core):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    openvino.Core = Core
    os.chdir(work)
    script = checkout / "PerfectMetaOpenVINO.py"
    sys.argv = [str(script), "-i", f"{work / 'cases'}/", "-o", f"{work / 'masks'}/"]
    runpy.run_path(str(script), run_name="__main__")
