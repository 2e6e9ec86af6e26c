"""A bundle back into a checkpoint: the network computes what the bundle computes, and can train."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import DECODERS, TINY, answers_of, tiny_network
from training.errors import CheckpointError
from training.recipe import ExportConfig, FinetuneConfig, ModelConfig, UnfoldConfig

NETWORK = ModelConfig(**TINY)
CONFIG = UnfoldConfig(
    batches=2, start=FinetuneConfig(model=NETWORK, images_per_step=2, regions_per_image=2)
)

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of a small network with random weights, batch norms too, and that network."""
    from training.export import write_bundle

    model = tiny_network(8)
    folder = tmp_path_factory.mktemp("bundle")
    stored = write_bundle(model.state_dict(), NETWORK, folder, ExportConfig())
    return folder, stored


def unfolded(bundle, store, run, config=CONFIG):
    from training.checkpoint import averaged_weights
    from training.model import PromptedSegmenter
    from training.unfold import unfold

    weights = averaged_weights(unfold(bundle, store, run, config))
    model = PromptedSegmenter(config.start.model)
    model.load_state_dict(weights)
    return model.eval()


def test_the_checkpoint_computes_what_the_bundle_computes(bundle, full_store, tmp_path):
    found, expected = (
        answers_of(n)[1:] for n in (unfolded(bundle[0], full_store, tmp_path), bundle[1])
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("kind", ["pretrained", "joined"])
def test_so_does_a_checkpoint_of_another_decoder(full_store, tmp_path, kind):
    from training.export import write_bundle

    network = replace(NETWORK, **DECODERS[kind])
    model = tiny_network(8, **DECODERS[kind])
    stored = write_bundle(model.state_dict(), network, tmp_path / "bundle", ExportConfig())
    config = replace(CONFIG, start=replace(CONFIG.start, model=network))
    made = unfolded(tmp_path / "bundle", full_store, tmp_path / "run", config)
    ours, theirs = answers_of(made)[2], answers_of(stored)[2]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_batch_norms_know_what_they_see(bundle, full_store, tmp_path):
    # on the samples that it was measured on, the network in training mode, which goes by the
    # batch's own statistics, answers as in use
    from training.finetune import sample_set
    from training.samples import batches

    config = replace(CONFIG, batches=1)
    model = unfolded(bundle[0], full_store, tmp_path, config)
    samples = sample_set(full_store, config.start)
    batch = next(batches(samples, range(1), config.start.images_per_step, 0))
    with torch.no_grad():
        used = model(batch)[0]
        trained = model.train()(batch)[0]
    torch.testing.assert_close(trained, used, rtol=0.02, atol=0.02 * float(used.abs().max()))


def test_filters_before_a_batch_norm_have_one_length(bundle, full_store, tmp_path):
    from training.unfold import normed

    model = unfolded(bundle[0], full_store, tmp_path)
    lengths = [c.weight.flatten(1).norm(dim=1) for _, c, _ in normed(model)]
    assert len(lengths) == 29
    for found in lengths:
        torch.testing.assert_close(found, torch.full_like(found, 1.5))


def test_the_region_may_be_larger(bundle, full_store, tmp_path):
    network = replace(NETWORK, region_size=2 * NETWORK.region_size)
    config = replace(CONFIG, start=replace(CONFIG.start, model=network))
    logits = answers_of(unfolded(bundle[0], full_store, tmp_path, config))[2]
    assert logits.shape[1:] == (64, 64)


def test_a_decoder_that_sees_contrast_besides_begins_as_the_bundle(bundle, full_store, tmp_path):
    start = replace(CONFIG.start, model=replace(NETWORK, contrast=True))
    found = unfolded(bundle[0], full_store, tmp_path, replace(CONFIG, start=start))
    assert found.decoder.stem[0].weight.shape[1] == 7
    for ours, theirs in zip(answers_of(found)[1:], answers_of(bundle[1])[1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_a_decoder_that_sees_other_boxes_besides_begins_as_the_bundle(bundle, full_store, tmp_path):
    start = replace(CONFIG.start, model=replace(NETWORK, contrast=True, others=True))
    found = unfolded(bundle[0], full_store, tmp_path, replace(CONFIG, start=start))
    assert found.decoder.stem[0].weight.shape[1] == 9
    for ours, theirs in zip(answers_of(found)[1:], answers_of(bundle[1])[1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    ("contrast", "others", "found", "made"),
    [(True, False, 4, 7), (False, True, 4, 6), (True, True, 7, 9), (True, True, 4, 9)]
    + [(True, False, n, n) for n in (3, 7)]  # the last two: as they are, to be refused
    + [(True, True, n, n) for n in (5, 6, 8)]  # 6: others without contrast lie elsewhere
    + [(False, False, n, n) for n in (3, 4)],
)
def test_a_stem_gets_the_channels_that_it_lacks_and_no_others(contrast, others, found, made):
    from training.unfold import with_new_channels

    network = replace(NETWORK, contrast=contrast, others=others)
    weight = with_new_channels(np.ones((2, found, 3, 3)), network)
    assert weight.shape == (2, made, 3, 3)
    assert weight[:, :found].all() and not weight[:, found:].any()


def test_training_goes_on_from_it(bundle, full_store, tmp_path):
    from training.finetune import finetune
    from training.unfold import unfold

    start = unfold(bundle[0], full_store, tmp_path / "start", CONFIG)
    config = replace(CONFIG.start, steps=1, warmup_steps=0)
    assert finetune(full_store, tmp_path / "run", config, start_from=start).exists()


def test_an_unknown_model_is_refused_with_the_known_ones(bundle, full_store, tmp_path):
    with pytest.raises(CheckpointError, match=r"expected one of the models .*general.*'mine'"):
        unfolded(bundle[0], full_store, tmp_path, replace(CONFIG, name="mine"))


def test_another_network_is_refused_by_the_first_weight_that_differs(bundle, full_store, tmp_path):
    network = replace(NETWORK, embedding_channels=32)
    config = replace(CONFIG, start=replace(CONFIG.start, model=network))
    with pytest.raises(CheckpointError, match=r"encoder: expected laterals.0.weight .*\(32, 24"):
        unfolded(bundle[0], full_store, tmp_path, config)


def test_weights_that_the_network_lacks_are_refused(bundle, full_store, tmp_path):
    from training.unfold import load_folded, stored_weights

    stored = stored_weights(bundle[0], "general")
    stored["decoder"]["extra.weight"] = np.zeros(3, np.float32)
    from training.model import PromptedSegmenter

    with pytest.raises(CheckpointError, match="found extra.weight"):
        load_folded(PromptedSegmenter(NETWORK), stored, bundle[0])


def test_openvino_graphs_are_refused(bundle, tmp_path):
    from training.unfold import stored_weights

    content = json.loads((bundle[0] / "bundle.json").read_text())
    for spec in content["models"].values():
        spec["encoder"] = "encoder.xml"
    content["files"]["encoder.xml"] = content["files"]["encoder.onnx"]
    for name in ("encoder.xml", "decoder.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"encoder.xml: expected an ONNX graph"):
        stored_weights(tmp_path, "general")
