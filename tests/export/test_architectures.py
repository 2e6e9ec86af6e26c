"""The networks hold exactly the tensors of the published ones."""

import hashlib

import pytest
import torch

from inference.bundle import ModelSpec
from inference.bundle_file import _fill, _with_fidelity
from inference.export.architectures import ARCHITECTURES
from inference.export.matching import compare, recommend, shapes_of
from inference.export.networks.efficientvit_sam import EfficientVitSamEncoder
from inference.export.networks.sam_model import SamDecoderGraph
from inference.export.networks.swin import WindowAttention
from inference.export.networks.swin_sam import SwinDecoderGraph, SwinEncoderGraph

PUBLISHED = {
    "swin-litemedsam": (411, 36_767_846, 10_564_748, "b65011213f35a910"),
    "litemedsam": (435, 9_791_300, 5_726_740, "705d0648240419f9"),
    "medficientsam-l0": (409, 34_792_784, 30_728_224, "1ca45169559a9cf4"),
    "medficientsam-l1": (515, 47_650_128, 43_585_568, "278ea43f5c3873dc"),
    "medficientsam-l2": (645, 61_328_592, 57_264_032, "f6852f6cb5b72f4f"),
    "daft-2024": (409, 34_792_784, 30_728_224, "1ca45169559a9cf4"),
    "daft": (409, 34_792_784, 30_728_224, "1ca45169559a9cf4"),
    "repmedsam": (843, 10_570_092, 6_505_532, "ad58abb04e45f9ab"),
    "medsam": (314, 93_735_472, 89_670_912, "2a326f8855d290e0"),
    "mobilesam": (439, 10_130_092, 6_065_532, "d794ba6abcfafd91"),
    "sam-vit-b": (314, 93_735_472, 89_670_912, "2a326f8855d290e0"),
}
"""Tensors, parameters, parameters of the encoder, and the start of the sha256 of all names and
shapes; all equal to those of the published code's own modules, built from the checkouts that
benchmarks/published_programs.py uses."""


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: ARCHITECTURES[name].network().eval() for name in PUBLISHED}


def count(module):
    return sum(value.numel() for value in module.parameters())


def digest(shapes):
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def test_every_system_is_asserted():
    assert set(PUBLISHED) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_names_are_the_published_ones(networks, name):
    network = networks[name]
    shapes = shapes_of(network)
    found = (len(shapes), count(network), count(network.image_encoder), digest(shapes))
    assert found == PUBLISHED[name]
    decoder = 26_196_878 if name == "swin-litemedsam" else 4_058_340
    assert (count(network.prompt_encoder), count(network.mask_decoder)) == (6_220, decoder)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("fidelity", ["corrected", "published"])
def test_the_rules_are_keys_of_a_model(name, fidelity):
    system = ARCHITECTURES[name]
    entry = {"encoder": "e", "decoder": "d", **system.rules, "published": system.published}
    spec = _fill(ModelSpec, _with_fidelity(entry, fidelity, name), name)
    assert spec.sam is not None
    defects = (
        spec.sam.box_scaling == "truncated",
        spec.sam.next_box == "resized-label",
        spec.volume.z_range != "closed",
        spec.volume.embeddings != "own",
        spec.label_type == "uint8",
    )
    assert any(defects) == (fidelity == "published" and bool(system.published))


def test_the_norms_of_efficientvit_have_the_published_epsilon():
    norms = [m for m in EfficientVitSamEncoder("l0").modules() if hasattr(m, "eps")]
    inside = {m.eps for m in norms if isinstance(m, torch.nn.BatchNorm2d)}
    assert inside == {1e-6}


def test_only_dafts_builder_reaches_the_decoders_norms(networks):
    def epsilons(name):
        parts = networks[name].mask_decoder.modules()
        return {m.eps for m in parts if isinstance(m, torch.nn.LayerNorm)}

    assert epsilons("daft") == epsilons("daft-2024") == {1e-6}
    assert epsilons("medficientsam-l0") == epsilons("litemedsam") == {1e-5}


@pytest.mark.parametrize("name", ["litemedsam", "daft"])
def test_the_graph_of_a_decoder_answers_as_the_modules_do(networks, name):
    network = networks[name]
    embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(1))
    box = torch.tensor([[30.0, 41, 170, 122]])
    prompts, decoder = network.prompt_encoder, network.mask_decoder
    with torch.no_grad():
        sparse, dense = prompts(points=None, boxes=box, masks=None)
        expected, _ = decoder(embedding, prompts.get_dense_pe(), sparse, dense, False)
        found = SamDecoderGraph(network)(embedding.permute(0, 2, 3, 1), box + 0.5)
    assert torch.allclose(found, expected[:, 0], atol=1e-5)


def test_swins_two_graphs_together_are_its_modules_put_together(networks):
    network = networks["swin-litemedsam"]
    random = torch.Generator().manual_seed(2)
    image = torch.rand(1, 3, 256, 256, generator=random)
    box = torch.tensor([[30.0, 41, 170, 122]])
    points = torch.rand(1, 4, 2, generator=random) * 200
    strokes = (torch.rand(1, 1, 256, 256, generator=random) > 0.9).float()
    prompts, decoder = network.prompt_encoder, network.mask_decoder
    with torch.no_grad():
        embedding, (first, *deep) = network.image_encoder(image)
        labels = torch.ones(1, 4, dtype=torch.long)
        sparse, dense = prompts(points=(points, labels), boxes=box, masks=strokes)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None]
        tokens = torch.cat([own, sparse], dim=1)
        answered, pixels = decoder.transformer(embedding + dense, prompts.get_dense_pe(), tokens)
        pixels = pixels.transpose(1, 2).reshape(1, 256, 64, 64)
        pixels = torch.cat([pixels, decoder.neck(torch.cat(deep, dim=1))], dim=1)
        pixels = torch.cat([decoder.output_upscaling1(pixels), first], dim=1)
        weights = decoder.output_hypernetworks_mlps[0](answered[:, 1])
        expected = torch.einsum("nc,nchw->nhw", weights, decoder.output_upscaling2(pixels))
        parts = SwinEncoderGraph(network)(image)
        found = SwinDecoderGraph(network)(*parts, box + 0.5, points + 0.5, strokes)
    assert [part.shape[1:] for part in parts] == [(256, 64, 64), (256, 64, 64), (64, 128, 128)]
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("is_shifted", [False, True])
def test_a_pixel_attends_to_the_pixels_of_its_window_and_not_over_the_seam(is_shifted):
    torch.manual_seed(4)
    attention, side, shift = WindowAttention(8, 1, is_shifted), 16, 4 * is_shifted
    x = torch.randn(1, side, side, 8)
    with torch.no_grad():
        found = attention(x)[0]
        query, key, value = attention.to_qkv(x[0]).chunk(3, dim=-1)
        places = [(r, c) for r in range(side) for c in range(side)]
        window = {p: tuple((v - shift) // 8 for v in p) for p in places}  # windows cut at borders
        for r, c in ((0, 0), (3, 9), (5, 12), (15, 15), (14, 2)):
            near = [p for p in places if window[p] == window[r, c]]
            apart = [(a - r + 7, b - c + 7) for a, b in near]
            bias = torch.stack([attention.pos_embedding[i] for i in apart])
            scores = torch.stack([key[p] @ query[r, c] for p in near]) * 32**-0.5 + bias
            mixed = scores.softmax(0) @ torch.stack([value[p] for p in near])
            assert torch.allclose(found[r, c], attention.to_out(mixed), atol=1e-5)


def test_a_wrong_checkpoint_is_told_where_it_belongs(networks):
    shapes = {name: shapes_of(network) for name, network in networks.items()}
    found = shapes["medficientsam-l1"]
    difference = compare(found, shapes["medficientsam-l0"])
    assert not difference.fits and "not known (image_encoder.backbone" in str(difference)
    advice = recommend(found, "medficientsam-l0", difference.shared, shapes)
    assert advice == "; medficientsam-l1 fits better (100% of the tensors)"


def test_daft_sends_every_modality_to_its_expert():
    first, last = ARCHITECTURES["daft-2024"].routing, ARCHITECTURES["daft"].routing
    assert (first["CT"], first["MR"], first["PET"], first["Ultrasound"]) == (
        *("CT", "3D", "3D", "lite_medsam"),
    )
    assert (last["CT"], last["Ultrasound"], last["3D"]) == ("3D", "US", "3D")
    assert (first["default"], last["default"]) == ("lite_medsam", "general")
