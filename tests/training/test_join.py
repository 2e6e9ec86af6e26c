"""Two decoders as one."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import DECODERS, TINY, answers_of, tiny_network
from training.configuration import write_config
from training.errors import CheckpointError
from training.recipe import ExportConfig, FinetuneConfig, JoinConfig, ModelConfig, PartConfig

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")


def run_of(folder, weights, **sizes):
    from training.checkpoint import save_state

    folder.mkdir()
    config = FinetuneConfig(steps=7, model=ModelConfig(**{**TINY, **sizes}))
    write_config(config, folder / "config.toml")
    (folder / "log.jsonl").write_text('{"step": 7, "loss": 0.5, "seconds": 1.0}\n')
    save_state({"model": weights, "average": weights, "optimiser": {}, "step": 7},
               folder / "last.pt")  # fmt: skip
    return folder


@pytest.fixture
def runs(tmp_path):
    """A plain and a pretrained run with one encoder, and their networks."""
    plain = tiny_network(1, contrast=True, region_size=16)
    seeing = tiny_network(2, **DECODERS["pretrained"])
    seeing.encoder.load_state_dict(plain.encoder.state_dict())
    first = run_of(tmp_path / "a", plain.state_dict(), contrast=True, region_size=16)
    second = run_of(tmp_path / "b", seeing.state_dict(), **DECODERS["pretrained"])
    return first, second, plain, seeing


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_answer_is_the_mean_of_both(runs, tmp_path, share):
    from inference.resample import resample
    from training.checkpoint import averaged_weights
    from training.export import random_inputs, run_config
    from training.join import join
    from training.model import PromptedSegmenter

    first, second, plain, seeing = runs
    made = join(first, second, tmp_path / "run", JoinConfig(share))
    config = run_config(tmp_path / "run")
    assert config == replace(
        run_config(second),
        model=ModelConfig(**TINY, **DECODERS["joined"] | {"pretrained_share": share}),
    )
    joined = PromptedSegmenter(config.model)
    joined.load_state_dict(averaged_weights(made))
    image, embedding, found = answers_of(joined.eval())
    asked = random_inputs(joined)
    asked.pop("image")
    with torch.no_grad():
        seen = seeing.decoder(embedding, **asked)
        crops = asked["crops"].numpy()
        small = [resample(c.transpose(1, 2, 0), (0, 0, 32, 32), (16, 16)) for c in crops]
        small = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)
        other = plain.decoder(embedding, **{**asked, "crops": small.contiguous()})
    wide = torch.nn.functional.interpolate(other[:, None], size=(32, 32), mode="bilinear")[:, 0]
    share = share * (1 - asked["context"][:, 0, None, None])  # a volume's are the plain one's
    torch.testing.assert_close(found, share * seen + (1 - share) * wide, rtol=1e-3, atol=1e-3)


def test_it_is_exported_like_any_run(runs, tmp_path):
    import inference
    from training.export import export_bundle
    from training.join import join

    join(runs[0], runs[1], tmp_path / "run", JoinConfig())
    export_bundle(tmp_path / "run", tmp_path / "bundle", config=ExportConfig(weights="f32"))
    picture = np.zeros((40, 50, 3), np.uint8)
    picture[10:20, 10:30] = 200
    mask = inference.load(tmp_path / "bundle").segment(picture, [[8, 8, 32, 22]])
    assert mask.shape == (40, 50)


def test_another_encoder_is_refused_by_the_first_weight_that_differs(runs, tmp_path):
    from training.checkpoint import load_state, save_state
    from training.join import join

    state = load_state(runs[1] / "last.pt")
    state["average"]["encoder.stem.bias"][0] += 1
    save_state(state, runs[1] / "last.pt")
    with pytest.raises(CheckpointError, match=r"expected the encoder of .* another encoder.stem.b"):
        join(runs[0], runs[1], tmp_path / "run", JoinConfig())


@pytest.mark.parametrize("which", [(0, 0), (1, 1), (1, 0)])
def test_other_kinds_are_refused(runs, tmp_path, which):
    from training.join import join

    with pytest.raises(CheckpointError, match="expected a plain and a pretrained decoder, found"):
        join(runs[which[0]], runs[which[1]], tmp_path / "run", JoinConfig())


@pytest.mark.parametrize("kind", ["plain", "pretrained"])
def test_its_parts_are_what_was_joined(runs, tmp_path, kind):
    from training.checkpoint import averaged_weights
    from training.export import run_config
    from training.join import join, part

    joined = join(runs[0], runs[1], tmp_path / "run", JoinConfig())
    found = averaged_weights(part(joined.parent, tmp_path / kind, PartConfig(kind)))
    network = runs[2 if kind == "plain" else 3]
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[k], v) for k, v in network.state_dict().items())
    model, expected = (run_config(r).model for r in (tmp_path / kind, runs[kind != "plain"]))
    assert (model.decoder, model.region_size) == (expected.decoder, expected.region_size)


def test_one_decoder_has_no_parts(runs, tmp_path):
    from training.join import part

    with pytest.raises(CheckpointError, match="expected a joined decoder, found a plain one"):
        part(runs[0], tmp_path / "run", PartConfig())
    assert not (tmp_path / "run").exists()
