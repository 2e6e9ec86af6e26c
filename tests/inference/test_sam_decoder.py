"""SAM decoders: how they are asked, how their logits become a mask, how a volume is walked."""

import threading

import numpy as np
import pytest

from inference.bands import Bands
from inference.bundle import VolumeRule
from inference.decoder import Prompt
from inference.engine import AS_OPEN, EngineSettings
from inference.errors import EngineError
from inference.loading import GraphLoader
from inference.postprocess import Mask, cut_mask
from inference.preprocess import Frame
from inference.rules import ManyBoxesRule, SamRule
from inference.sam_decoder import _to_native, bilinear_weights, draw_whole, input_box
from inference.sam_tracking import SamTracking
from inference.segment import Segmenter
from inference.tracking import make_tracks
from tests.inference.builders import FakeEngine, FakeGraph, bundle_of, spec_of

PLAIN = SamRule(box_offset=0.0)


def frame_of(height, width, side=16, **changes):
    return Frame.fit(height, width, side, changes.get("resize", "longest-side"), "area")


def whole(mask, shape):
    picture = np.zeros(shape, bool)
    height, width = mask.inside.shape
    picture[mask.top : mask.top + height, mask.left : mask.left + width] = mask.inside
    return picture


# --- boxes --------------------------------------------------------------------------------------


def test_a_box_is_scaled_by_the_longest_side_as_it_comes_out():
    box = input_box((131, 20, 476, 41), frame_of(2604, 1726, 256), PLAIN)  # challenge.md B3
    assert box == pytest.approx((12.879, 1.966, 46.697, 3.932), abs=1e-3)


def test_a_published_box_is_cut_to_whole_pixels():
    rule = SamRule(box_scaling="truncated")
    assert input_box((131, 20, 476, 41), frame_of(2604, 1726, 256), rule) == (12, 1, 46, 3)


def test_sams_own_predictor_scales_by_the_rounded_size():
    rule = SamRule(box_scaling="resized")
    frame = frame_of(30, 7)  # 16 rows, 4 columns: 3.73 rounded up
    assert input_box((0, 0, 7, 30), frame, rule) == pytest.approx((0, 0, 6 * 4 / 7, 29 * 16 / 30))


def test_a_stretched_box_is_scaled_on_either_axis():
    frame = Frame.fit(32, 64, 16, "stretch")
    assert input_box((8, 8, 17, 17), frame, PLAIN) == (2, 4, 4, 8)


def test_the_decoder_gets_the_box_with_its_offset(bright, fake_engine):
    picture = np.zeros((16, 16), np.uint8)
    bright(sam=SamRule(box_offset=0.25)).segment(picture, [[3, 4, 9, 11]])
    assert fake_engine.boxes_asked == [(3.25, 4.25, 9.25, 11.25)]


# --- masks --------------------------------------------------------------------------------------


def test_two_nearest_logits_make_a_pixel():
    assert bilinear_weights(2, 4).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]


def dense(logits, frame, rule):
    """The same without any window."""
    if rule.interpolate == "probabilities":
        logits = 1 / (1 + np.exp(-logits)) - 0.5
    if rule.upsampling == "through-input":
        grow = bilinear_weights(len(logits), frame.side)
        logits = grow @ logits @ grow.T
    kept = logits[: frame.rows, : frame.columns]
    down, across = (
        bilinear_weights(*pair)
        for pair in zip(kept.shape, (frame.height, frame.width), strict=True)
    )
    return down @ kept @ across.T > 0


@pytest.mark.parametrize("interpolate", ["logits", "probabilities"])
@pytest.mark.parametrize(
    ("upsampling", "grid"), [("direct", 32), ("through-input", 32), ("through-input", 8)]
)
@pytest.mark.parametrize("size", [(90, 70), (20, 31), (32, 32)])
def test_drawing_only_the_window_changes_nothing(interpolate, upsampling, grid, size):
    rng = np.random.default_rng(grid)
    frame = frame_of(*size, side=32)
    rule = SamRule(upsampling=upsampling, interpolate=interpolate)
    for shift in (-6, -1.5, 0, 6):  # nothing, a few spots, half, everything
        logits = (rng.normal(size=(grid, grid)) * 2 + shift).astype(np.float32)
        mask = draw_whole(logits, frame, rule, 0.0)
        assert np.array_equal(whole(mask, size), dense(logits, frame, rule))


@pytest.mark.parametrize(("grid", "size"), [(16, 300), (300, 16), (7, 7), (1, 130), (130, 1)])
def test_a_banded_product_is_the_dense_one(grid, size):
    weights = bilinear_weights(grid, size)
    bands = Bands.of(weights)
    values = np.random.default_rng(0).normal(size=(grid, 5)).astype(np.float32)
    for start, stop in ((0, size), (size // 3, size // 3 * 2), (size - 1, size)):
        expected = weights[start:stop] @ values
        assert np.allclose(bands.times(values, start, stop), expected, atol=1e-6)
        beside = np.full((5, stop - start), np.nan, np.float32)
        bands.times_rows(np.ascontiguousarray(values.T), start, stop, beside)
        assert np.allclose(beside, expected.T, atol=1e-6)
    for first, last in ((0, 0), (grid // 2, grid - 1)):
        rows = np.flatnonzero(weights[:, first : last + 1].any(axis=1))
        expected = (rows[0], rows[-1] + 1) if rows.size else (0, 0)
        assert bands.touched(first, last) == expected


def test_a_row_that_takes_nothing_is_zero():
    bands = Bands.of(np.array([[0, 0], [1, 0], [0, 0]], np.float32))
    values = np.array([[3], [5]], np.float32)
    assert bands.times(values, 0, 3).tolist() == [[0], [3], [0]]
    assert bands.touched(0, 1) == (1, 2) and bands.touched(1, 1) == (0, 0)


def test_what_lies_in_the_padding_is_dropped():
    logits = np.full((16, 16), -1, np.float32)
    logits[:, 8:] = 5  # the picture fills columns 0..7
    assert draw_whole(logits, frame_of(32, 16), PLAIN, 0.0).is_empty


def test_a_mask_is_cut_at_a_box_by_pixel_centres():
    mask = Mask(2, 3, np.ones((4, 5), bool))  # rows 2..5, columns 3..7
    cut = cut_mask(mask, (4, 0, 6.4, 4))
    assert (cut.top, cut.left, cut.inside.shape) == (2, 4, (2, 2))
    assert cut_mask(mask, (20, 20, 30, 30)).is_empty
    assert cut_mask(mask, (0, 0, 2, 2)).is_empty


def test_a_mask_may_leave_its_box_unless_the_model_clips(bright):
    class Everywhere(FakeEngine):
        def decode(self, inputs):
            return np.ones((1, 16, 16), np.float32)

    for clip, expected in ((False, 256), (True, 4)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("inference.model.compile_graph", Everywhere().compile_graph)
            segmenter = Segmenter(bundle_of(spec_of(sam=PLAIN, clip_to_box=clip)))
            labels = segmenter.segment(np.zeros((16, 16), np.uint8), [[3, 3, 4, 4]])
        assert labels.sum() == expected


# --- pictures with many boxes -------------------------------------------------------------------


class PatchEngine(FakeEngine):
    """The bright-pixel model whose embedding is the picture in patches of 4 x 4, (1, S / 4, S / 4,
    16); the decoder of many boxes believes what was prepared, not the embedding."""

    def compile_graph(self, bundle, file, settings, batch=1):
        self.compiled.append((file, batch))
        return FakeGraph(lambda inputs: (getattr(self, file.removesuffix(".onnx"))(inputs),))

    def encoder(self, inputs):
        picture = super().encode(inputs)[0, 0]
        n = len(picture) // 4
        return picture.reshape(n, 4, n, 4).swapaxes(1, 2).reshape(1, n, n, 16)

    def prepare(self, inputs):
        assert set(inputs) == {"embedding"}
        return inputs["embedding"] + 1

    def logits(self, patches, boxes):
        n = patches.shape[1]
        picture = patches.reshape(n, n, 4, 4).swapaxes(1, 2).reshape(1, 1, 4 * n, 4 * n)
        return super().decode({"embedding": picture, "boxes": boxes})

    def decoder(self, inputs):
        assert set(inputs) == {"embedding", "boxes"}
        return self.logits(inputs["embedding"], inputs["boxes"])

    def many(self, inputs):
        assert set(inputs) == {"embedding", "kept", "boxes", "places"}
        assert len(inputs["boxes"]) == 2
        logits = self.logits(inputs["kept"] - 1, inputs["boxes"])
        self.places = inputs["places"].astype(int)
        n = inputs["embedding"].shape[1]
        patches = logits.reshape(2, n, 4, n, 4).swapaxes(2, 3).reshape(2, n * n, 4, 4)
        return patches[:, self.places]


MANY = ManyBoxesRule("prepare.onnx", "many.onnx", ("kept",), boxes_at_once=2, least=3)


@pytest.mark.parametrize("upsampling", ["direct", "through-input"])
@pytest.mark.parametrize("size", [(64, 64), (64, 37), (23, 64), (200, 150), (9, 90), (64, 1)])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_many_boxes_are_answered_as_few_are(monkeypatch, upsampling, size, count, ahead):
    rng = np.random.default_rng(count)
    picture = rng.integers(0, 256, size, dtype=np.uint8)
    low = rng.integers(0, size[::-1], (count, 2))
    boxes = np.hstack([low, low + (np.array(size[::-1]) - low - 1) // 2])
    rule, found = SamRule(upsampling=upsampling), []
    for many in (None, MANY):
        engine = PatchEngine()
        for module in ("model", "loading"):
            monkeypatch.setattr(f"inference.{module}.compile_graph", engine.compile_graph)
        bundle, settings = bundle_of(spec_of(32, sam=rule, many_boxes=many)), EngineSettings()
        loader = GraphLoader(bundle, settings) if ahead else None
        found.append(Segmenter(bundle, settings, loader).segment(picture, boxes))
    assert np.array_equal(*found)
    if count < 3:
        assert set(engine.compiled) == {("encoder.onnx", 1), ("decoder.onnx", 1)}
    else:
        graphs = {("encoder.onnx", 1), ("prepare.onnx", 1), ("many.onnx", AS_OPEN)}
        assert set(engine.compiled) == graphs and len(engine.compiled) == 3
        assert len(engine.questions) == -(-count // 2)
        rows, columns = (-(-side * 32 // max(size)) // 4 for side in size)
        whole, wanted = 8 * 8, len(engine.places)
        assert (rows + 1) * (columns + 1) >= wanted and (wanted < whole or min(size) > 50)


@pytest.mark.parametrize("threads", [1, 2])
def test_many_boxes_are_decoded_two_runs_at_a_time_where_there_are_threads(monkeypatch, threads):
    streams, who = {}, []
    together = threading.Barrier(threads, timeout=10)

    class Engine(PatchEngine):
        def compile_graph(self, bundle, file, settings, batch=1):
            streams[file] = settings.streams
            return super().compile_graph(bundle, file, settings, batch)

        def many(self, inputs):
            who.append(threading.current_thread())
            together.wait()  # broken, an error, unless as many come at a time
            return super().many(inputs)

    monkeypatch.setattr("inference.model.compile_graph", Engine().compile_graph)
    bundle = bundle_of(spec_of(32, sam=PLAIN, many_boxes=MANY))
    segmenter = Segmenter(bundle, EngineSettings(threads=threads))
    segmenter.segment(np.zeros((32, 32), np.uint8), [[1, 1, 9, 9]] * 8)
    assert streams == {"encoder.onnx": 1, "prepare.onnx": 1, "many.onnx": threads}
    assert len(who) == 4 and (threading.main_thread() in who) == (threads == 1)


def test_slices_of_volumes_and_kept_pictures_have_the_usual_decoder(monkeypatch):
    engine = PatchEngine()
    monkeypatch.setattr("inference.model.compile_graph", engine.compile_graph)
    segmenter = Segmenter(bundle_of(spec_of(32, sam=PLAIN, many_boxes=MANY)))
    segmenter.segment_volume(np.zeros((3, 32, 32), np.uint8), [[1, 1, 0, 9, 9, 2]] * 5)
    segmenter.embed(np.zeros((32, 32), np.uint8)).segment([[1, 1, 9, 9]] * 5)
    assert {file for file, _ in engine.compiled} == {"encoder.onnx", "decoder.onnx"}


def test_the_way_from_logits_to_the_picture_is_known_before_the_encoder_is(monkeypatch):
    class Broken(FakeEngine):
        def compile_graph(self, *of):
            known.append(_to_native.cache_info().currsize)
            raise EngineError("no encoder")

    known = []
    _to_native.cache_clear()
    monkeypatch.setattr("inference.model.compile_graph", Broken().compile_graph)
    with pytest.raises(EngineError):
        Segmenter(bundle_of(spec_of(32, sam=PLAIN))).segment(
            np.zeros((20, 30), np.uint8), [[1, 1, 9, 9]]
        )
    assert known == [2]  # down and across


# --- volumes ------------------------------------------------------------------------------------


def tracking(rule=PLAIN, side=64, size=(64, 64), **volume):
    return SamTracking(spec_of(side, sam=rule, volume=VolumeRule(**volume)), rule, *size)


def track(label=1, box=(10, 10, 0, 40, 40, 8)):
    return make_tracks([[0, 0, 0, 1, 1, 1]] * (label - 1) + [list(box)])[-1]


def square(top, left, height, width):
    return Mask(top, left, np.ones((height, width), bool))


def asked(rule, prior, label=1, **volume):
    return tracking(rule, **volume).prompt(track(label), 5, prior).input_box


def test_the_next_box_is_around_the_last_mask_grown_and_kept_in_the_input():
    assert asked(PLAIN, square(20, 30, 5, 6), box_growth=3.0) == (27, 17, 38, 27)
    assert asked(PLAIN, square(0, 60, 64, 4), box_growth=3.0) == (57, 0, 63, 63)


def test_published_boxes_may_end_one_beyond_the_last_pixel():  # challenge.md B9
    rule = SamRule(box_limit="edge")
    assert asked(rule, square(0, 60, 64, 4), box_growth=3.0) == (57, 0, 64, 64)


def test_a_lost_object_is_asked_for_with_the_given_box():
    empty = Mask(0, 0, np.zeros((0, 0), bool))
    for prior in (None, empty):
        assert asked(PLAIN, prior, box_growth=3.0) == (10, 10, 40, 40)


def test_the_given_box_every_time():
    assert asked(PLAIN, square(20, 30, 5, 6), box="given") == (10, 10, 40, 40)


@pytest.mark.parametrize(("label", "kept"), [(1, False), (2, False), (3, True), (9, True)])
def test_a_published_thin_object_vanishes_for_small_labels_only(label, kept):  # challenge.md B8
    rule = SamRule(next_box="resized-label")
    step = SamTracking(spec_of(64, sam=rule), rule, 256, 256)
    line = square(100, 80, 1, 40)  # a quarter of a pixel high at 64: round(label / 4)
    box = step.prompt(track(label, (10, 10, 0, 200, 200, 8)), 5, line).input_box
    assert (box == (20, 25, 29, 25)) is kept
    if not kept:
        assert box == (2.5, 2.5, 50, 50)  # the given one


@pytest.mark.parametrize(
    ("z_range", "box", "expected"),
    [
        ("closed", (2, 7), [4, 5, 6, 7, 3, 2]),
        ("without-last", (2, 7), [4, 5, 6, 3, 2]),
        ("inner", (2, 7), [4, 5, 6, 3]),
        ("without-last", (3, 4), [3]),
        ("inner", (3, 3), [3]),
    ],
)
def test_published_ranges_leave_out_end_slices(bright, fake_engine, z_range, box, expected):
    volume = np.zeros((9, 16, 16), np.uint8)
    volume[:, 0, 0] = np.arange(9)
    segmenter = bright(sam=PLAIN, volume=VolumeRule(z_range=z_range))
    segmenter.segment_volume(volume, [[4, 5, box[0], 9, 10, box[1]]])
    slices = [int(q["embedding"][0, 0, 0, 0]) for q in fake_engine.questions]
    assert slices == expected


def test_published_embeddings_are_those_of_the_slice_encoded_last(fake_engine):  # B6
    volume = np.zeros((5, 16, 16), np.uint8)
    volume[:, 0, 0] = np.arange(5)
    boxes = [[4, 5, 0, 9, 10, 2], [2, 3, 0, 7, 8, 3]]
    spec = spec_of(sam=PLAIN, volume=VolumeRule(embeddings="last-encoded"))
    one_thread = EngineSettings(threads=1)  # two encode in no certain order
    Segmenter(bundle_of(spec), one_thread).segment_volume(volume, boxes)
    seen = [int(q["embedding"][0, 0, 0, 0]) for q in fake_engine.questions]
    # box 1: middle 1, up 2, down 0; box 2: middle 1 and 2 (both read as 0), 3, down 0 (read as 3)
    assert seen == [1, 2, 0, 0, 0, 3, 3]
    encoded = [int(picture[0, 1, 0, 0]) for picture in fake_engine.pictures]
    assert encoded == [1, 2, 0, 3]


def test_a_corrected_volume_answers_every_box_from_its_own_slices(bright, fake_engine):
    volume = np.zeros((5, 16, 16), np.uint8)
    volume[:, 0, 0] = np.arange(5)
    bright(sam=PLAIN).segment_volume(volume, [[4, 5, 0, 9, 10, 2], [2, 3, 0, 7, 8, 3]])
    seen = sorted(int(q["embedding"][0, 0, 0, 0]) for q in fake_engine.questions)
    assert seen == [0, 0, 1, 1, 2, 2, 3]


def test_an_empty_slice_is_asked_for_once(bright, fake_engine):
    bright(sam=PLAIN).segment_volume(np.zeros((5, 16, 16), np.uint8), [[4, 5, 1, 9, 10, 3]])
    assert len(fake_engine.questions) == 3


# --- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "expected"), [("as-needed", 257), ("uint8", 1)])
def test_published_labels_wrap_at_256(bright, kind, expected):  # challenge.md B2
    picture = np.full((16, 16), 200, np.uint8)
    boxes = [[2, 2, 9, 9]] * 257
    labels = bright(sam=PLAIN, label_type=kind).segment(picture, boxes)
    assert labels.max() == expected


def test_a_prompt_that_says_its_own_box_is_asked_with_it(bright, fake_engine):
    model = bright(sam=PLAIN).model()
    embedding = model.embed(np.zeros((16, 16), np.uint8))
    model.answer(embedding, [Prompt((2, 2, 9, 9), input_box=(1, 2, 3, 4))])
    assert fake_engine.boxes_asked == [(1, 2, 3, 4)]
