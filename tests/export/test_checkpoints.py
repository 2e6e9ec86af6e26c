"""Checkpoints in every wrapper in which they are found, and those that are refused."""

import collections
import functools
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inference.export.checkpoints import read_checkpoint
from inference.export.errors import ExportError

TENSORS = {
    "image_encoder.a": torch.arange(3.0),
    "prompt_encoder.b": torch.ones(2),
    "mask_decoder.c": torch.zeros(1),
}


def prefixed(prefix):
    return {prefix + name: value for name, value in TENSORS.items()}


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3},
        {"model": TENSORS, "optimizer": {"lr": 0.1}},
        {"model": {"state_dict": TENSORS}},
        {"model": prefixed("module.")},
        prefixed("module."),
        prefixed("_orig_mod.module."),
        {"state_dict": prefixed("model.") | {"loss.weight": torch.ones(1)}},
    ],
    ids=["plain", "state_dict", "model", "nested", "wrapped", "module", "compiled", "lightning"],
)
def test_every_wrapper_is_taken_off(tmp_path, content):
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    found = read_checkpoint(path)
    assert set(found) == set(TENSORS)
    assert torch.equal(found["image_encoder.a"], TENSORS["image_encoder.a"])


def test_safetensors_are_read(tmp_path):
    save_file(prefixed("module."), tmp_path / "checkpoint.safetensors")
    assert set(read_checkpoint(tmp_path / "checkpoint.safetensors")) == set(TENSORS)


class Harmful:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


class AttributeDict(dict):
    """A dict of its own kind, as Lightning keeps a module's arguments."""


def test_a_lightning_file_is_read_without_its_objects(tmp_path):
    # MedficientSAM's .ckpt: save_hyperparameters() keeps functools.partial objects
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-4)
    extra = {
        "hyper_parameters": AttributeDict(optimizer=optimizer, harmful=Harmful(), size=512),
        "counts": collections.defaultdict(int, a=1),
        "loss": np.float64(0.5),  # the baseline's training script
    }
    torch.save({"state_dict": prefixed("model."), "epoch": 3} | extra, tmp_path / "best.ckpt")
    found = read_checkpoint(tmp_path / "best.ckpt")
    assert set(found) == set(TENSORS)
    assert torch.equal(found["image_encoder.a"], TENSORS["image_encoder.a"])


@pytest.mark.parametrize(
    "content",
    [
        torch.nn.Linear(2, 2),
        {"model": Harmful()},
        {"state_dict": {"image_encoder.a": torch.ones(1), "loss": Harmful()}},
        {"epoch": 1, "settings": AttributeDict(a=Harmful())},
    ],
    ids=["module", "object", "among tensors", "no weights"],
)
def test_pickled_objects_are_refused_with_a_way_out(tmp_path, content):
    path = tmp_path / "model.pth"
    torch.save(content, path)
    with pytest.raises(ExportError, match="pickled Python objects.*state_dict.*NEW") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"", "expected a checkpoint"),
        ("a.pth", b"PK\x03\x04 not really", "expected a checkpoint"),
        ("a.safetensors", b"1234567890", "expected safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=message) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_holds_no_tensors_is_said_with_its_keys(tmp_path):
    torch.save({"epoch": 1, "loss": 0.5}, tmp_path / "a.pth")
    with pytest.raises(ExportError, match="found the keys epoch, loss"):
        read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(ExportError, match="found none"):
        read_checkpoint(tmp_path / "absent.pth")


def test_a_plain_pickle_is_refused_and_not_run(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(ExportError):
        read_checkpoint(tmp_path / "a.pkl")
