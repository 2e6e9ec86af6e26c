"""Run Swin-LiteMedSAM's published program on cases: as released, its prompts drawn at random.

The program seeds NumPy and torch once and then draws for every box.  The challenge ran one case a
container, so here both generators are put back before every case to where they were when the
program had built its network.  NumPy 2.4 no longer takes an array of one number for a number, as
the program does: ``randint`` hands out the number itself.
"""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from published.weights import randomise, remembering

CENTRED_ON = 2
"""Cases on which the random mask is made to cover about half."""

KEPT = 6
"""Embeddings that are kept, so that a slice is encoded once for all boxes: the same numbers, in
less time."""


def swin_script(system: str, checkout: Path, work: Path, _: Path | None) -> None:
    """Random weights into ``work/checkpoint.pth``, masks of ``work/cases`` into ``work/masks``."""
    models: list[Any] = []
    script = checkout / "infer.py"
    sys.argv = [str(script), "-i", str(work / "cases"), "-o", str(work / "masks")]
    with (
        patch.object(torch, "load", lambda *_, **__: {}),
        patch.object(nn.Module, "load_state_dict", lambda model, *_, **__: models.append(model)),
        patch.object(np.random, "randint", _number(np.random.randint)),
    ):
        program = runpy.run_path(str(script), run_name="published")
        numbers, permutations = np.random.get_state(), torch.get_rng_state()
        model = models[0]
        randomise(model)
        paths = sorted((work / "cases").glob("*.npz"))
        centre(model, program, [p for p in paths if p.name.startswith("2D")][:CENTRED_ON])
        torch.save(model.state_dict(), work / "checkpoint.pth")
        probe(model, work)
        model.image_encoder.forward = remembering(model.image_encoder.forward, KEPT)
        for path in paths:
            np.random.set_state(numbers)
            torch.set_rng_state(permutations)
            name = "MedSAM_infer_npz_3D" if path.name.startswith("3D") else "MedSAM_infer_npz_2D"
            program[name](str(path))


def _number(randint: Callable[..., Any]) -> Callable[..., Any]:
    """``randint`` that gives a number where one number in an array was asked for."""
    return lambda *args: np.int64(randint(*args[:2])) if args[2:] == ((1,),) else randint(*args)


def centre(model: Any, program: dict[str, Any], paths: list[Path]) -> None:
    """Shift the bias that makes the mask until half of its pixels are above 0; else a random
    model's mask is nearly all or nothing, and an easy test."""
    channels: list[torch.Tensor] = []
    decoder = model.mask_decoder
    hook = decoder.output_upscaling2.register_forward_hook(lambda *a: channels.append(a[2]))
    answers = []
    for path in paths:
        picture = program["pad_image"](program["resize_longest_side"](np.load(path)["imgs"])) / 255
        image = torch.tensor(picture).float().permute(2, 0, 1)[None]
        embedding, stages = model.image_encoder(image)
        answers.append(answer(model, embedding, stages, *prompts()).flatten())
    hook.remove()
    if answers:
        found = torch.cat([part[0].flatten(1) for part in channels], 1)  # (32, pixels)
        mean = found.mean(1)
        shift = (torch.cat(answers) * (mean @ mean) / (mean @ found)).median()
        decoder.output_hypernetworks_mlps[0].layers[-1].bias.data -= shift * mean / (mean @ mean)


def prompts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A box (1, 4), points (1, 4, 2) and strokes (1, 1, 256, 256)."""
    box = torch.tensor([[54.0, 84.0, 159.0, 182.0]])
    points = torch.tensor([[[70.0, 100], [75, 170], [140, 160], [130, 95]]])
    strokes = torch.zeros(1, 1, 256, 256)
    strokes[..., 120:124, 80:140] = 1
    return box, points, strokes


def answer(
    model: Any,
    embedding: torch.Tensor,
    stages: list[torch.Tensor],
    box: torch.Tensor,
    points: torch.Tensor,
    strokes: torch.Tensor,
) -> torch.Tensor:
    """Logits (1, 256, 256) of the published modules."""
    labels = torch.ones(points.shape[:2]).long()
    sparse, dense = model.prompt_encoder(
        points=(points, labels), boxes=box, masks=strokes, tokens=None
    )
    logits, _ = model.mask_decoder(
        stages,
        image_embeddings=embedding,
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return logits[:, 0]


def probe(model: Any, work: Path) -> None:
    """Save one input and what the published modules make of it: each up-scaling step's first layer
    of the stages' channels alone is what our encoder gives as ``deep`` and ``shallow``."""
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    embedding, stages = model.image_encoder(image)
    decoder = model.mask_decoder
    deep = decoder.neck(torch.cat(stages[1:], dim=1))
    box, points, strokes = prompts()
    arrays = {
        "image": image,
        "embedding": embedding,
        "deep": decoder.output_upscaling1[0](torch.cat([deep * 0, deep], dim=1)),
        "shallow": decoder.output_upscaling2[0](torch.cat([stages[0] * 0, stages[0]], dim=1)),
        "boxes": box,
        "points": points,
        "strokes": strokes,
        "logits": answer(model, embedding, stages, box, points, strokes),
    }
    np.savez(work / "probe.npz", **{key: value.numpy() for key, value in arrays.items()})
