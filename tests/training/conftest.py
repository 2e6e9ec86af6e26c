"""Training needs torch, which the tests' own requirements leave out."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_splits.split import SplitCase
from training.store import read_store, write_store

NEEDS_TORCH = {
    f"test_{name}.py"
    for name in (
        *("model", "samples", "losses", "finetune", "distill", "experts", "export", "precision"),
        *("main", "volume_model", "volume_samples", "finetune_volumes", "pretrained", "join"),
    )
}
"""Files of tests that import it inside their tests, so that they can be collected without it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs torch where there is none."""
    absent = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if not absent:
        return
    reason = f"{' and '.join(absent)} not installed (pip install -r requirements-training.txt)"
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name in NEEDS_TORCH:
            item.add_marker(pytest.mark.skip(reason=reason))


def info_of(name: str, dims: str, split: str = "train") -> SplitCase:
    return SplitCase(
        file=name, dims=dims, modality="US" if dims == "2D" else "CT", source="toy", group=name,
        split=split, pool="packed", licence="CC0", redistributable="yes", sha256="0" * 64,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A picture of two disks and a volume of one ball, each on either side of the split."""
    y, x = np.mgrid[:48, :64]
    labels = np.zeros((48, 64), np.uint16)
    labels[(y - 20) ** 2 + (x - 18) ** 2 <= 100] = 1
    labels[(y - 30) ** 2 + (x - 45) ** 2 <= 144] = 2
    picture = np.repeat(np.where(labels, 190, 40).astype(np.uint8)[:, :, None], 3, axis=2)
    np.savez(tmp_path / "picture.npz", imgs=picture, gts=labels)
    z, y, x = np.mgrid[:9, :32, :32]
    ball = ((z - 4) * 3) ** 2 + (y - 15) ** 2 + (x - 14) ** 2 <= 121
    volume = np.where(ball, 180, 30).astype(np.uint8)
    np.savez(
        tmp_path / "volume.npz", imgs=volume, gts=ball.astype(np.uint8), spacing=(0.7, 0.8, 2.5)
    )
    cases = [
        (info_of(f"{split}-{dims}.npz", dims, split), tmp_path / f"{name}.npz")
        for split in ("train", "test")
        for dims, name in (("2D", "picture"), ("3D", "volume"))
    ]
    assert write_store(cases, tmp_path / "store") == 4
    assert [case.is_volume for case in read_store(tmp_path / "store", "train")] == [False, True]
    return tmp_path / "store"


TINY = {"input_size": 64, "region_size": 32}
"""Sizes of a network that takes milliseconds."""


DECODERS = {
    "plain": {"contrast": True},
    "pretrained": {"decoder": "pretrained"},
    "joined": {"decoder": "joined", "contrast": True, "plain_region": 16, "pretrained_share": 0.3},
}
"""What such a network's configuration says besides, by the kind of its decoder."""


def tiny_network(seed: int, **sizes: Any) -> Any:
    """A small network in use, with random weights and batch norms that have seen something."""
    import torch

    from training.model import PromptedSegmenter
    from training.recipe import ModelConfig

    torch.manual_seed(seed)
    model = PromptedSegmenter(ModelConfig(**{**TINY, **sizes}))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.uniform_(-1, 1)
    return model.eval()


def answers_of(network: Any) -> tuple[Any, Any, Any]:
    """The image, the embedding and the logits of :func:`training.export.random_inputs`."""
    import torch

    from training.export import random_inputs

    inputs = random_inputs(network)
    image = inputs.pop("image")
    with torch.no_grad():
        embedding = network.encoder(image)
        return image, embedding, network.decoder(embedding, **inputs)


TINY_VOLUMES = {"grid": (8, 16, 16), "stem": 8, "widths": (8, 12, 16)}
"""The same in three dimensions."""


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three ultrasounds and two CT volumes on every side of the split, each a group of its own,
    with the challenge's names; the last ultrasound may not be redistributed."""
    folder, rng = tmp_path_factory.mktemp("full"), np.random.default_rng(5)
    y, x = np.mgrid[:48, :64]
    z3, y3, x3 = np.mgrid[:7, :32, :32]
    cases = []
    for split in ("train", "val", "test"):
        for i in range(3):
            disk = (y - 24) ** 2 + (x - 22 - 6 * i) ** 2 <= 100 + 40 * i
            picture = np.where(disk, 190, 40) + rng.normal(0, 8, disk.shape)
            picture = np.repeat(picture.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
            name = f"2DBox_US_{split}{i}"
            np.savez(folder / f"{name}.npz", imgs=picture, gts=disk.astype(np.uint8))
            terms = "yes" if i < 2 else "unknown"
            info = replace(
                info_of(f"{name}.npz", "2D", split), modality="Ultrasound", redistributable=terms
            )
            cases.append((info, folder / f"{name}.npz"))
        for i in range(2):
            ball = ((z3 - 3) * 3) ** 2 + (y3 - 15) ** 2 + (x3 - 14 - i) ** 2 <= 90
            volume = np.where(ball, 180, 30).astype(np.uint8)
            name = f"3DBox_CT_{split}{i}"
            np.savez(
                folder / f"{name}.npz", imgs=volume, gts=ball.astype(np.uint8), spacing=(1, 1, 2)
            )
            cases.append((info_of(f"{name}.npz", "3D", split), folder / f"{name}.npz"))
    write_store(cases, folder / "store")
    return folder / "store"
