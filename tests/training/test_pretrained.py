"""The decoder whose eyes are pretrained: its parts against plain definitions, and how it begins."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.training.conftest import DECODERS, TINY, tiny_network
from training.errors import CheckpointError, ConfigError
from training.recipe import FinetuneConfig, ModelConfig, SampleConfig

torch = pytest.importorskip("torch")

NETWORK = ModelConfig(**TINY, **DECODERS["pretrained"])
CONFIG = FinetuneConfig(
    steps=2,
    images_per_step=2,
    regions_per_image=2,
    warmup_steps=0,
    frozen_blocks=-1,
    model=NETWORK,
    samples=SampleConfig(picture_share=1.0),
)


def test_the_quick_gradients_are_those_of_a_convolution():
    from training.depthwise import Depthwise

    random = torch.Generator().manual_seed(0)
    for kernel, stride, side in ((3, 1, 9), (3, 2, 9), (5, 1, 10), (5, 2, 11), (5, 2, 19)):
        x = torch.randn(2, 6, side, side, generator=random, dtype=torch.float64)
        weight = torch.randn(6, 1, kernel, kernel, generator=random, dtype=torch.float64)
        given = [t.requires_grad_() for t in (x, weight)]
        expected = torch.nn.functional.conv2d(x, weight, None, stride, groups=6)
        found = Depthwise.apply(x, weight, stride)
        assert torch.equal(found, expected)
        seed = torch.randn(expected.shape, generator=random, dtype=torch.float64)
        for ours, theirs in zip(
            torch.autograd.grad(found, given, seed),
            torch.autograd.grad(expected, given, seed),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_training_takes_the_quick_gradients_and_they_are_the_plain_ones(monkeypatch):
    from training import efficientnet

    block = efficientnet.MobileBlock(8, 8, 5, 2, 6).train()
    x = torch.randn(2, 8, 8, 8, requires_grad=True)
    taken = []
    for is_slow in (True, False):
        block.depthwise.is_slow = is_slow
        block.zero_grad()
        block(x).square().sum().backward()
        taken.append(block.depthwise.conv.weight.grad.clone())
    torch.testing.assert_close(*taken, rtol=1e-3, atol=1e-4)


def published(seed: int = 0) -> dict[str, Any]:
    """A state dict of EfficientNet-Lite2, names as published, with random numbers."""
    random = torch.Generator().manual_seed(seed)
    held: dict[str, Any] = {}

    def layer(conv: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        fan = inputs * kernel * kernel
        shape = (outputs, inputs, kernel, kernel)
        held[f"{conv}.weight"] = torch.randn(shape, generator=random) * (2 / fan) ** 0.5
        for name in ("weight", "bias", "running_mean", "running_var"):
            held[f"{norm}.{name}"] = torch.rand(outputs, generator=random) + 0.5

    layer("_conv_stem", "_bn0", 32, 3, 3)
    for i, (kernel, _, expand, inputs, outputs) in enumerate(blocks()):
        hidden = inputs * expand
        if expand > 1:
            layer(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", hidden, inputs, 1)
        layer(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", hidden, 1, kernel)
        layer(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", outputs, hidden, 1)
    layer("_conv_head", "_bn1", 1280, 352, 1)  # of the classifier, not taken
    return held


def blocks() -> Iterator[tuple[int, int, int, int, int]]:
    """Kernel, stride, expansion, inputs and outputs of every block, written out from the table."""
    inputs = 32
    for kernel, stride, expand, outputs, repeats in (
        (3, 1, 1, 16, 1), (3, 2, 6, 24, 3), (5, 2, 6, 48, 3), (3, 2, 6, 88, 4), (5, 1, 6, 120, 4),
        (5, 2, 6, 208, 5), (3, 1, 6, 352, 1),
    ):  # fmt: skip
        for i in range(repeats):
            yield kernel, stride if i == 0 else 1, expand, inputs, outputs
            inputs = outputs


def features(held: dict[str, Any], picture: Any) -> list[Any]:
    """Every block's output by the published definition, with ReLU in the place of ReLU6."""
    from torch.nn import functional

    def layer(x: Any, conv: str, norm: str, stride: int = 1) -> Any:
        weight = held[f"{conv}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        padding = max((-(-side // stride) - 1) * stride + kernel - side, 0)  # TensorFlow's SAME
        low, high = padding // 2, padding - padding // 2
        groups = len(weight) if "depthwise" in conv else 1
        y = functional.conv2d(
            functional.pad(x, (low, high, low, high)), weight, None, stride, groups=groups
        )
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(y, *(held[f"{norm}.{n}"] for n in names), eps=1e-3)

    x, found = functional.relu(layer(picture, "_conv_stem", "_bn0", 2)), []
    for i, (_, stride, expand, inputs, outputs) in enumerate(blocks()):
        own, y = f"_blocks.{i}.", x
        if expand > 1:
            y = functional.relu(layer(y, f"{own}_expand_conv", f"{own}_bn0"))
        y = functional.relu(layer(y, f"{own}_depthwise_conv", f"{own}_bn1", stride))
        y = layer(y, f"{own}_project_conv", f"{own}_bn2")
        x = x + y if stride == 1 and inputs == outputs else y
        found.append(x)
    return found


def test_the_backbone_computes_what_the_published_network_computes(tmp_path):
    from training.efficientnet import TAPS, LiteBackbone

    held = published()
    torch.save(held, tmp_path / "lite2.pth")
    backbone = LiteBackbone(extra=2)
    backbone.load(tmp_path / "lite2.pth")
    backbone.eval()
    picture, more = torch.randn(2, 3, 64, 64), torch.randn(2, 2, 64, 64)
    with torch.no_grad():
        found = backbone(torch.cat([picture, more], 1), torch.zeros(2, 24, 16, 16))
        expected = features(held, picture)
    assert [t.shape[1] for t in found] == list(TAPS.values())
    for tap, block in zip(found, TAPS, strict=True):
        assert 64 / tap.shape[-1] == 2 ** (1 + list(TAPS).index(block))
        torch.testing.assert_close(tap, expected[block], rtol=1e-3, atol=1e-3)


def spoilt(kind: str) -> Any:
    held = published()
    if kind == "lacks":
        del held["_blocks.3._bn1.bias"]
    elif kind == "other":
        held["_blocks.3._depthwise_conv.weight"] = torch.zeros(96, 1, 5, 5)
    return [held] if kind == "list" else held


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lacks", r"expected EfficientNet-Lite2, found: .*_blocks.3._bn1.bias"),
        ("other", r"expected EfficientNet-Lite2, found: .*size"),
        ("list", "expected a state dict, found list"),
        ("text", "expected weights, found"),
        ("absent", "expected weights, found"),
    ],
)
def test_a_file_of_other_weights_is_refused(tmp_path, kind, said):
    from training.efficientnet import LiteBackbone

    path = tmp_path / "lite2.pth"
    if kind == "text":
        path.write_text("no weights")
    elif kind != "absent":
        torch.save(spoilt(kind), path)
    with pytest.raises(CheckpointError, match=said):
        LiteBackbone(extra=0).load(path)


def test_a_run_begins_with_a_plain_runs_encoder_and_the_published_eyes(full_store, tmp_path):
    from training.checkpoint import averaged_weights, save_state
    from training.finetune import finetune

    plain = tiny_network(3).state_dict()
    save_state({"average": plain}, tmp_path / "plain.pt")
    torch.save(published(), tmp_path / "lite2.pth")
    config = replace(CONFIG, steps=1, encoder_rate=0.0, decoder_rate=0.0, weight_decay=0.0)
    made = finetune(full_store, tmp_path / "run", config, start_from=tmp_path / "plain.pt",
                    pretrained=tmp_path / "lite2.pth")  # fmt: skip
    weights = averaged_weights(made)
    for name, value in plain.items():
        if name.startswith("encoder."):
            assert torch.equal(weights[name], value), name
    stem = weights["decoder.backbone.stem.conv.weight"]
    assert torch.equal(stem[:, :3], published()["_conv_stem.weight"]) and not stem[:, 3:].any()


def test_a_joined_runs_weights_are_not_taken_for_a_plain_ones(full_store, tmp_path):
    from training.checkpoint import save_state
    from training.finetune import finetune
    from training.model import PromptedSegmenter

    joined = PromptedSegmenter(replace(NETWORK, decoder="joined")).state_dict()
    save_state({"average": joined}, tmp_path / "joined.pt")
    with pytest.raises(CheckpointError, match="expected this network's weights, they differ in"):
        finetune(full_store, tmp_path / "run", CONFIG, start_from=tmp_path / "joined.pt")
    assert not (tmp_path / "run" / "last.pt").exists()


def test_the_eyes_learn_at_the_encoders_rate(full_store, tmp_path):
    from training.finetune import FinetuneTask
    from training.recipe import ExportConfig

    task = FinetuneTask(full_store, tmp_path, CONFIG, ExportConfig())
    (slow, slow_rate), (fast, fast_rate) = task.rates()
    eyes = {id(p) for p in task.segmenter.decoder.backbone.parameters()}
    assert (slow_rate, fast_rate) == (CONFIG.encoder_rate, CONFIG.decoder_rate)
    assert eyes <= {id(p) for p in slow} and not eyes & {id(p) for p in fast}


def test_a_plain_decoder_has_no_eyes_to_begin_with(full_store, tmp_path):
    from training.finetune import finetune

    torch.save(published(), tmp_path / "lite2.pth")
    config = replace(CONFIG, model=replace(NETWORK, decoder="plain"))
    with pytest.raises(ConfigError, match=r"--pretrained: expected a pretrained .* found plain"):
        finetune(full_store, tmp_path / "run", config, pretrained=tmp_path / "lite2.pth")


@pytest.mark.parametrize("wrong", [{"region_size": 48}, {"others": True}, {"iou_head": True}])
def test_what_it_cannot_be_is_refused(wrong):
    from training.model import PromptedSegmenter

    with pytest.raises(ConfigError, match=r"model.decoder: expected a region_size of a multiple"):
        PromptedSegmenter(replace(NETWORK, **wrong))


def test_nothing_that_it_is_told_is_left_out():
    """Every input changes the answer: the picture, the prior, the box, the place, the context and
    the embedding."""
    model = tiny_network(5, **DECODERS["pretrained"])
    for module in model.decoder.modules():  # what begins at zero has learnt something
        for parameter in module.parameters(recurse=False):
            if not parameter.any():
                parameter.data.normal_(0, 0.1)
    from training.export import random_inputs

    asked = random_inputs(model)
    asked.pop("image")
    asked["embedding"] = torch.randn(1, 64, 16, 16)
    with torch.no_grad():
        plain = model.decoder(**asked)
        changes = {
            "embedding": asked["embedding"] * 2,
            "regions": asked["regions"] + 1,
            "boxes": asked["boxes"] + 1,
            "context": 1 - asked["context"],
        }
        for first, last in ((0, 3), (3, 4)):
            crops = asked["crops"].clone()
            crops[:, first:last] = crops[:, first:last].flip(-1)
            assert not torch.allclose(model.decoder(**{**asked, "crops": crops}), plain)
        for name, value in changes.items():
            assert not torch.allclose(model.decoder(**{**asked, name: value}), plain), name
