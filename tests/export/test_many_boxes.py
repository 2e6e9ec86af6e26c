"""The decoder of many boxes, which never writes positions out, against the usual one, which does.

That one is compared with kornia's modules in test_token_side.py.
"""

import pytest
import torch

from inference.export.networks.sam_model import SamManyGraph, SamPrepareGraph
from tests.export.sam_models import differ, make_model, patches_one_by_one, random

BOXES = torch.tensor([(30.0, 41, 170, 122), (0.0, 0, 255, 255), (99.0, 9, 140, 250)])
EVERYWHERE = torch.arange(4096.0)


@pytest.fixture(scope="module")
def model():
    return make_model()


def many(model, embedding, boxes, places=EVERYWHERE):
    with torch.no_grad():
        return SamManyGraph(model)(boxes, places, *SamPrepareGraph(model)(embedding))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_boxes_are_answered_as_one_at_a_time_where_it_is_asked_for(model, count):
    embedding, boxes = random(1, 64, 64, 256), BOXES[:count]
    places = torch.tensor([0.0, 5, 64, 4095, 700])
    found = many(model, embedding, boxes, places)
    assert found.shape == (count, 5, 4, 4)
    expected = patches_one_by_one(model, embedding, boxes)[:, places.long()]
    assert differ(found, expected) < 1e-5


@pytest.mark.parametrize("size", [1e-3, 30.0])
def test_embeddings_of_any_size(model, size):
    """Small ones leave positions to the biases and the tokens, large ones to the encoder, and their
    softmax is steep: in float64 the usual decoder is off by 4.4e-5, this one by 3.5e-5."""
    embedding = random(1, 64, 64, 256) * size
    expected = patches_one_by_one(model, embedding, BOXES)
    assert differ(many(model, embedding, BOXES), expected) < 1e-4


def test_positions_of_which_a_norm_leaves_nothing(model):
    """The encoder's part the same in every channel, and tokens that give nothing: the deviation is
    the norm's epsilon, and rounding must not make it a number below 0."""
    published = model.mask_decoder.transformer
    way = published.layers[0].cross_attn_image_to_token.out_proj
    kept = {name: value.clone() for name, value in way.state_dict().items()}
    way.weight.zero_()
    try:
        flat = -way.bias - model.prompt_encoder.no_mask_embed.weight + 5.0
        embedding = flat.reshape(1, 1, 1, 256).expand(1, 64, 64, 256)
        found = many(model, embedding, BOXES)
        expected = patches_one_by_one(model, embedding, BOXES)
    finally:
        way.load_state_dict(kept)
    assert torch.isfinite(found).all()
    assert differ(found, expected) < 1e-2  # what is normed is rounding alone, times 300


def test_one_position_of_another_picture_changes_every_answer_a_little(model):
    """What is prepared is of this picture alone: nothing is left of another."""
    embedding = random(1, 64, 64, 256)
    other = embedding.clone()
    other[0, 10, 20] = 3 * random(256)
    before, after = many(model, embedding, BOXES), many(model, other, BOXES)
    expected = patches_one_by_one(model, other, BOXES)
    assert differ(after, expected) < 1e-5 < differ(before, expected)
