"""From a checkpoint to masks, on a network small enough for a test."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import inference
from inference.bundle_file import read_bundle
from inference.case import make_scribble_case
from inference.export import bundles
from inference.export.__main__ import main
from inference.export.architectures import ARCHITECTURES
from inference.export.networks.sam_model import SamModel, SamScribbleGraph
from inference.export.networks.sam_parts import TracedGraph
from inference.scribble_rule import ScribbleRule


class SmallEncoder(nn.Module):
    """(1, 3, 256, 256) to (1, 256, 64, 64)."""

    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(3, 256, 4, 4)

    def forward(self, image):
        return self.project(image)


def small():
    return SamModel(SmallEncoder(), 256)


@pytest.fixture
def systems(monkeypatch):
    """litemedsam, and daft-2024 with two experts only, with the small encoder."""
    made = {
        name: dataclasses.replace(ARCHITECTURES[name], network=small)
        for name in ("litemedsam", "daft-2024")
    }
    # experts: CT of DAFT's own network, lite_medsam of LiteMedSAM's
    routing = {"CT": "CT", "default": "lite_medsam"}
    made["daft-2024"] = dataclasses.replace(made["daft-2024"], routing=routing)
    monkeypatch.setattr(bundles, "ARCHITECTURES", made)
    return made


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    torch.save({"model": small().state_dict()}, tmp_path / "checkpoint.pth")
    return tmp_path / "checkpoint.pth"


def run(*words):
    return main([str(word) for word in words])


def test_an_exported_bundle_segments_in_both_fidelities(systems, checkpoint, tmp_path):
    assert run("litemedsam", "--checkpoint", checkpoint, "--out", tmp_path / "b") == 0
    bundle = read_bundle(tmp_path / "b")
    bundle.verify()
    assert (bundle.name, bundle.fidelity) == ("LiteMedSAM", "corrected")
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    for fidelity, scaling in (("corrected", "float"), ("published", "truncated")):
        segmenter = inference.load(tmp_path / "b", fidelity=fidelity)
        assert segmenter.model().spec.sam.box_scaling == scaling
        labels = segmenter.segment(picture, [[10, 11, 60, 71], [5, 5, 20, 30]])
        assert labels.shape == (90, 120) and set(np.unique(labels)) <= {0, 1, 2}


def test_a_routed_bundle_loads_only_the_experts_it_needs(systems, checkpoint, tmp_path):
    folder = tmp_path / "experts"
    folder.mkdir()
    experts = set(systems["daft-2024"].routing.values())
    for expert in experts:
        (folder / f"{expert}.pth").symlink_to(checkpoint)
    assert run("daft-2024", "--checkpoint", folder, "--out", tmp_path / "b") == 0
    segmenter = inference.load(tmp_path / "b")
    assert set(segmenter.bundle.models) == experts
    segmenter.segment(np.zeros((40, 40), np.uint8), [[3, 3, 20, 20]], "Ultrasound")
    assert set(segmenter._models) == {"lite_medsam"}
    assert {file for file, _, _ in segmenter._compiled} == {
        "lite_medsam_encoder.onnx",
        "lite_medsam_decoder.onnx",
    }


def test_a_missing_expert_is_named(systems, checkpoint, tmp_path, capsys):
    (tmp_path / "experts").mkdir()
    words = ("daft-2024", "--checkpoint", tmp_path / "experts", "--out", tmp_path / "b")
    assert run(*words) == 2
    assert "experts: expected CT.pth" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_that_does_not_fit_leaves_nothing_behind(
    systems, checkpoint, tmp_path, capsys
):
    state = small().state_dict()
    state["image_encoder.project.bias"] = torch.zeros(7)
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, tmp_path / "bad.pth")
    assert run("litemedsam", "--checkpoint", tmp_path / "bad.pth", "--out", tmp_path / "b") == 2
    said = capsys.readouterr().err
    assert "1 missing (mask_decoder.iou_token.weight)" in said
    assert "image_encoder.project.bias: expected (256,), found (7,)" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pth", "checkpoint.pth"]


def test_nothing_is_written_over(systems, checkpoint, tmp_path, capsys):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    assert run("litemedsam", "--checkpoint", checkpoint, "--out", tmp_path / "b") == 2
    assert "expected no such file or folder yet" in capsys.readouterr().err
    assert (tmp_path / "b" / "mine").exists()


def test_a_graph_with_other_numbers_is_refused(systems, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("inference.export.graphs.TOLERANCE", 0.0)
    assert run("litemedsam", "--checkpoint", checkpoint, "--out", tmp_path / "b") == 2
    assert "expected torch's numbers within" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_scribbles_are_a_third_graph(systems, checkpoint, tmp_path):
    words = ("litemedsam", "--scribbles", "--checkpoint", checkpoint, "--out", tmp_path / "b")
    assert run(*words) == 0
    bundle = read_bundle(tmp_path / "b")
    assert bundle.models["general"].scribble == ScribbleRule("scribbles.onnx")
    published = read_bundle(tmp_path / "b", "published").models["general"]
    assert published.scribble == ScribbleRule("scribbles.onnx", "resized")
    strokes = np.zeros((90, 120), np.int64)
    strokes[10:13, 20:50], strokes[60:63, 20:50], strokes[80] = 3, 5, 1000
    case = make_scribble_case("c", np.zeros((90, 120, 3), np.uint8), strokes)
    labels = inference.load(tmp_path / "b").segment_case(case)
    assert labels.shape == (90, 120) and set(np.unique(labels)) <= {0, 3, 5}


class SmallSkips(SamModel):
    """Its encoder gives the embedding and half of it, its decoder takes both."""

    def __init__(self):
        super().__init__(SmallEncoder(), 256)

    def graphs(self, scribbles=False):
        image, half = torch.rand(1, 3, 256, 256), torch.rand(1, 256, 64, 64)
        asked = {"embedding": half, "half": half, "boxes": torch.ones(1, 4)}
        asked |= {"points": torch.ones(1, 4, 2), "strokes": torch.ones(1, 1, 256, 256)}
        encoder = TracedGraph(Halving(self.image_encoder), {"image": image}, ("embedding", "half"))
        return {"encoder": encoder, "decoder": TracedGraph(Summing(), asked, ("logits",))}


class Halving(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, image):
        embedding = self.encoder(image)
        return embedding, embedding / 2


class Summing(nn.Module):
    def forward(self, embedding, half, boxes, points, strokes):
        planes = torch.cat([embedding, half]).sum((0, 1))[None, :, None, :, None]
        wide = planes.expand(1, 64, 4, 64, 4).reshape(1, 256, 256)
        return wide + strokes[:, 0] + boxes.sum() * 0 + points.sum() * 0


def test_a_model_of_several_tensors_and_drawn_prompts_is_exported(
    systems, tmp_path, monkeypatch, capsys
):
    swin = dataclasses.replace(ARCHITECTURES["swin-litemedsam"], network=SmallSkips)
    rules = {**swin.rules, "embedding_names": ["embedding", "half"]}
    swin = dataclasses.replace(swin, rules=rules)
    monkeypatch.setattr(bundles, "ARCHITECTURES", systems | {"swin-litemedsam": swin})
    torch.save(SmallSkips().state_dict(), tmp_path / "checkpoint.pth")
    words = ("swin-litemedsam", "--checkpoint", tmp_path / "checkpoint.pth", "--out")
    assert run(*words, tmp_path / "b") == 0
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    for fidelity, stream in (("corrected", "box"), ("published", "case")):
        segmenter = inference.load(tmp_path / "b", fidelity=fidelity)
        assert segmenter.model().spec.drawn.stream == stream
        labels = segmenter.segment(picture, [[10, 11, 60, 71], [5, 5, 20, 30]])
        again = segmenter.segment(picture, [[10, 11, 60, 71], [5, 5, 20, 30]])
        assert np.array_equal(labels, again)
    assert run(*words, tmp_path / "c", "--scribbles") == 2
    assert "expected a model that strokes alone can ask" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_the_scribble_graph_is_kornias_prompt_encoder_and_decoder():
    torch.manual_seed(5)
    model = small().eval()
    for value in model.parameters():
        value.data.add_(torch.randn(value.shape) * 0.05)
    embedding = torch.randn(1, 256, 64, 64)
    strokes = (torch.rand(1, 1, 256, 256) > 0.9).float()
    with torch.no_grad():
        _, dense = model.prompt_encoder(points=None, boxes=None, masks=strokes)
        expected, _ = model.mask_decoder(
            image_embeddings=embedding,
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=torch.zeros(1, 0, 256),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        found = SamScribbleGraph(model).eval()(embedding.permute(0, 2, 3, 1), strokes)
    assert torch.allclose(found, expected[:, 0], atol=1e-4 * float(expected.abs().max()))
