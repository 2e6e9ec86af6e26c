"""Random weights that make a fair test, and what the published modules make of them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

SEED = 2024

Prepare = Callable[[torch.Tensor], torch.Tensor]
"""Pixels 0..255 to what an encoder takes."""


def make_ready(model: Any, side: int, work: Path, prepare: Prepare = lambda x: x / 255) -> None:
    """Random weights that make a fair test, saved as ``checkpoint.pth``, and a probe of them."""
    randomise(model)
    model.eval()
    centre(model, side, work, prepare)
    torch.save(model.state_dict(), work / "checkpoint.pth")
    probe(model, side, work)


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
    encode = remembering(model.image_encoder.forward)
    model.image_encoder.forward = lambda image: encode(image).clone()


def remembering(encode: Callable[[torch.Tensor], Any], most: int = 8) -> Callable[..., Any]:
    """``encode`` that keeps what it answered of the last pictures."""
    kept: dict[bytes, Any] = {}

    def remembered(image: torch.Tensor) -> Any:
        key = hashlib.sha256(image.contiguous().numpy().tobytes()).digest()
        if key not in kept:
            if len(kept) == most:
                kept.pop(next(iter(kept)))
            kept[key] = encode(image)
        return kept[key]

    return remembered


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
