"""MedficientSAM: the first place."""

from pathlib import Path

import torch

from published.binaries import run_binary
from published.weights import make_ready


def medficient_program(system: str, checkout: Path, work: Path, program: Path | None) -> None:
    """The first place: its own export modules, then its own binary."""
    import openvino
    from src.models.base_sam import BaseSAM  # type: ignore[import-not-found]
    from src.models.efficientvit.sam_model_zoo import create_sam_model  # type: ignore[import-not-found]
    from src.models.onnx import DecoderOnnxModel, EncoderOnnxModel  # type: ignore[import-not-found]
    from src.models.segment_anything import build_sam_vit_b  # type: ignore[import-not-found]

    teacher = build_sam_vit_b()
    student = create_sam_model(system.removeprefix("medficientsam-"), False)
    model = BaseSAM(student.image_encoder, teacher.mask_decoder, teacher.prompt_encoder)
    make_ready(model, 512, work)
    encoder = EncoderOnnxModel(model.image_encoder, preprocess_image=False)
    decoder = DecoderOnnxModel(model.mask_decoder, model.prompt_encoder, 512)
    parts = {
        "encoder": (encoder, (torch.rand(512, 512, 3),)),
        "decoder": (decoder, (torch.rand(1, 256, 64, 64), torch.rand(4))),
    }
    for name, (module, inputs) in parts.items():
        onnx = work / f"{name}.onnx"
        names = ["image"] if name == "encoder" else ["image_embeddings", "boxes"]
        torch.onnx.export(
            module.eval(), inputs, str(onnx), opset_version=17, dynamo=False, input_names=names
        )
        openvino.save_model(
            openvino.convert_model(onnx), onnx.with_suffix(".xml"), compress_to_fp16=False
        )
    line = [
        program,
        work / "encoder.xml",
        work / "decoder.xml",
        work / "cache",
        work / "cases",
        work / "masks",
    ]
    run_binary(line, work)
