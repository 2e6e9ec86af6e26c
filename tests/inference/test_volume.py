"""The walk through a volume: from the middle outwards, every slice encoded at most once."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.bundle import VolumeRule
from inference.decoder import Embedding
from inference.rules import RegionRule
from inference.segment import Segmenter
from inference.tracking import make_tracks
from inference.volume import EmbeddingCache, VolumeWalk, neighbour_slices
from tests.inference.builders import FakeEngine, bundle_of, spec_of

GIVEN = VolumeRule(box="given")
REGION = RegionRule(side=16, margin=0.0, max_aspect=1.0, min_pixels=16.0)
"""One region of 16 pixels around a box: a picture of 16 x 16 at its own resolution."""


def tube(z_min, z_max, x0, y0, x1, y1, shape=(9, 16, 16)):
    """A bright tube in a dark volume whose first pixel says which slice it is."""
    volume = np.full(shape, 20, np.uint8)
    volume[z_min : z_max + 1, y0 : y1 + 1, x0 : x1 + 1] = 200
    volume[:, 0, 0] = np.arange(shape[0])
    return volume


def slices_encoded(engine):
    return [int(picture[0, 1, 0, 0]) for picture in engine.pictures]


def slices_asked(engine):
    return [int(asked["embedding"][0, 0, 0, 0]) for asked in engine.questions]


# --- what is asked ------------------------------------------------------------------------------


def test_both_ends_of_the_range_belong_to_it(bright):
    volume = tube(0, 8, 4, 5, 9, 10)
    labels = bright().segment_volume(volume, [[4, 5, 2, 9, 10, 6]])
    expected = np.zeros(volume.shape)
    expected[2:7, 5:11, 4:10] = 1
    assert np.array_equal(labels, expected)


def test_propagation_starts_in_the_middle_and_goes_up_then_down(bright, fake_engine):
    bright().segment_volume(tube(0, 8, 4, 5, 9, 10), [[4, 5, 2, 9, 10, 7]])
    assert slices_asked(fake_engine) == [4, 5, 6, 7, 3, 2]


def test_the_middle_is_asked_for_with_the_given_box_the_others_with_the_last_mask(
    bright, fake_engine
):
    bright().segment_volume(tube(0, 8, 6, 5, 9, 10), [[3, 2, 2, 12, 13, 4]])
    assert fake_engine.boxes_asked == [(3, 2, 13, 14), (6, 5, 10, 11), (6, 5, 10, 11)]


def test_a_model_may_want_the_given_box_every_time(bright, fake_engine):
    segmenter = bright(volume=GIVEN)
    segmenter.segment_volume(tube(0, 8, 6, 5, 9, 10), [[3, 2, 2, 12, 13, 4]])
    assert fake_engine.boxes_asked == [(3, 2, 13, 14)] * 3


def test_a_slice_may_be_asked_for_with_and_without_its_prior_and_the_logits_are_averaged(bright):
    class Doubtful(FakeEngine):
        """Sure of the object (+1) where a prior says so, sure of the contrary where none does."""

        def __init__(self, without: float) -> None:
            super().__init__()
            self.without = without

        def decode(self, inputs):
            super().decode(inputs)
            prior = inputs["crops"][:, 3]
            middle = inputs["context"][0, 1] == 0
            told = prior.any() or middle
            return np.where(told, 1.0, self.without) * np.ones_like(prior)

    def volume_marked(without, views):
        segmenter = bright(volume=VolumeRule(box="given", views=views), region=REGION)
        engine = Doubtful(without)
        segmenter.model().__dict__["decoder"] = FakeGraphOf(engine.decode)
        labels = segmenter.segment_volume(tube(0, 8, 4, 5, 9, 10), [[4, 5, 2, 9, 10, 4]])
        return [z for z in range(9) if labels[z].any()], len(engine.questions)

    assert volume_marked(-0.5, "both") == ([2, 3, 4], 5)  # (1 - 0.5) / 2 > 0; no prior at z = 3
    assert volume_marked(-3.0, "with-prior") == ([2, 3, 4], 3)
    assert volume_marked(-3.0, "both")[0] == [3]  # (1 - 3) / 2 < 0


class FakeGraphOf:
    """A graph that is a function."""

    def __init__(self, function):
        self.run = lambda inputs: (function(inputs),)


def test_an_ellipsoid_prior_cuts_the_corners_most_at_the_ends(bright):
    segmenter = bright(volume=VolumeRule(box="given", ellipsoid_prior=1000.0), region=REGION)
    labels = segmenter.segment_volume(np.full((9, 16, 16), 200, np.uint8), [[2, 2, 0, 13, 13, 8]])
    areas = [int((labels[z] > 0).sum()) for z in range(9)]
    assert areas == areas[::-1] and areas[4] > areas[2] > areas[0] > 0
    # z = 0: depth 8/9, so u^2 + v^2 < 1 - 64/81 = 17/81, over a half side of 6: radius 2.75 pixels
    centres = np.arange(16) + 0.5 - 8
    disc = centres[:, None] ** 2 + centres**2 < 36 * 17 / 81
    assert np.array_equal(labels[0] > 0, disc)


def test_a_tracked_box_grows_inside_the_given_one(bright, fake_engine):
    segmenter = bright(volume=VolumeRule(box_growth=2.0))
    segmenter.segment_volume(tube(0, 8, 6, 5, 9, 10), [[5, 2, 2, 12, 13, 3]])
    assert fake_engine.boxes_asked[1] == (5, 3, 12, 13)  # left it meets the given box's side


def test_the_mask_keeps_to_the_given_box(bright):
    class Everywhere(FakeEngine):
        def decode(self, inputs):
            return np.ones((len(inputs["boxes"]), 16, 16), np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.model.compile_graph", Everywhere().compile_graph)
        labels = Segmenter(bundle_of(spec_of())).segment_volume(
            tube(0, 8, 0, 0, 15, 15), [[4, 5, 2, 9, 10, 6]]
        )
    expected = np.zeros(labels.shape)
    expected[2:7, 5:11, 4:10] = 1
    assert np.array_equal(labels, expected)


def test_a_moving_object_is_followed_by_its_own_box(bright, fake_engine):
    volume = np.zeros((5, 16, 16), np.uint8)
    for z, left in enumerate((2, 3, 4, 5, 6)):
        volume[z, 4:8, left : left + 6] = 200
    segmenter = bright(volume=VolumeRule(box_growth=1.0))
    labels = segmenter.segment_volume(volume, [[0, 0, 0, 15, 15, 4]])
    assert np.array_equal(labels, volume > 128)
    assert (2, 3, 10, 9) in fake_engine.boxes_asked  # slice 1 (3..8), grown by one, asked in 0


def test_a_lost_object_is_asked_for_again_with_the_given_box(bright, fake_engine):
    volume = tube(3, 5, 4, 5, 9, 10)  # gone in slice 6 ...
    volume[7:, 12:15, 12:15] = 200  # ... and found again elsewhere in the box
    labels = bright().segment_volume(volume, [[3, 3, 3, 15, 15, 8]])
    assert np.array_equal(labels, volume > 128)
    whole_box, tracked, elsewhere = (3, 3, 16, 16), (4, 5, 10, 11), (12, 12, 15, 15)
    asked = list(zip(slices_asked(fake_engine), fake_engine.boxes_asked, strict=True))
    upwards = [(5, whole_box), (6, tracked), (6, whole_box), (7, whole_box), (8, elsewhere)]
    assert asked == [*upwards, (4, tracked), (3, tracked)]


def test_an_object_that_is_not_there_at_all_costs_two_questions_a_slice_at_most(
    bright, fake_engine
):
    labels = bright().segment_volume(np.zeros((5, 16, 16), np.uint8), [[2, 2, 0, 9, 9, 4]])
    assert not labels.any()
    assert fake_engine.boxes_asked == [(2, 2, 10, 10)] * 5  # no prior, so nothing to fall back from


def test_the_prior_is_the_binary_mask_of_the_slice_nearer_to_the_middle(bright, fake_engine):
    volume = np.zeros((5, 16, 16), np.uint8)
    for z, side in enumerate((6, 7, 8, 9, 10)):
        volume[z, 2 : 2 + side, 3 : 3 + side] = 200
    segmenter = bright(region=REGION, volume=GIVEN)
    segmenter.segment_volume(volume, [[15, 15, 0, 15, 15, 0], [0, 0, 0, 15, 15, 4]])
    second = [asked for asked in fake_engine.questions if asked["boxes"][0, 0] == 0]
    priors = [asked["crops"][0, 3] for asked in second]
    assert [prior.sum() for prior in priors] == [0, 64, 81, 64, 49]  # slices 2 3 4 1 0
    assert set(np.unique(priors)) == {0, 1}  # whatever the label is: challenge.md B8
    assert [asked["context"][0].tolist() for asked in second] == [
        [1, pytest.approx(depth)] for depth in (0, 0.4, 0.8, 0.4, 0.8)
    ]


# --- what is encoded ----------------------------------------------------------------------------

BOXES = [[4, 5, 1, 9, 10, 7], [5, 6, 0, 8, 9, 3], [4, 5, 5, 9, 10, 6], [6, 6, 2, 7, 7, 8]]


def test_a_slice_is_encoded_at_most_once_whatever_the_number_of_boxes(bright, fake_engine):
    bright().segment_volume(tube(0, 8, 4, 5, 9, 10), BOXES * 5)
    assert sorted(slices_encoded(fake_engine)) == list(range(9))


def test_a_slice_that_no_box_holds_is_not_encoded(bright, fake_engine):
    boxes = [[4, 5, 1, 9, 10, 2], [4, 5, 6, 9, 10, 6]]
    bright().segment_volume(tube(0, 8, 4, 5, 9, 10), boxes)
    assert sorted(slices_encoded(fake_engine)) == [1, 2, 6]


def test_every_box_is_answered_from_the_embedding_of_its_own_slice(bright):
    # challenge.md B6: cached tensors that alias one buffer answer objects from the last slice
    volume = np.random.default_rng(0).choice(np.array([0, 200], np.uint8), (9, 16, 16))
    labels = bright(volume=GIVEN).segment_volume(volume, BOXES)
    assert np.array_equal(labels, painted(volume, BOXES))


def painted(volume, boxes):
    """What is bright in each box, painted box by box in order."""
    expected = np.zeros(volume.shape, np.int64)
    for label, (x0, y0, z0, x1, y1, z1) in enumerate(boxes, 1):
        where = np.s_[z0 : z1 + 1, y0 : y1 + 1, x0 : x1 + 1]
        expected[where][volume[where] > 128] = label
    return expected


@st.composite
def boxes_in(draw, shape):
    ranges = [sorted(draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in shape]
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return [x0, y0, z0, x1, y1, z1]


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(boxes_in((6, 8, 8)), min_size=1, max_size=6), st.integers(0, 99), st.booleans())
def test_any_boxes_are_painted_in_their_order_with_any_cache(bright, boxes, seed, tiny_cache):
    volume = np.random.default_rng(seed).choice(np.array([0, 200], np.uint8), (6, 8, 8))
    model = bright(side=8, volume=GIVEN).model()
    walk = VolumeWalk(model, volume, make_tracks(boxes), 400 if tiny_cache else 1 << 20)
    assert np.array_equal(walk.run(), painted(volume, boxes))


def test_a_smaller_box_keeps_its_voxels_though_a_larger_one_follows(bright):
    volume = tube(0, 8, 2, 2, 13, 13)
    boxes = [[5, 5, 3, 8, 8, 5], [2, 2, 0, 13, 13, 8]]
    found = bright(overlap="smaller-box").segment_volume(volume, boxes)
    outer_first = painted(volume, boxes[::-1])
    assert np.array_equal(found, np.choose(outer_first, [0, 2, 1]))
    assert (bright().segment_volume(volume, boxes) != 1).all()


def test_a_full_cache_costs_time_and_changes_nothing(bright, fake_engine, caplog):
    volume = tube(0, 8, 4, 5, 9, 10)
    model = bright().model()
    tracks = make_tracks(BOXES)
    ample = VolumeWalk(model, volume, tracks).run()
    before = len(fake_engine.pictures)
    with caplog.at_level("WARNING"):
        tight = VolumeWalk(model, volume, tracks, cache_bytes=1).run()
    assert np.array_equal(tight, ample)
    assert len(fake_engine.pictures) - before > 9
    assert "embedding cache full" in caplog.text


def embedding(nbytes):
    return Embedding(None, {"embedding": np.zeros(nbytes, np.uint8)}, np.zeros(0, np.uint8))


@given(
    st.lists(
        st.tuples(st.sampled_from(["keep", "drop", "get"]), st.integers(0, 5), st.integers(1, 60))
    ),
    st.integers(1, 100),
)
def test_the_cache_never_holds_more_than_its_limit(steps, limit):
    cache = EmbeddingCache(limit)
    last = {}
    for step, z, nbytes in steps:
        if step == "keep":
            last[z] = embedding(nbytes)
            cache.keep(z, last[z])
        elif step == "drop":
            last.pop(z, None)
            cache.drop(z)
        found = {k: cache.get(k) for k in range(6)}
        assert sum(e.nbytes for e in found.values() if e is not None) <= limit
        assert all(e is None or e is last[k] for k, e in found.items())
        if step == "keep" and nbytes <= limit:
            assert found[z] is last[z]


def test_the_longest_unused_embedding_is_dropped_first():
    cache = EmbeddingCache(30)
    for z in (1, 2, 3):
        cache.keep(z, embedding(10))
    cache.get(1)
    cache.keep(4, embedding(10))
    assert [z for z in (1, 2, 3, 4) if cache.get(z)] == [1, 3, 4]


def test_a_slice_is_forgotten_once_no_box_needs_it(bright):
    walk = VolumeWalk(bright().model(), tube(0, 8, 4, 5, 9, 10), make_tracks(BOXES))
    walk.run()
    assert [z for z in range(9) if walk._cache.get(z)] == []


# --- shapes -------------------------------------------------------------------------------------


def test_a_volume_of_one_slice_is_a_volume(bright):
    volume = tube(0, 0, 4, 5, 9, 10, shape=(1, 16, 16))
    labels = bright().segment_volume(volume, [4, 5, 0, 9, 10, 0])
    assert labels.shape == (1, 16, 16) and labels.sum() == 36


@pytest.mark.parametrize("width", [1, 3, 4])
def test_a_narrow_volume_is_a_volume(bright, width):
    volume = np.full((6, 16, width), 200, np.uint8)
    labels = bright().segment_volume(volume, [[0, 2, 1, width - 1, 5, 4]])
    assert labels.shape == volume.shape
    assert np.array_equal(labels.any(axis=(1, 2)), [False, True, True, True, True, False])
    assert labels.sum() == 4 * 4 * width


@pytest.mark.parametrize("width", [3, 16])
@pytest.mark.parametrize("boxes", [[], np.zeros((0, 6)), np.zeros((0, 4))])
def test_a_volume_without_boxes_gets_an_empty_mask(bright, fake_engine, boxes, width):
    labels = bright().segment_volume(np.zeros((5, 16, width), np.uint8), boxes)
    assert labels.shape == (5, 16, width) and labels.dtype == np.uint8 and not labels.any()
    assert fake_engine.compiled == []


def test_a_range_may_end_at_the_number_of_slices(bright):
    labels = bright().segment_volume(tube(0, 8, 4, 5, 9, 10), [[4, 5, 6, 9, 10, 9]])
    assert labels.any(axis=(1, 2)).nonzero()[0].tolist() == [6, 7, 8]


def test_three_hundred_boxes_need_two_bytes(bright):
    boxes = [(x, y, 0, x, y, 1) for y in range(15) for x in range(20)]
    labels = bright(side=20).segment_volume(np.full((2, 20, 20), 255, np.uint8), boxes)
    assert labels.dtype == np.uint16
    assert np.array_equal(labels[:, :15], [np.arange(1, 301).reshape(15, 20)] * 2)


def test_fractions_of_a_slice_are_rounded(bright):
    (track,) = make_tracks([[0.5, 1.5, 1.6, 7.25, 8, 5.4]])
    assert (track.z_min, track.z_max, track.middle) == (2, 5, 3)
    assert track.edges == (0.5, 1.5, 8.25, 9)


def test_a_ball_is_found_again_slice_by_slice(bright):
    z, y, x = np.mgrid[:15, :16, :16]
    ball = (z - 7) ** 2 + (y - 8) ** 2 + (x - 8) ** 2 <= 36
    volume = np.where(ball, 220, 30).astype(np.uint8)
    (where,) = ndimage.find_objects(ball.astype(int))
    box = [s.start for s in where[::-1]] + [s.stop - 1 for s in where[::-1]]
    labels = bright().segment_volume(volume, box)
    assert np.array_equal(labels, ball)


def test_neighbouring_slices_are_the_channels_and_end_slices_stand_in():
    volume = np.arange(3 * 2 * 2).reshape(3, 2, 2).astype(np.uint8)
    for z, channels in ((0, (0, 0, 1)), (1, (0, 1, 2)), (2, (1, 2, 2))):
        found = neighbour_slices(volume, z)
        assert np.array_equal(found, np.stack([volume[c] for c in channels], axis=2))


def test_a_model_of_neighbouring_slices_is_shown_them(bright, fake_engine):
    segmenter = bright(volume=VolumeRule(channels="neighbours"))
    segmenter.segment_volume(tube(0, 8, 4, 5, 9, 10), [[4, 5, 8, 9, 10, 8]])
    assert fake_engine.pictures[0][0, :, 0, 0].tolist() == [7, 8, 8]


def test_the_spacing_may_be_given_in_any_form_and_changes_nothing(bright):
    volume = tube(0, 8, 4, 5, 9, 10)
    plain = bright().segment_volume(volume, BOXES)
    for spacing in ((1, 1, 5), [0.5, 0.5, 2], np.ones(3)):
        assert np.array_equal(bright().segment_volume(volume, BOXES, spacing), plain)


def test_pictures_and_volumes_have_thresholds_of_their_own(bright):
    volume = tube(0, 4, 4, 5, 9, 10, shape=(5, 16, 16))
    strict_2d = bright(threshold=1000.0)
    assert not strict_2d.segment(volume[2], [[4, 5, 9, 10]]).any()
    assert strict_2d.segment_volume(volume, [[4, 5, 0, 9, 10, 4]]).any()
    strict_3d = bright(volume=VolumeRule(threshold=1000.0))
    assert strict_3d.segment(volume[2], [[4, 5, 9, 10]]).any()
    assert not strict_3d.segment_volume(volume, [[4, 5, 0, 9, 10, 4]]).any()
