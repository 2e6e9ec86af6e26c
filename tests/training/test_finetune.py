"""A run: its rates, that it goes on exactly where it stopped, and what it leaves in its folder."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import TINY
from training.errors import CheckpointError, ConfigError
from training.recipe import DeviceConfig, FinetuneConfig, ModelConfig, SampleConfig

ROOT = Path(__file__).resolve().parents[2]

SHORT = FinetuneConfig(
    steps=4,
    images_per_step=2,
    regions_per_image=1,
    warmup_steps=2,
    log_every=2,
    checkpoint_every=2,
    encoder_rate=1e-3,
    model=ModelConfig(**TINY),
    device=DeviceConfig(device="cpu", threads=1, workers=0),
)


def run(store, folder, config=SHORT, **options):
    import torch

    from training.finetune import finetune

    return torch.load(finetune(store, folder, config, **options), weights_only=True)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(first, second, part):
    import torch

    return all(torch.equal(v, second[part][k]) for k, v in first[part].items())


def test_the_rate_warms_up_and_comes_down_to_a_hundredth():
    from training.optimisation import rate_at

    config = FinetuneConfig(steps=1000, warmup_steps=100)
    assert rate_at(0, config) == 0.01
    assert rate_at(99, config) == 1
    assert rate_at(550, config) == pytest.approx(0.505)
    assert rate_at(1000, config) == pytest.approx(0.01)


@pytest.fixture(scope="module")
def whole(full_store, tmp_path_factory):
    """A run without interruption, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(full_store, folder), folder


def stopped_at(store, folder, step, monkeypatch, config=SHORT):
    """A run that ends as by a power cut after ``step`` steps."""
    from training.optimisation import Run

    advance = Run.advance

    def cut(self, spread, batch, number):
        if number == step:
            raise KeyboardInterrupt
        return advance(self, spread, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "advance", cut)
        with pytest.raises(KeyboardInterrupt):
            run(store, folder, config)


@pytest.mark.parametrize("step", [2, 3])
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    whole, full_store, tmp_path, step, monkeypatch
):
    stopped_at(full_store, tmp_path, step, monkeypatch)  # at 3, the third step is done again
    gone_on = run(full_store, tmp_path)
    state, folder = whole
    assert gone_on["step"] == state["step"] == 4
    assert same(state, gone_on, "model") and same(state, gone_on, "average")
    first, second = ([(x["step"], x["loss"]) for x in log_of(f)] for f in (folder, tmp_path))
    assert first == second


def test_workers_change_nothing(whole, full_store, tmp_path):
    config = replace(SHORT, device=replace(SHORT.device, workers=1))
    assert same(whole[0], run(full_store, tmp_path, config), "model")


def test_another_seed_gives_other_weights(whole, full_store, tmp_path):
    assert not same(whole[0], run(full_store, tmp_path, replace(SHORT, seed=2)), "model")


def test_the_folder_says_how_the_run_was_made(whole):
    from training.configuration import read_config

    folder = whole[1]
    assert read_config(FinetuneConfig, folder / "config.toml") == SHORT
    lines = log_of(folder)
    assert [line["step"] for line in lines] == [2, 4]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert not list(folder.glob("*.partial"))


def test_the_frozen_part_stays_and_the_rest_learns(whole):
    import torch

    from training.model import PromptedSegmenter

    torch.manual_seed(SHORT.seed)
    fresh = PromptedSegmenter(SHORT.model).state_dict()
    trained = whole[0]["model"]
    assert torch.equal(fresh["encoder.stem.weight"], trained["encoder.stem.weight"])
    name = "encoder.blocks.10.project.weight"
    assert not torch.equal(fresh[name], trained[name])
    assert not torch.equal(fresh["decoder.head.weight"], trained["decoder.head.weight"])


def test_a_warm_restart_begins_with_the_averaged_weights_at_step_zero(whole, full_store, tmp_path):
    import torch

    still = replace(SHORT, steps=1, encoder_rate=0.0, decoder_rate=0.0, seed=9)
    state, folder = whole
    restarted = run(full_store, tmp_path, still, start_from=folder / "last.pt")
    assert restarted["step"] == 1
    for name, value in restarted["model"].items():
        if "running_" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, state["average"][name], msg=name)


def test_a_warm_restart_may_add_an_iou_head(whole, full_store, tmp_path):
    config = replace(SHORT, steps=1, model=ModelConfig(**TINY, iou_head=True))
    found = run(full_store, tmp_path, config, start_from=whole[1] / "last.pt")
    assert "decoder.iou_head.0.weight" in found["model"]
    assert not any("iou_head" in name for name in whole[0]["model"])


def test_a_checkpoint_of_another_network_is_refused(whole, full_store, tmp_path):
    config = replace(SHORT, model=ModelConfig(**TINY, stem=16))
    with pytest.raises(CheckpointError, match=r"last\.pt: expected this network, found: Error"):
        run(full_store, tmp_path, config, start_from=whole[1] / "last.pt")


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_what_is_no_checkpoint_is_named(full_store, tmp_path, content):
    if content is not None:
        (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pt: expected a checkpoint, found"):
        run(full_store, tmp_path / "run", start_from=tmp_path / "x.pt")


def test_two_starts_are_one_too_many(full_store, tmp_path):
    with pytest.raises(ConfigError, match="expected at most one, found both"):
        run(full_store, tmp_path, start_from=tmp_path / "a", warm_start=tmp_path / "b")


def test_validation_goes_through_exported_graphs_and_keeps_the_best(
    full_store, tmp_path, monkeypatch
):
    pytest.importorskip("onnx")
    import torch

    from training import validate

    seen, given = [], iter([0.5, 0.9, 0.7])

    def scored(bundle, cases):
        assert {p.suffix for p in bundle.iterdir()} == {".onnx", ".json"}
        seen.append([case.info.split for case in cases])
        score = next(given)
        return {"2D": score, "score": score}

    monkeypatch.setattr(validate, "mean_scores", scored)
    config = replace(SHORT, steps=3, validate_every=1, validate_cases=1)
    last = run(full_store, tmp_path, config)
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert (best["step"], best["score"]) == (2, 0.9)
    assert not same(best, last, "average")
    assert seen == [["val", "val"]] * 3  # one case of each of 2D and 3D
    lines = log_of(tmp_path)
    assert [x["validation"]["2D"] for x in lines if "validation" in x] == [0.5, 0.9, 0.7]


def test_mean_scores_are_those_of_the_bundle(full_store, tmp_path):
    pytest.importorskip("onnx")
    import torch

    from training.export import write_bundle
    from training.model import PromptedSegmenter
    from training.recipe import ExportConfig
    from training.store import read_store
    from training.validate import mean_scores

    torch.manual_seed(0)
    weights = PromptedSegmenter(SHORT.model).state_dict()
    weights["decoder.head.bias"].fill_(1e4)  # everything inside the box
    write_bundle(weights, SHORT.model, tmp_path / "b", ExportConfig(tolerance=1.0))
    cases = read_store(full_store, "val")
    found = mean_scores(tmp_path / "b", cases)
    assert set(found) == {"2D", "3D", "score"}
    assert found["score"] == pytest.approx((found["2D"] + found["3D"]) / 2)
    assert found["2D"] == pytest.approx(2 / (1 + 4 / np.pi), abs=0.02)  # a square over its disk


def test_few_cases_are_of_many_sources(full_store):
    from training.finetune import some_cases
    from training.store import read_store

    cases = read_store(full_store, "val")
    cases[2] = replace(cases[2], info=replace(cases[2].info, source="other"))
    chosen = some_cases(cases, replace(SHORT, validate_cases=2))
    assert [c.info.source for c in chosen if c.info.dims == "2D"] == ["toy", "other"]
    only = replace(SHORT, validate_cases=2, samples=SampleConfig(modalities=("CT",)))
    assert {c.info.modality for c in some_cases(cases, only)} == {"CT"}


def test_mixed_precision_trains_and_keeps_float32_weights(full_store, tmp_path):
    config = replace(SHORT, steps=2, device=replace(SHORT.device, precision="bf16"))
    state = run(full_store, tmp_path, config)
    assert {str(v.dtype) for v in state["model"].values()} <= {"torch.float32", "torch.int64"}
    assert np.isfinite(log_of(tmp_path)[-1]["loss"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "cpu", "precision": "fp16"}, "expected f32 or bf16 on a CPU, found fp16"),
        ({"device": "cuda"}, "expected cpu or a GPU that torch finds, found cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused(full_store, tmp_path, values, message):
    import torch

    if "precision" not in values and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    config = replace(SHORT, device=DeviceConfig(**values, threads=1, workers=0))
    with pytest.raises(ConfigError, match=message):
        run(full_store, tmp_path, config)


def test_two_processes_train_one_network(full_store, tmp_path):
    """Under torchrun's variables; both sides hold the same weights, the first one writes."""
    import torch

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "training", "finetune", "--store", str(full_store)]
    values = {
        "steps": 2, "images-per-step": 2, "regions-per-image": 1, "checkpoint-every": 2,
        "model.input-size": 64, "model.region-size": 32, "device.device": "cpu",
        "device.threads": 1, "device.workers": 0, "run": tmp_path / "run",
    }  # fmt: skip
    line += [f"--{name}={value}" for name, value in values.items()]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(line, cwd=ROOT, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [p.returncode for p in started] == [0, 0], said
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] == 2
    assert "step 2 loss" in said[0] and "step 2 loss" not in said[1]


def test_curves_are_drawn_of_losses_and_validations(tmp_path):
    pytest.importorskip("matplotlib")
    from training.plots import plot_run

    assert plot_run(tmp_path) is None
    lines = [{"step": s, "loss": 1 / s, "seconds": s} for s in (1, 2, 3)]
    lines.append({"step": 3, "validation": {"2D": 0.5, "3D": 0.4, "score": 0.45}})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    text = plot_run(tmp_path).read_text()
    assert text.startswith("<?xml") and "</svg>" in text


def test_torchrun_leaves_the_documented_command_its_flags():
    """Without ``--`` before the module it takes --run for an ambiguous flag of its own."""
    from torch.distributed.run import parse_args

    page = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text()
    words = re.search(r"`torchrun (--nproc-per-node) N (-m -- training finetune) \.\.\.`", page)
    assert words is not None
    flags = ["--store", "S", "--run", "R", "--device.threads", "1"]
    parsed = parse_args([words[1], "2", *words[2].split(), *flags])
    assert (parsed.module, parsed.training_script) == (True, "training")
    assert parsed.training_script_args == ["finetune", *flags]


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_picture_that_is_no_number_spoils_neither_statistics_nor_the_average(
    full_store, tmp_path, monkeypatch, caplog, bad
):
    import torch

    from training.finetune import FinetuneTask

    whole = FinetuneTask.batches

    def batches(self, steps, place):
        for step, batch in zip(steps, whole(self, steps, place), strict=True):
            if step == 2:
                batch["images"][0, 0, 3, 3] = bad
                batch["crops"][0, 0, 3, 3] = bad
            yield batch

    monkeypatch.setattr(FinetuneTask, "batches", batches)
    state = run(full_store, tmp_path, replace(SHORT, frozen_blocks=0))
    assert "step 2: the gradient is not finite" in caplog.text
    for part in ("model", "average"):
        assert all(torch.isfinite(v).all() for v in state[part].values()), part


def test_what_is_kept_stays_to_the_bit_in_the_average(full_store, tmp_path):
    import torch

    from tests.training.conftest import tiny_network
    from training.checkpoint import save_state

    weights = tiny_network(1).state_dict()
    weights["encoder.smooth.0.0.weight"][0, 0, 0, 0] = -0.0
    save_state({"average": weights}, tmp_path / "start.pt")
    kept = replace(SHORT, steps=14, frozen_blocks=-1)
    state = run(full_store, tmp_path / "run", kept, start_from=tmp_path / "start.pt")
    for name, value in weights.items():
        if name.startswith("encoder.") and value.is_floating_point():
            bits = state["average"][name].contiguous().view(torch.int32)
            assert torch.equal(bits, value.contiguous().view(torch.int32)), name


def test_going_on_takes_the_weight_decay_that_the_folder_says(whole, full_store, tmp_path):
    import shutil

    from training.devices import place_of
    from training.finetune import FinetuneTask
    from training.optimisation import Run
    from training.recipe import ExportConfig

    shutil.copytree(whole[1], tmp_path / "run")
    config = replace(SHORT, steps=6, weight_decay=0.5)
    with place_of(config.device) as place:
        task = FinetuneTask(full_store, tmp_path / "run", config, ExportConfig())
        going_on = Run(task, config, place, tmp_path / "run")
        going_on.resume()
    assert {group["weight_decay"] for group in going_on.optimiser.param_groups} == {0.5}
