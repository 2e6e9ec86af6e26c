"""Run one published system on cases, unchanged, with random weights: the other side of
published_agreement.py, which starts this in a process of its own.

A checkout's own modules are built and its own program is run.  What the programs import and do not
need (drawing, tables, torchvision, timm's registry) is stood in for.  Where a program loads its
checkpoint, the model is given random weights instead, batch-norm statistics included, and these are
saved as the checkpoint that we export.
"""

import argparse
import hashlib
import importlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from torch import nn

SEED = 2024

Prepare = Callable[[torch.Tensor], torch.Tensor]
"""Pixels 0..255 to what an encoder takes."""


def main() -> None:
    """SYSTEM CHECKOUT WORK [--program BINARY]; cases in WORK/cases, masks into WORK/masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=sorted(PROGRAMS))
    parser.add_argument("checkout", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--program", type=Path, help="built from the checkout's cpp/")
    args = parser.parse_args()
    stand_in()
    torch.manual_seed(SEED)
    sys.path.insert(0, str(args.checkout))
    (args.work / "masks").mkdir(exist_ok=True)
    with torch.no_grad():
        PROGRAMS[args.system](args.system, args.checkout, args.work, args.program)


# --- weights and probes -------------------------------------------------------------------------


def randomise(model: nn.Module) -> None:
    """Random norms and biases; what PyTorch's initialisation made random stays."""
    random = torch.Generator().manual_seed(SEED)
    for name, value in model.named_parameters():
        if value.ndim == 1:
            noise = torch.randn(value.shape, generator=random) * 0.1
            value.data.copy_(noise + 1 if name.endswith("weight") else noise)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=random) * 0.2)
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=random) + 0.5)


def centre(model: Any, side: int, work: Path, prepare: Prepare = lambda x: x / 255) -> None:
    """Shift the bias that makes the mask (token 0) until half of its pixels are above 0.

    Else a random model's mask is nearly all or nothing, and an easy test.  The median is that of
    four of the cases, stretched to the input's size.
    """
    decoder = model.mask_decoder
    model.prompt_encoder.input_image_size = (side, side)
    kept: list[torch.Tensor] = []
    hook = decoder.output_upscaling.register_forward_hook(lambda _, __, out: kept.append(out))
    paths = sorted((work / "cases").glob("*.npz"))
    answers = []
    for path in paths[:: max(1, len(paths) // 4)][:4]:
        image, box = stretched(path, side)
        answers.append(answer(model, model.image_encoder(prepare(image)), box).flatten())
    hook.remove()
    if not answers:
        return
    channels = torch.cat([out[0].flatten(1) for out in kept], 1)  # (32, pixels)
    mean = channels.mean(1)
    along = (mean @ channels) / (mean @ mean)
    shift = (torch.cat(answers) / along).median()
    decoder.output_hypernetworks_mlps[0].layers[-1].bias.data -= shift * mean / (mean @ mean)


def stretched(path: Path, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture or middle slice (1, 3, side, side), 0..255, and its first box (1, 4)."""
    with np.load(path) as case:
        image, box = case["imgs"], case["boxes"][0]
    if len(box) == 6:
        image, box = np.stack([image[len(image) // 2]] * 3, 2), box[[0, 1, 3, 4]]
    height, width = image.shape[:2]
    pixels = torch.tensor(image).float().permute(2, 0, 1)[None]
    resized = nn.functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    corners = box / np.array([width, height, width, height]) * side
    return resized, torch.tensor(corners[None]).float()


def answer(model: Any, embedding: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """Logits (1, 256, 256) of the published modules."""
    return decode(model, embedding, model.prompt_encoder(points=None, boxes=box, masks=None))


def decode(
    model: Any, embedding: torch.Tensor, prompts: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Logits (1, 256, 256) of the published decoder."""
    logits, _ = model.mask_decoder(
        image_embeddings=embedding,
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=prompts[0],
        dense_prompt_embeddings=prompts[1],
        multimask_output=False,
    )
    return logits[:, 0]


def remember(model: Any) -> None:
    """Keep the embeddings of inputs that a program encodes again for every box: the same numbers,
    in less time."""
    encode, kept = model.image_encoder.forward, {}

    def forward(image: torch.Tensor) -> torch.Tensor:
        key = hashlib.sha256(image.contiguous().numpy().tobytes()).digest()
        if key not in kept:
            while len(kept) >= 8:
                kept.pop(next(iter(kept)))
            kept[key] = encode(image)
        return kept[key].clone()

    model.image_encoder.forward = forward


def probe(model: Any, side: int, work: Path) -> None:
    """Save one input and what the published encoder and decoder make of it."""
    random = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, side, side, generator=random)
    box = torch.tensor([[0.21, 0.33, 0.62, 0.71]]) * side
    embedding = model.image_encoder(image)
    model.prompt_encoder.input_image_size = (side, side)
    logits = answer(model, embedding, box)
    arrays = {"image": image, "boxes": box, "embedding": embedding, "logits": logits}
    np.savez(work / "probe.npz", **{key: value.numpy() for key, value in arrays.items()})


# --- stand-ins ----------------------------------------------------------------------------------


STAND_INS = (
    *("torchvision", "timm", "matplotlib", "pandas", "monai", "wandb", "hydra", "rootutils"),
    "omegaconf",
)
"""Packages that the programs import without need; each of their modules has every name."""


TRAINING = "src.models.efficientvit.apps"
"""MedficientSAM's copy of EfficientViT's training code, which its networks import."""


class Idle:
    """An object that does nothing, and a class to inherit from."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return MagicMock(name=name)


class StandIn(ModuleType):
    """A module in which everything exists and does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Idle,), {}) if name[0].isupper() else MagicMock(name=name)


class StandInFinder(MetaPathFinder, Loader):
    """Imports :data:`STAND_INS` and everything below them."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        if fullname.split(".")[0] not in STAND_INS and not fullname.startswith(TRAINING):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See :class:`importlib.abc.Loader`."""
        module = StandIn(spec.name)
        if spec.name.startswith("timm"):
            vars(module).update(timm_parts())
        if spec.name == "matplotlib.pyplot":
            module.subplots = lambda *_, **__: (MagicMock(), [MagicMock(), MagicMock()])  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """See :class:`importlib.abc.Loader`."""


def stand_in() -> None:
    """Take the place of those packages whether they are installed or not."""
    sys.meta_path.insert(0, StandInFinder())
    importlib.import_module("matplotlib.pyplot")  # else the package makes an attribute of it up


def timm_parts() -> dict[str, Any]:
    """The few names of timm that the networks are built of; DropPath does nothing here."""

    class Excite(nn.Module):
        def __init__(self, channels: int, ratio: float = 0.25) -> None:
            super().__init__()
            reduced = max(8, int(channels * ratio + 4) // 8 * 8)
            reduced += 8 if reduced < 0.9 * channels * ratio else 0
            self.fc1, self.fc2 = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            s = torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))
            return x * torch.sigmoid(self.fc2(s))

    class DropPath(nn.Module):
        def __init__(self, drop_prob: float = 0.0, **_: Any) -> None:
            super().__init__()
            self.drop_prob = drop_prob

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    register: Callable[[Any], Any] = lambda f: f  # noqa: E731
    return {
        "DropPath": DropPath,
        "SqueezeExcite": Excite,
        "to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x),
        "trunc_normal_": nn.init.trunc_normal_,
        "register_model": register,
    }


# --- programs in Python -------------------------------------------------------------------------


def challenge_script(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """The organisers' program and its descendants: everything happens in one script."""
    checkpoint = work / "checkpoint.pth"

    def fill(model: nn.Module, *_: Any, **__: Any) -> None:
        randomise(model)
        model.eval()
        centre(model, 256, work)
        torch.save(model.state_dict(), checkpoint)
        probe(model, 256, work)
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
    randomise(model)
    model.eval()
    centre(model, 1024, work, model.preprocess)
    torch.save(model.state_dict(), work / "checkpoint.pth")
    probe(model, 1024, work)
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
    randomise(model)
    model.eval()
    centre(model, 1024, work)
    torch.save(model.state_dict(), checkpoint)
    probe(model, 1024, work)
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


def swin_script(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """Swin-LiteMedSAM, whose prompts are drawn at random."""
    from published_swin import run_swin

    run_swin(checkout, work, randomise)


# --- programs in C++ ----------------------------------------------------------------------------


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
    randomise(model)
    model.eval()
    centre(model, 512, work)
    torch.save(model.state_dict(), work / "checkpoint.pth")
    probe(model, 512, work)
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


def daft_model(work: Path) -> Any:
    """DAFT's network with random weights (EfficientViT's package as the first place vendors it),
    exported as its export_onnx.py does, for every expert the same."""
    import openvino
    from src.models.efficientvit.sam_model_zoo import create_sam_model

    model = create_sam_model("l0", False)
    randomise(model)
    model.eval()
    centre(model, 256, work)  # sets the prompt encoder's input size too
    torch.save(model.state_dict(), work / "checkpoint.pth")
    probe(model, 256, work)
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


def run_binary(line: list[Path | None], work: Path) -> None:
    """Run a program built from a checkout; OpenVINO's libraries are those of its wheel."""
    import openvino

    if line[0] is None:
        raise SystemExit("--program: expected the binary built from the checkout's cpp/")
    libraries = Path(openvino.__file__).parent / "libs"
    shutil.rmtree(work / "cache", ignore_errors=True)
    subprocess.run(
        [str(part) for part in line], check=True, cwd=work,
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
    )  # fmt: skip


PROGRAMS: dict[str, Callable[[str, Path, Path, Path | None], None]] = {
    "litemedsam": challenge_script,
    "repmedsam": challenge_script,
    "swin-litemedsam": swin_script,
    "medsam": medsam_script,
    "sam-vit-b": sam_predictor,
    "mobilesam": sam_predictor,
    "medficientsam-l0": medficient_program,
    "medficientsam-l1": medficient_program,
    "medficientsam-l2": medficient_program,
    "daft-2024": daft_script,
    "daft": daft_binary,
}


if __name__ == "__main__":
    main()
