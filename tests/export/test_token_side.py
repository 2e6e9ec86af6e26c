"""The decoder with its weights on the side of the tokens against kornia's modules, part by part."""

import pytest
import torch
from torch import nn

from inference.export.networks.sam_model import SamDecoderGraph
from inference.export.networks.token_side import ImageToTokens, LastLook, TokensToImage
from tests.export.sam_models import differ, make_model, random


@pytest.fixture(scope="module")
def model():
    return make_model()


def test_tokens_see_positions_as_the_published_attention_does(model):
    attention = model.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    tokens, keys, values = random(7, 256), random(90, 256), random(91, 256)[:90]
    expected = attention(tokens[None], keys[None], values[None])[0]
    assert differ(TokensToImage(attention)(tokens, keys, values), expected) < 2e-6


def test_positions_see_tokens_as_the_published_attention_does(model):
    attention = model.mask_decoder.transformer.layers[1].cross_attn_image_to_token
    positions, tokens, values = random(90, 256), random(7, 256), random(8, 256)[:7]
    expected = attention(positions[None], tokens[None], values[None])[0]
    assert differ(ImageToTokens(attention)(positions, tokens, values), expected) < 2e-6


def test_the_last_look_norms_afterwards(model):
    attention = model.mask_decoder.transformer.final_attn_token_to_image
    norm = model.mask_decoder.transformer.layers[1].norm4
    pixels, position, token = random(90, 256), random(91, 256)[:90], random(1, 256)
    keys = norm(pixels)
    expected = attention(token[None], (keys + position)[None], keys[None])[0]
    normed = nn.functional.layer_norm(pixels, (256,), eps=norm.eps)
    assert differ(LastLook(attention, norm, position)(token, normed), expected) < 2e-6


def test_scores_too_large_for_an_exponential_are_no_harm(model):
    attention = model.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    tokens, keys = random(7, 256) * 100, random(90, 256) * 100
    expected = attention(tokens[None], keys[None], keys[None])[0]
    assert differ(TokensToImage(attention)(tokens, keys, keys), expected) < 2e-6


@pytest.mark.parametrize("box", [(30.0, 41, 170, 122), (0.0, 0, 255, 255), (100.0, 100, 101, 101)])
def test_the_whole_graph_answers_as_the_modules_do(model, box):
    embedding, boxes = random(1, 256, 64, 64), torch.tensor([box])
    prompts, decoder = model.prompt_encoder, model.mask_decoder
    sparse, dense = prompts(points=None, boxes=boxes, masks=None)
    expected, _ = decoder(embedding, prompts.get_dense_pe(), sparse, dense, False)
    found = SamDecoderGraph(model)(embedding.permute(0, 2, 3, 1), boxes + 0.5)
    assert differ(found, expected[:, 0]) < 1e-5
