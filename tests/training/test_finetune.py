"""A run: its loss, its rates, and that it goes on where it stopped."""

import json

import pytest


@pytest.fixture
def finetune():
    pytest.importorskip("torch")
    from training import finetune

    return finetune


def test_the_rate_warms_up_and_comes_down_to_a_hundredth(finetune):
    config = finetune.FinetuneConfig(steps=1000, warmup_steps=100)
    assert finetune.rate_at(0, config) == 0.01
    assert finetune.rate_at(99, config) == 1
    assert finetune.rate_at(550, config) == pytest.approx(0.505)
    assert finetune.rate_at(1000, config) == pytest.approx(0.01)


def test_the_loss_of_a_sure_answer_is_nothing_if_right_and_large_if_wrong(finetune):
    import torch

    target = torch.zeros(2, 8, 8)
    target[:, 2:6, 2:6] = 1
    right = finetune.mask_loss((target * 2 - 1) * 20, target)
    wrong = finetune.mask_loss((1 - target * 2) * 20, target)
    assert right < 1e-4 and wrong > 10


def test_a_run_trains_and_goes_on_where_it_stopped(finetune, store, tmp_path):
    import torch

    def run(steps):
        config = finetune.FinetuneConfig(
            steps=steps, images_per_step=1, regions_per_image=1, workers=0, threads=1
        )
        return torch.load(finetune.finetune(store, tmp_path / "run", config, None))

    first = run(1)
    assert first["step"] == 1
    second = run(2)
    assert second["step"] == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 2
    name = "decoder.head.weight"
    assert not torch.equal(first["model"][name], second["model"][name])
    assert torch.equal(
        first["model"]["encoder.stem.weight"], second["model"]["encoder.stem.weight"]
    )
