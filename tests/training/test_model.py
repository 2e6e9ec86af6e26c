"""The network's shapes, on random weights."""

import pytest

from tests.training.conftest import DECODERS, tiny_network


@pytest.fixture(scope="module", params=DECODERS)
def model(request):
    return tiny_network(0, **DECODERS[request.param])


def questions(n, side=32):
    import torch

    torch.manual_seed(1)
    low = torch.rand(n, 2) * 30
    boxes = torch.cat([low, low + 10 + torch.rand(n, 2) * 20], 1)
    regions = torch.cat([boxes[:, :2] - 3, boxes[:, 2:] + 3], 1)
    return {
        "crops": torch.rand(n, 4, side, side) * 255,
        "regions": regions,
        "boxes": boxes,
        "context": torch.rand(n, 2),
    }


def test_an_image_becomes_an_embedding_of_a_quarter_of_its_side(model):
    import torch

    with torch.no_grad():
        assert model.encoder(torch.rand(2, 3, 64, 64) * 255).shape == (2, 64, 16, 16)


@pytest.mark.parametrize("n", [1, 3])
def test_every_box_gets_logits_over_its_region(model, n):
    import torch

    with torch.no_grad():
        logits = model.decoder(torch.rand(1, 64, 16, 16), **questions(n))
    assert logits.shape == (n, 32, 32)
    assert torch.isfinite(logits).all()


def test_regions_of_several_images_are_answered_as_those_of_each(model):
    import torch

    asked = questions(4)
    images = torch.tensor([0, 1, 1, 0])
    with torch.no_grad():
        embedding = torch.rand(2, 64, 16, 16)
        together = model.decoder(embedding, **asked, image_of_region=images)
        for i in range(4):
            alone = model.decoder(
                embedding[images[i] : images[i] + 1], **{k: v[i : i + 1] for k, v in asked.items()}
            )
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-4)


def test_boxes_of_one_run_do_not_touch_each_other(model):
    import torch

    asked = questions(3)
    with torch.no_grad():
        embedding = torch.rand(1, 64, 16, 16)
        together = model.decoder(embedding, **asked)
        alone = model.decoder(embedding, **{k: v[2:] for k, v in asked.items()})
    torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-4)


def test_a_box_is_seen_at_minus_one_to_one():
    import torch

    from training.mask_decoder import MaskDecoder
    from training.recipe import ModelConfig

    decoder = MaskDecoder(ModelConfig(input_size=64, region_size=32))
    regions, boxes = torch.tensor([[0.0, 0, 32, 32]]), torch.tensor([[8.0, 8, 24, 24]])
    u, v, uu, vv = decoder.place(regions, boxes, 32)[0]
    assert u[0, 8] == -1 + 1 / 16 and u[0, 23] == 1 - 1 / 16  # centres of the box's end cells
    assert torch.equal(v, u.T) and torch.equal(uu, u * u) and torch.equal(vv, v * v)


def test_contrast_is_what_the_box_shows_however_dark_the_picture():
    import torch

    from training.mask_decoder import MaskDecoder
    from training.recipe import ModelConfig

    side = 32
    decoder = MaskDecoder(ModelConfig(input_size=64, region_size=side, contrast=True))
    crops = torch.randint(40, 200, (1, 3, side, side)).float()
    regions, boxes = torch.tensor([[0.0, 0, 40, 40]]), torch.tensor([[10.0, 10, 30, 30]])
    where = decoder.place(regions, boxes, side)
    seen = decoder.standardised(crops, where)
    inside = seen[..., side // 4 : side * 3 // 4, side // 4 : side * 3 // 4]
    torch.testing.assert_close(inside.mean((2, 3)), torch.zeros(1, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside.std((2, 3)), torch.ones(1, 3), atol=0.08, rtol=0)
    crops[..., :4] = 0  # outside the picture, as a margin may be: of no consequence inside
    torch.testing.assert_close(
        decoder.standardised(crops, where)[..., 4:], seen[..., 4:], atol=1e-5, rtol=0
    )
    darker = decoder.standardised(crops * 0.25 + 3, where)
    assert (darker - seen)[..., 4:].abs().max() < 0.5
    even = decoder.standardised(torch.full_like(crops, 7), where)
    assert even.abs().max() == 0


def test_frozen_blocks_learn_nothing():
    from training.model import ModelConfig, PromptedSegmenter

    model = PromptedSegmenter(ModelConfig(input_size=64, region_size=32))
    model.encoder.freeze(3)
    assert not any(p.requires_grad for p in model.encoder.stem.parameters())
    assert not any(p.requires_grad for p in model.encoder.blocks[:3].parameters())
    assert all(p.requires_grad for p in model.encoder.blocks[3].parameters())


def test_the_embedding_is_read_where_the_region_lies():
    import torch

    from training.mask_decoder import MaskDecoder
    from training.recipe import ModelConfig

    decoder = MaskDecoder(ModelConfig(input_size=64, region_size=32))
    along = torch.arange(16.0) * 4 + 2  # middles of the embedding's cells, encoder-input pixels
    embedding = torch.stack(torch.meshgrid(along, along, indexing="xy"))[None]
    regions = torch.tensor([[8.0, 16, 40, 32], [20, 4, 36, 60]])
    seen = decoder.sample(embedding, regions, None)
    for (x0, y0, x1, y1), (x, y) in zip(regions.tolist(), seen, strict=True):
        cells = (torch.arange(8) + 0.5) / 8
        torch.testing.assert_close(x, (x0 + (x1 - x0) * cells).expand(8, 8))
        torch.testing.assert_close(y, (y0 + (y1 - y0) * cells)[:, None].expand(8, 8))
    each = decoder.sample(embedding, regions, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(each, seen)
