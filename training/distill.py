"""A teacher's image embeddings into the light encoder: stage one of LiteMedSAM (Ma et al., MedSAM
repository) and MedficientSAM (Le et al., 2024).

The teacher is any bundle, so also a published checkpoint that was made into one; it runs through
``inference`` and sees every picture in its own frame.  Its embedding is read at the centres of the
student's cells, whatever its size.  A 1 x 1 convolution turns the student's channels into the
teacher's and is thrown away afterwards.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

import inference
from inference.decoder import Embedding
from inference.model import Model
from inference.preprocess import Frame, encoder_input
from inference.rules import Normalisation
from training.checkpoint import load_state, save_state
from training.devices import Place, place_of
from training.errors import TrainingError
from training.finetune import start_with
from training.model import PromptedSegmenter
from training.optimisation import Run, Weights
from training.recipe import DistillConfig, ModelConfig, region_of
from training.samples import SampleSet
from training.store import read_store

log = logging.getLogger(__name__)


def teacher_embedding(
    teacher: Model, picture: NDArray[np.uint8], model: ModelConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The teacher's embedding (C, g, g) on the student's grid, g = input_size / 4, and which of its
    cells (g, g) lie in the picture (1) and not in the padding (0)."""
    embedded = teacher.embed(picture)
    own = Frame.fit(picture.shape[0], picture.shape[1], model.input_size, "longest-side")
    g = model.input_size // 4
    cells = (np.arange(g) + 0.5) * 4  # centres, student-input pixels
    x, y = cells * own.width / own.columns, cells * own.height / own.rows  # picture pixels
    frame = embedded.frame
    u = x * frame.columns / frame.width * 2 / frame.side - 1
    v = y * frame.rows / frame.height * 2 / frame.side - 1
    grid = np.stack(np.meshgrid(u, v), -1)[None].astype(np.float32)
    values = functional.grid_sample(
        torch.from_numpy(first_tensor(embedded)), torch.from_numpy(grid), align_corners=False,
        padding_mode="border",
    )[0]  # fmt: skip
    inside = np.outer(cells < own.rows, cells < own.columns).astype(np.float32)
    return values.numpy(), inside


def first_tensor(embedded: Embedding) -> NDArray[np.float32]:
    """What a teacher's encoder gave, (1, C, h, w); the first where it gave several.

    Exported SAM encoders give their channels last.
    """
    values = next(iter(embedded.tensors.values()))
    return values if values.shape[2] == values.shape[3] else np.moveaxis(values, 3, 1)


class Distiller(nn.Module):
    """Student, adapter, and their distance from the teacher."""

    def __init__(self, student: PromptedSegmenter, channels: int, distance: str) -> None:
        super().__init__()
        self.student, self.distance = student, distance
        self.adapter = nn.Conv2d(student.config.embedding_channels, channels, 1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean over cells inside pictures: squared error over channels, or 1 - cosine."""
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        found = self.adapter(self.student.encoder(images)).float()
        wanted, inside = batch["embedding"], batch["inside"]
        if self.distance == "cosine":
            cells = 1 - functional.cosine_similarity(found, wanted, dim=1)
        else:
            cells = (found - wanted).square().mean(1)
        return (cells * inside).sum() / inside.sum()


class DistillTask:
    """Embeddings of training pictures."""

    def __init__(self, store_dir: Path, teacher: Path, config: DistillConfig) -> None:
        self.store_dir, self.config = store_dir, config
        self.teacher = inference.load(
            teacher, precision="f32", threads=config.device.threads
        ).model()
        probe = first_tensor(self.teacher.embed(np.zeros((8, 8, 3), np.uint8)))
        student = PromptedSegmenter(config.model)
        student.encoder.freeze(config.frozen_blocks)
        student.decoder.requires_grad_(False)
        self.model = Distiller(student, int(probe.shape[1]), config.distance)

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """The encoder and the adapter; the decoder is not touched."""
        learning = [*self.model.student.encoder.parameters(), *self.model.adapter.parameters()]
        return [(learning, self.config.rate)]

    def batches(self, steps: range, place: Place) -> Iterator[dict[str, Tensor]]:
        """Pictures as ``finetune`` draws them, with what the teacher says of them.

        Drawn here and not in workers: the teacher is the slow part and has the engine's threads.
        """
        config = self.config
        cases = read_store(self.store_dir, "train")
        samples = SampleSet(
            cases, config.model.input_size, region_of(config.model), 1, config.seed, config.samples
        )
        n = config.images_per_step
        for step in steps:
            indices = range(step * n + place.rank, (step + 1) * n, place.world)
            yield default_collate([self.pair(samples, index) for index in indices])

    def pair(self, samples: SampleSet, index: int) -> dict[str, NDArray[np.float32]]:
        """Picture ``index`` for both: the student's input, the teacher's embedding."""
        rng = np.random.default_rng([samples.seed, index])
        for _ in range(200):
            case = samples.cases[rng.choice(len(samples.cases), p=samples.weights)]
            drawn = samples.draw_picture(case, rng)
            if drawn is not None:
                break
        else:
            raise TrainingError("store: expected pictures with objects, found none in 200 cases")
        picture = np.rint(samples.changed(drawn[0], case, rng)).astype(np.uint8)
        model = self.config.model
        frame = Frame.fit(picture.shape[0], picture.shape[1], model.input_size, "longest-side")
        embedding, inside = teacher_embedding(self.teacher, picture, model)
        image = encoder_input(picture, frame, Normalisation())[0]
        return {"images": image, "embedding": embedding, "inside": inside}

    def validate(self, step: int, average: Weights) -> dict[str, Any] | None:
        """A distilled encoder has no masks to validate yet."""
        return None


def distill(
    store_dir: Path,
    teacher: Path,
    run_dir: Path,
    config: DistillConfig,
    warm_start: Path | None = None,
    start_from: Path | None = None,
) -> Path:
    """Run or go on with a distillation; returns ``student.pt``, which ``finetune --start-from``
    takes: the distilled encoder and a decoder that has learnt nothing yet."""
    with place_of(config.device) as place:
        torch.manual_seed(config.seed)
        task = DistillTask(store_dir, teacher, config)
        if not (run_dir / "last.pt").exists():
            if warm_start is not None:
                task.model.student.encoder.load_mobilenet(warm_start)
            if start_from is not None:
                start_with(task.model.student, start_from)
        last = Run(task, config, place, run_dir).finish()
        student = run_dir / "student.pt"
        if place.is_first:
            state = load_state(last)
            prefix = "student."
            weights = {
                k.removeprefix(prefix): v
                for k, v in state["average"].items()
                if k.startswith(prefix)
            }
            save_state({"average": weights, "step": state["step"]}, student)
        return student
