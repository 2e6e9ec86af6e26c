"""The pipeline of a picture: one embedding, any number of boxes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.case import make_case
from inference.decoder import Embedding, Prompt
from inference.errors import CaseError
from inference.postprocess import Mask
from inference.region_decoder import region_picture
from inference.rules import RegionRule, TightRule
from inference.segment import Segmenter
from tests.inference.builders import FakeEngine, bundle_of, spec_of

REGION = RegionRule(side=16, margin=0.0, max_aspect=2.0, min_pixels=1.0)


def picture_with(*bright, shape=(16, 16)):
    """A dark picture with bright rectangles given as inclusive boxes."""
    image = np.full(shape, 10, np.uint8)
    for x0, y0, x1, y1 in bright:
        image[y0 : y1 + 1, x0 : x1 + 1] = 200
    return image


def test_label_i_is_what_is_bright_in_box_i(bright):
    image = picture_with((2, 3, 5, 6), (9, 9, 14, 12))
    labels = bright().segment(image, [[0, 0, 7, 7], [8, 8, 15, 15]])
    assert labels.dtype == np.uint8
    expected = np.zeros((16, 16))
    expected[3:7, 2:6], expected[9:13, 9:15] = 1, 2
    assert np.array_equal(labels, expected)


def test_both_ends_of_a_box_belong_to_it(bright):
    labels = bright().segment(picture_with((0, 0, 15, 15)), [[4, 5, 9, 7]])
    assert np.array_equal(np.argwhere(labels), [(y, x) for y in (5, 6, 7) for x in range(4, 10)])


def test_a_box_of_one_pixel_answers_that_pixel(bright):
    labels = bright().segment(picture_with((0, 0, 15, 15)), [15, 15, 15, 15])
    assert np.argwhere(labels).tolist() == [[15, 15]]


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_boxes_are_painted_in_their_order(bright, data):
    image = np.where(
        np.random.default_rng(data.draw(st.integers(0, 99))).random((16, 16)) < 0.6, 200, 0
    )
    corner, extent = st.integers(0, 15), st.integers(0, 9)
    boxes = [
        (x, y, min(x + w, 15), min(y + h, 15))
        for x, y, w, h in data.draw(
            st.lists(st.tuples(corner, corner, extent, extent), min_size=1, max_size=6)
        )
    ]
    expected = np.zeros((16, 16))
    for label, (x0, y0, x1, y1) in enumerate(boxes, 1):
        window = expected[y0 : y1 + 1, x0 : x1 + 1]
        window[image[y0 : y1 + 1, x0 : x1 + 1] > 128] = label
    assert np.array_equal(bright().segment(image.astype(np.uint8), boxes), expected)


def test_a_smaller_box_keeps_its_pixels_though_a_larger_one_follows(bright):
    image = picture_with((0, 0, 15, 15))
    boxes = [[4, 5, 9, 7], [2, 2, 12, 12]]
    found = bright(overlap="smaller-box").segment(image, boxes)
    outer_first = bright().segment(image, boxes[::-1])
    assert np.array_equal(found, np.choose(outer_first, [0, 2, 1]))
    assert (found[5:8, 4:10] == 1).all() and (found == 2).sum() == 11 * 11 - 6 * 3


def test_a_picture_is_encoded_once_whatever_the_number_of_boxes(bright, fake_engine):
    bright().segment(picture_with(), [[i, i, i + 2, i + 2] for i in range(10)])
    assert len(fake_engine.pictures) == 1
    assert len(fake_engine.boxes_asked) == 10


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros(0)])
def test_without_boxes_nothing_is_encoded_or_even_compiled(bright, fake_engine, boxes):
    labels = bright().segment(picture_with(shape=(6, 9, 3)), boxes)
    assert labels.shape == (6, 9) and labels.dtype == np.uint8 and not labels.any()
    assert fake_engine.compiled == []


@pytest.mark.parametrize("overlap", ["smaller-box", "higher-logit"])
def test_masks_are_drawn_one_by_one_so_that_not_all_are_kept(bright, monkeypatch, overlap):
    from inference import region_decoder

    events, draw = [], region_decoder.draw_mask
    monkeypatch.setattr(
        region_decoder, "draw_mask", lambda *a, **k: events.append("draw") or draw(*a, **k)
    )
    segmenter = bright(region=REGION, overlap=overlap)
    embedded = segmenter.embed(picture_with())
    edges = (0.0, 0.0, 8.0, 8.0)
    masks = embedded._model.answers(embedded.embedding, [Prompt(edges), Prompt(edges)])
    assert events == []
    next(masks)
    assert events == ["draw"]


def test_three_hundred_boxes_need_two_bytes(bright):
    boxes = [(x, y, x, y) for y in range(15) for x in range(20)]
    labels = bright(side=20).segment(np.full((20, 20), 255, np.uint8), boxes)
    assert labels.dtype == np.uint16
    assert np.array_equal(labels[:15], np.arange(1, 301).reshape(15, 20))


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (16, 16, 3), (16, 16, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_shapes_and_types_of_a_picture_make_no_difference(bright, shape, dtype):
    grey = picture_with((2, 3, 5, 6))
    image = grey if len(shape) == 2 else np.repeat(grey[:, :, None], shape[2], axis=2)
    labels = bright().segment(np.asfortranarray(image.astype(dtype)), [[0, 0, 15, 15]])
    assert np.array_equal(labels, grey > 128)


@pytest.mark.parametrize("at_once", [1, 2, 3, 8])
def test_boxes_are_asked_in_batches_of_a_fixed_size(bright, fake_engine, at_once):
    boxes = [[i, i, i + 3, i + 4] for i in range(5)]
    image = picture_with((0, 0, 15, 15))
    labels = bright(boxes_at_once=at_once).segment(image, boxes)
    assert {len(asked["boxes"]) for asked in fake_engine.questions} == {at_once}
    assert len(fake_engine.questions) == -(-5 // at_once)
    assert fake_engine.compiled == [("encoder.onnx", 1), ("decoder.onnx", at_once)]
    assert np.array_equal(labels, bright().segment(image, boxes))


def test_boxes_go_to_the_decoder_as_edges_scaled_in_floating_point(bright, fake_engine):
    bright(side=16).segment(picture_with(shape=(24, 40)), [[3, 5, 12, 20]])
    # 40 columns become 16: 0.4; 24 rows become round(9.6) = 10: 10 / 24
    np.testing.assert_allclose(fake_engine.boxes_asked[0], [1.2, 50 / 24, 5.2, 210 / 24], rtol=1e-6)


def test_a_model_of_inclusive_boxes_gets_the_numbers_as_given_scaled(bright, fake_engine):
    bright(side=16, box_frame="inclusive").segment(picture_with(shape=(32, 32)), [[3, 5, 12, 20]])
    assert fake_engine.boxes_asked == [(1.5, 2.5, 6.0, 10.0)]


@pytest.mark.parametrize("resize", ["longest-side", "stretch"])
def test_a_mask_comes_back_to_the_pictures_own_grid(bright, resize):
    image = picture_with((8, 4, 23, 11), shape=(20, 64))
    labels = bright(side=64, resize=resize).segment(image, [[0, 0, 63, 19]])
    different = (labels > 0) != (image > 128)
    assert different.sum() <= (0 if resize == "longest-side" else 2 * 16 + 2 * 8)


def test_a_mask_may_be_cut_at_its_box(bright):
    class Everywhere(FakeEngine):
        def decode(self, inputs):
            return np.ones((len(inputs["boxes"]), 16, 16), np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.model.compile_graph", Everywhere().compile_graph)
        box = [[3, 4, 5, 8]]
        assert Segmenter(bundle_of(spec_of())).segment(picture_with(), box).all()
        cut = Segmenter(bundle_of(spec_of(clip_to_box=True))).segment(picture_with(), box)
    assert np.array_equal(np.argwhere(cut), [(y, x) for y in range(4, 9) for x in (3, 4, 5)])


# --- models that answer in a region -------------------------------------------------------------


def test_a_region_model_sees_the_picture_at_its_own_resolution(bright, fake_engine):
    image = picture_with((40, 42, 47, 45), shape=(64, 64))
    labels = bright(side=16, region=REGION).segment(image, [[36, 36, 51, 51]])
    assert np.array_equal(labels, image > 128)  # whose input has one pixel for 4 x 4
    (asked,) = fake_engine.questions
    assert asked["crops"].shape == (1, 4, 16, 16)
    assert np.array_equal(asked["crops"][0, 0], image[36:52, 36:52])
    assert asked["regions"].tolist() == [[9, 9, 13, 13]]  # 64 pixels become 16
    assert asked["context"].tolist() == [[0, 0]]
    assert not asked["crops"][0, 3].any()


def test_a_region_over_the_border_shows_zeros(bright, fake_engine):
    wide = RegionRule(side=16, margin=0.5, max_aspect=2.0, min_pixels=1.0)
    labels = bright(region=wide).segment(picture_with((0, 0, 15, 15)), [[0, 0, 7, 7]])
    crop = fake_engine.questions[0]["crops"][0, 0]  # edges -4..12: 1 pixel a pixel
    assert not crop[:4].any() and (crop[4:, 4:] == 200).all()
    assert labels.sum() == 64


def test_the_prior_is_the_fourth_channel():
    prior = Mask(1, 2, np.ones((2, 3), bool))
    asked = Prompt((2.0, 2.0, 6.0, 6.0), prior=prior)
    crop = region_picture(picture_with(), (0, 0, 8, 8), asked, dataclasses.replace(REGION, side=8))
    assert np.array_equal(np.argwhere(crop[3]), [(y, x) for y in (1, 2) for x in (2, 3, 4)])
    assert (crop[:3] == 10).all()


def test_a_model_may_be_shown_the_other_boxes(bright, fake_engine):
    boxes = [[0, 0, 15, 15], [4, 4, 7, 9]]
    bright(region=dataclasses.replace(REGION, others=True)).segment(picture_with(), boxes)
    outer, inner = (asked["crops"] for asked in fake_engine.questions)
    assert outer.shape == (1, 6, 16, 16)
    assert np.array_equal(
        np.argwhere(outer[0, 4]), [(y, x) for y in range(4, 10) for x in range(4, 8)]
    )
    assert not outer[0, 5].any()
    assert not inner[0, 4].any() and (inner[0, 5] > 0.5).all()


def test_a_box_asked_about_alone_is_shown_no_others(bright, fake_engine):
    embedded = bright(region=dataclasses.replace(REGION, others=True)).embed(picture_with())
    embedded.segment([[0, 0, 15, 15]])
    embedded.segment([[4, 4, 7, 9]])
    assert not any(asked["crops"][0, 4:].any() for asked in fake_engine.questions)


def test_a_pixel_of_two_masks_goes_to_the_higher_logit(bright):
    """The bright-pixel model's logit is the distance to the nearest side of the box."""
    labels = bright(region=REGION, overlap="higher-logit").segment(
        picture_with((0, 0, 15, 15)), [[0, 0, 15, 8], [0, 5, 15, 15]]
    )
    middle = labels[:, 3:13]  # nearer to the upper and lower sides; rows 5 to 8 are in both boxes
    assert (middle[:7] == 1).all() and (middle[7:] == 2).all()
    nested = bright(region=REGION, overlap="higher-logit").segment(
        picture_with((0, 0, 15, 15)), [[5, 5, 8, 8], [0, 0, 15, 15]]
    )
    assert (nested[5:9, 5:9] == 1).all() and (nested == 2).sum() == 256 - 16


# --- boxes that are known to be tight -----------------------------------------------------------

TIGHT = TightRule(told="judged", gap=0.1, threshold=0.0)


def contexts(engine):
    return [row for asked in engine.questions for row in asked["context"].tolist()]


def test_a_box_whose_answer_comes_close_to_every_side_is_asked_about_again_and_told(
    bright, fake_engine
):
    fits = [4, 4, 11, 11]
    bright(region=REGION, tight=TIGHT).segment(picture_with((4, 4, 11, 11)), [fits])
    assert contexts(fake_engine) == [[0, 0], [0, 1]]


@pytest.mark.parametrize("shown", [(6, 4, 11, 11), (4, 6, 11, 11), (4, 4, 9, 11), (4, 4, 11, 9)])
def test_a_gap_at_any_one_side_means_that_the_box_is_loose(bright, fake_engine, shown):
    bright(region=REGION, tight=TIGHT).segment(picture_with(shown), [[4, 4, 11, 11]])
    assert contexts(fake_engine) == [[0, 0]]


def test_an_empty_answer_is_no_tight_one(bright, fake_engine):
    labels = bright(region=REGION, tight=TIGHT).segment(picture_with(), [[4, 4, 11, 11]])
    assert contexts(fake_engine) == [[0, 0]] and not labels.any()


def test_the_boxes_of_a_picture_may_be_judged_together(bright, fake_engine):
    rule = dataclasses.replace(TIGHT, together=True)
    image = picture_with((0, 0, 7, 7), (8, 0, 15, 7), (2, 9, 4, 11))
    fits, too, loose = [0, 0, 7, 7], [8, 0, 15, 7], [0, 8, 15, 15]
    bright(region=REGION, tight=rule).segment(image, [fits, loose, too])
    assert contexts(fake_engine) == [[0, 0]] * 3 + [[0, 1]] * 3  # two of three are
    fake_engine.questions.clear()
    bright(region=REGION, tight=rule).segment(image, [fits, loose, loose])
    assert contexts(fake_engine) == [[0, 0]] * 3
    fake_engine.questions.clear()
    bright(region=REGION, tight=TIGHT).segment(image, [fits, loose, too])
    assert contexts(fake_engine) == [[0, 0]] * 3 + [[0, 1]] * 2


def test_boxes_may_always_be_told_to_be_tight(bright, fake_engine):
    always = TightRule(told="always")
    bright(region=REGION, tight=always).segment(picture_with(), [[4, 4, 11, 11], [0, 0, 3, 3]])
    assert contexts(fake_engine) == [[0, 1], [0, 1]]


def test_of_a_batch_only_the_tight_boxes_get_the_second_answer(fake_engine, monkeypatch):
    # told, this decoder marks nothing
    honest = fake_engine.decode
    monkeypatch.setattr(
        fake_engine,
        "decode",
        lambda inputs: honest(inputs) - 500 * inputs["context"][:, 1, None, None],
    )
    segmenter = Segmenter(bundle_of(spec_of(region=REGION, tight=TIGHT, boxes_at_once=3)))
    image = picture_with((0, 0, 15, 15), (20, 20, 27, 27), shape=(32, 32))
    labels = segmenter.segment(image, [[0, 0, 15, 15], [16, 16, 31, 31]])
    assert not labels[:16, :16].any() and (labels[20:28, 20:28] == 2).all()
    assert contexts(fake_engine) == [[0, 0]] * 3 + [[0, 1], [0, 0], [0, 0]]


def test_tight_boxes_have_a_threshold_of_their_own(bright):
    # the logit one pixel inside a side is 0.5, deeper inside more
    rule = TightRule(told="always", threshold=1.0)
    labels = bright(region=REGION, tight=rule).segment(
        picture_with((0, 0, 15, 15)), [[4, 4, 11, 11]]
    )
    assert np.array_equal(np.argwhere(labels)[[0, -1]], [[5, 5], [10, 10]])


def test_the_ellipse_counts_for_tight_boxes_only_where_the_model_knows_them(bright):
    box, whole = [[8, 8, 23, 23]], (32, 32)
    image, loose = (
        picture_with((8, 8, 23, 23), shape=whole),
        picture_with((12, 12, 19, 19), shape=whole),
    )
    rounded = bright(region=REGION, tight=TIGHT, ellipse_prior=1000.0)
    assert 64 < rounded.segment(image, box).sum() < 256  # corners are cut
    assert rounded.segment(loose, box).sum() == 64
    assert bright(region=REGION, ellipse_prior=1000.0).segment(loose, box).sum() > 64


def test_a_decoder_that_is_never_told_is_asked_once_whatever_its_boxes(bright, fake_engine):
    # the logit rises by 1/2 a pixel from a side: a threshold of 1 takes two pixels from each
    rule = TightRule(told="never", gap=0.1, threshold=1.0)
    segmenter = bright(region=REGION, tight=rule)
    box, whole = [[8, 8, 23, 23]], (32, 32)
    assert segmenter.segment(picture_with((8, 8, 23, 23), shape=whole), box).sum() == 12 * 12
    assert segmenter.segment(picture_with((12, 12, 19, 19), shape=whole), box).sum() == 8 * 8
    assert contexts(fake_engine) == [[0, 0], [0, 0]]


def test_without_being_told_the_ellipse_counts_where_the_answer_fits_the_box(bright):
    rule = TightRule(told="never", gap=0.1, threshold=0.0)
    rounded = bright(region=REGION, tight=rule, ellipse_prior=1000.0)
    box, whole = [[8, 8, 23, 23]], (32, 32)
    assert 64 < rounded.segment(picture_with((8, 8, 23, 23), shape=whole), box).sum() < 256
    assert rounded.segment(picture_with((12, 12, 19, 19), shape=whole), box).sum() == 64


# --- an embedding that is kept ------------------------------------------------------------------


def test_a_further_box_costs_only_a_decode(bright, fake_engine):
    embedded = bright().embed(picture_with((2, 3, 5, 6)))
    for _ in range(3):
        assert embedded.segment([0, 0, 15, 15]).sum() == 16
    assert len(fake_engine.pictures) == 1 and len(fake_engine.questions) == 3


def test_a_further_box_does_not_read_the_picture_again(bright, monkeypatch):
    embedded = bright().embed(picture_with((2, 3, 5, 6)).astype(np.float32))
    monkeypatch.setattr("inference.case.eight_bit", None)
    assert embedded.segment([0, 0, 15, 15]).sum() == 16


@pytest.mark.parametrize("region", [None, REGION])
def test_the_callers_array_may_be_used_again(bright, region):
    image = picture_with((2, 3, 5, 6))
    embedded = bright(region=region).embed(image)
    image[:] = 255
    assert embedded.segment([0, 0, 15, 15]).sum() == 16


def test_two_embeddings_do_not_share_memory(bright):
    segmenter = bright()
    first = segmenter.embed(picture_with((2, 3, 5, 6)))
    second = segmenter.embed(picture_with((9, 9, 10, 10)))
    assert first.segment([0, 0, 15, 15]).sum() == 16
    assert second.segment([0, 0, 15, 15]).sum() == 4


def test_what_keeping_an_embedding_costs_includes_its_picture():
    values, picture = np.zeros((1, 2, 3, 4), np.float32), np.zeros((5, 6, 3), np.uint8)
    assert Embedding(None, {"embedding": values}, picture).nbytes == 24 * 4 + 90


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "boxes", [[0, 0, 0, 1, 1, 1], [[5, 0, 4, 9]], [[99, 0, 120, 9]], [[0, 0, np.nan, 1]], [1, 2, 3]]
)
@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 3)])
def test_boxes_that_make_no_sense_are_refused(bright, boxes, shape):
    segmenter = bright()
    with pytest.raises(CaseError):
        segmenter.segment(picture_with(shape=shape), boxes)
    with pytest.raises(CaseError, match="boxes"):
        segmenter.embed(picture_with(shape=shape)).segment(boxes)


def test_a_volume_is_no_picture(bright):
    volume = np.zeros((5, 16, 16), np.uint8)
    with pytest.raises(CaseError, match="imgs"):
        bright().segment(volume, [])
    with pytest.raises(CaseError, match="imgs"):
        bright().embed(volume)


def test_a_picture_is_no_volume(bright):
    with pytest.raises(CaseError, match="imgs"):
        bright().segment_volume(picture_with(), [[0, 0, 0, 1, 1, 1]])


@pytest.mark.parametrize("boxes", [[[0, 0, 1, 1]] * 3, [0, 0, 1, 1], np.zeros((2, 3, 2))])
def test_boxes_of_four_numbers_are_never_read_as_boxes_of_six(bright, boxes):
    with pytest.raises(CaseError):
        bright().segment_volume(np.zeros((5, 16, 16), np.uint8), boxes)


# --- several models -----------------------------------------------------------------------------


def test_only_the_model_that_answers_is_loaded(fake_engine):
    bundle = bundle_of(spec_of())
    other = spec_of(encoder="other.onnx")
    routed = type(bundle)(
        bundle.folder, "two", "1",
        {"bright": bundle.models["bright"], "eyes": other},
        {"default": "bright", "OCT": "eyes"}, {},
    )  # fmt: skip
    segmenter = Segmenter(routed)
    segmenter.segment_case(make_case("x", picture_with(), np.array([0, 0, 9, 9])), "CT")
    assert fake_engine.compiled == [("encoder.onnx", 1), ("decoder.onnx", 1)]
    assert segmenter.model("OCT").spec is other
    assert segmenter.model("PET") is segmenter.model("CT")


def test_an_ellipse_prior_cuts_corners_in_pictures_only(bright):
    picture = np.full((16, 16), 200, np.uint8)
    segmenter = bright(ellipse_prior=1000.0)
    labels = segmenter.segment(picture, [[2, 2, 13, 13]])
    assert labels[8, 8] and not labels[2, 2] and not labels[13, 13]
    volume = segmenter.segment_volume(np.stack([picture] * 3), [[2, 2, 0, 13, 13, 2]])
    assert volume[1, 3, 3]


def test_models_that_differ_in_settings_only_share_their_graphs(fake_engine):
    bundle = bundle_of(spec_of())
    both = {"bright": spec_of(), "round": spec_of(ellipse_prior=3.0)}
    routing = {"default": "bright", "PET": "round"}
    segmenter = Segmenter(dataclasses.replace(bundle, models=both, routing=routing))
    for modality in ("CT", "PET"):
        segmenter.model(modality).compile()
    assert fake_engine.compiled == [("encoder.onnx", 1), ("decoder.onnx", 1)]
