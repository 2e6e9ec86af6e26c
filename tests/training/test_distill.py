"""A teacher's embedding on the student's grid, and a student that comes nearer to it."""

from dataclasses import replace

import numpy as np
import pytest

from inference.segment import Segmenter
from tests.inference.builders import FakeEngine, bundle_of, spec_of
from tests.training.conftest import TINY
from training.recipe import DeviceConfig, DistillConfig, FinetuneConfig, ModelConfig

SHORT = DistillConfig(
    steps=6, images_per_step=2, warmup_steps=1, checkpoint_every=2, log_every=1, rate=3e-3,
    model=ModelConfig(**TINY), device=DeviceConfig(device="cpu", threads=1, workers=0),
)  # fmt: skip


@pytest.fixture
def fake_engine(monkeypatch):
    """A teacher whose embedding is its picture's second channel, as large as its input."""
    engine = FakeEngine()
    monkeypatch.setattr("inference.model.compile_graph", engine.compile_graph)
    return engine


@pytest.mark.parametrize("resize", ["longest-side", "stretch"])
@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("shape", [(40, 80, 3), (90, 60, 3)])
def test_the_teacher_is_read_where_the_students_cells_lie(fake_engine, resize, side, shape):
    from training.distill import teacher_embedding

    picture = np.zeros(shape, np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture[..., 1] = 2 * x + y  # a ramp: bilinear reading gives its value at any place
    teacher = Segmenter(bundle_of(spec_of(side, resize=resize))).model()
    values, inside = teacher_embedding(teacher, picture, ModelConfig(**TINY))
    assert values.shape == (1, 16, 16) and inside.shape == (16, 16)
    scale = max(shape) / 64
    rows, columns = round(shape[0] / scale), round(shape[1] / scale)
    cells = (np.arange(16) + 0.5) * 4
    assert np.array_equal(inside, np.outer(cells < rows, cells < columns))
    wanted = 2 * (cells[None, :] * scale - 0.5) + cells[:, None] * scale - 0.5
    away = slice(3, -3)  # off the borders, where the ramp is cut
    middle = inside.astype(bool)
    middle[:3], middle[:, :3] = False, False
    middle[max(0, rows // 4 - 3) :], middle[:, max(0, columns // 4 - 3) :] = False, False
    assert middle[away, away].any()
    np.testing.assert_allclose(values[0][middle], wanted[middle], atol=3)


def test_padding_counts_for_nothing():
    import torch

    from training.distill import Distiller
    from training.model import PromptedSegmenter

    torch.manual_seed(0)
    student = PromptedSegmenter(ModelConfig(**TINY)).eval()
    images = torch.rand(1, 3, 64, 64) * 255
    inside = torch.zeros(1, 16, 16)
    inside[:, :8] = 1
    for distance in ("mse", "cosine"):
        model = Distiller(student, 5, distance).eval()
        with torch.no_grad():
            own = model.adapter(student.encoder(images))
            far = own.clone()
            far[:, :, 8:] += 100
            batch = {"images": images, "embedding": far, "inside": inside}
            assert float(model(batch)) == pytest.approx(0, abs=1e-5)
            assert float(model({**batch, "inside": 1 - inside})) > 0.01


def test_a_student_comes_nearer_and_finetune_starts_from_it(full_store, fake_engine, tmp_path):
    import json

    import torch

    from training import distill
    from training.finetune import finetune
    from training.model import PromptedSegmenter

    folder = tmp_path / "teacher"
    segmenter = Segmenter(bundle_of(spec_of(32)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.distill.inference.load", lambda *a, **k: segmenter)
        student = distill.distill(full_store, folder, tmp_path / "run", SHORT)
        half = replace(SHORT, steps=2)
        distill.distill(full_store, folder, tmp_path / "again", half)
        # the schedule of a run belongs to its number of steps: nothing to compare but going on
        distill.distill(full_store, folder, tmp_path / "again", half)
    log = [json.loads(x)["loss"] for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 6 and log[-1] < log[0]
    state = torch.load(student, weights_only=True)
    assert set(state["average"]) == set(PromptedSegmenter(SHORT.model).state_dict())
    config = FinetuneConfig(
        steps=1, images_per_step=1, regions_per_image=1, model=SHORT.model, device=SHORT.device,
        encoder_rate=0.0, decoder_rate=0.0,
    )  # fmt: skip
    tuned = torch.load(finetune(full_store, tmp_path / "t", config, start_from=student))
    name = "encoder.blocks.0.project.weight"
    torch.testing.assert_close(tuned["model"][name], state["average"][name])


def test_a_missing_teacher_is_named(full_store, tmp_path, capsys):
    from training.__main__ import main

    words = ["--store", full_store, "--teacher", tmp_path / "none", "--run", tmp_path / "run"]
    assert main(["distill", *map(str, words)]) == 1
    assert "none/bundle.json: expected a model bundle" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 3, 5, 5), (1, 5, 5, 3)])
def test_a_teacher_that_gives_its_channels_last_is_read_as_one_that_gives_them_first(shape):
    from inference.decoder import Embedding
    from training.distill import first_tensor

    values = np.random.default_rng(0).random(shape, np.float32)
    found = first_tensor(Embedding(None, {"embedding": values, "deep": values * 0}, None))
    first = values if shape[1] == 3 else values.transpose(0, 3, 1, 2)
    assert found.shape == (1, 3, 5, 5) and np.array_equal(found, first)


def test_pictures_are_spoilt_as_finetune_spoils_them(full_store, fake_engine, tmp_path):
    from training.distill import DistillTask

    teacher = Segmenter(bundle_of(spec_of(64))).model()
    images = []
    for share in (0.0, 1.0):
        config = replace(SHORT, samples=replace(SHORT.samples, corruption=share))
        from training.recipe import region_of
        from training.samples import SampleSet
        from training.store import read_store

        samples = SampleSet(
            read_store(full_store, "train"), 64, region_of(config.model), 1, 3, config.samples
        )
        task = DistillTask.__new__(DistillTask)
        task.config, task.teacher = config, teacher
        images.append(task.pair(samples, 0)["images"])
    assert not np.array_equal(*images)
