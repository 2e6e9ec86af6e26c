"""Scribbles: how strokes are read, how they become a mask prompt, what is answered."""

import numpy as np
import pytest

from inference.bundle import BundleError
from inference.bundle_file import read_bundle
from inference.case import make_scribble_case, read_case
from inference.errors import CaseError
from inference.preprocess import Frame
from inference.rules import SamRule
from inference.scribble import BACKGROUND, stroke_grid, stroke_numbers
from inference.scribble_rule import ScribbleRule
from inference.segment import Segmenter
from tests.inference.builders import bundle_of, spec_of, write_bundle

TOUCHED, RESIZED = ScribbleRule("s.onnx"), ScribbleRule("s.onnx", "resized")


class StrokesThemselves:
    """A model whose logits are positive on the strokes, and that remembers them."""

    def __init__(self, monkeypatch):
        self.asked, self.encoded = [], 0
        monkeypatch.setattr("inference.model.compile_graph", self.compile_graph)

    def compile_graph(self, bundle, file, settings, batch=1):
        self.file = file
        return self if file == "s.onnx" else type("Encoder", (), {"run": self.encode})

    def encode(self, inputs):
        self.encoded += 1
        return (np.zeros((1, 256, 64, 64), np.float32),)

    def run(self, inputs):
        assert set(inputs) == {"embedding", "strokes"}
        assert inputs["strokes"].shape == (1, 1, 256, 256)
        assert inputs["strokes"].dtype == np.float32
        self.asked.append(inputs["strokes"][0, 0].copy())
        return (inputs["strokes"][0] - 0.5,)


@pytest.fixture
def model(monkeypatch):
    return StrokesThemselves(monkeypatch)


def segmenter_of(scribble=TOUCHED, **changes):
    spec = spec_of(256, sam=SamRule(), interpolation="area", scribble=scribble, **changes)
    return Segmenter(bundle_of(spec))


def strokes_of(shape=(256, 256)):
    """4 left above, 7 right below, background strokes at the bottom."""
    strokes = np.zeros(shape, np.uint16)
    strokes[10:14, 20:60] = 4
    strokes[100:104, 90:120] = 7
    strokes[200:204] = BACKGROUND
    return strokes


def segment(segmenter, shape, strokes):
    return segmenter.segment_case(make_scribble_case("c", np.zeros(shape, np.uint8), strokes))


def test_every_number_but_zero_and_the_background_is_an_object():
    assert stroke_numbers(strokes_of()) == [4, 7]


def test_the_answer_carries_the_numbers_of_the_strokes(model):
    found = segment(segmenter_of(), (256, 256, 3), strokes_of())
    assert np.array_equal(found, np.where(strokes_of() == BACKGROUND, 0, strokes_of()))
    assert found.dtype == np.uint8
    assert model.encoded == 1 and len(model.asked) == 2


def test_the_prompt_lies_where_the_picture_lies(model):
    segment(segmenter_of(), (128, 512), strokes_of((128, 512))[:128])
    expected = np.zeros((256, 256), np.float32)
    expected[5:7, 10:30] = 1  # half as large, 64 rows filled
    assert np.array_equal(model.asked[0], expected)


def test_labels_beyond_8_bits_are_kept_or_wrap_as_published(model):
    strokes = np.where(strokes_of() == 7, 258, 0)
    assert set(np.unique(segment(segmenter_of(), (256, 256), strokes))) == {0, 258}
    published = segmenter_of(label_type="uint8")
    assert set(np.unique(segment(published, (256, 256), strokes))) == {0, 2}


def test_a_thin_stroke_vanishes_in_the_published_resize_only():
    line = np.zeros((1024, 1024), bool)
    line[500, 100:900] = True  # a quarter of every cell that it touches: rounds to 0
    frame = Frame.fit(1024, 1024, 256, "longest-side", "area")
    assert not stroke_grid(line, frame, RESIZED).any()
    expected = np.zeros((256, 256), np.float32)
    expected[125, 25:225] = 1
    assert np.array_equal(stroke_grid(line, frame, TOUCHED)[0, 0], expected)


@pytest.mark.parametrize("shape", [(37, 100), (256, 200), (700, 300), (999, 1001)])
def test_touched_cells_are_those_that_lie_over_a_stroke(shape):
    strokes = np.random.default_rng(0).random(shape) > 0.995
    frame = Frame.fit(*shape, 256, "longest-side", "area")
    expected = np.zeros((256, 256), bool)
    for y, x in zip(*np.nonzero(strokes), strict=True):  # in whole numbers: y * rows // height ...
        top, bottom = y * frame.rows // shape[0], -(-(y + 1) * frame.rows // shape[0])
        left, right = x * frame.columns // shape[1], -(-(x + 1) * frame.columns // shape[1])
        expected[top:bottom, left:right] = True
    assert np.array_equal(stroke_grid(strokes, frame, TOUCHED)[0, 0] > 0, expected)


def test_without_strokes_nothing_is_encoded(model):
    found = segment(segmenter_of(), (20, 30, 3), np.full((20, 30), BACKGROUND))
    assert found.shape == (20, 30) and not found.any() and model.encoded == 0


def test_a_model_without_a_mask_prompt_refuses(model):
    with pytest.raises(
        CaseError, match="expected boxes .this model takes no scribbles.*, found scribbles"
    ):
        segment(segmenter_of(scribble=None), (256, 256), strokes_of())


def test_scribbles_are_read_where_there_are_no_boxes(tmp_path):
    image, strokes = np.zeros((256, 256, 3), np.uint8), strokes_of()
    np.savez(tmp_path / "a.npz", imgs=image, scribbles=strokes)
    assert np.array_equal(read_case(tmp_path / "a.npz").scribbles, strokes)
    np.savez(tmp_path / "b.npz", imgs=image, scribbles=strokes, boxes=[[1, 2, 3, 4]])
    case = read_case(tmp_path / "b.npz")
    assert case.scribbles is None and len(case.boxes) == 1


@pytest.mark.parametrize(
    ("shape", "strokes", "message"),
    [
        ((20, 30, 3), np.zeros((20, 31)), r"expected \(20, 30\) as imgs, found \(20, 31\)"),
        ((9, 20, 30), np.zeros((9, 20, 30)), r"expected a picture \(H, W\), found a volume"),
        ((20, 30), np.full((20, 30), 0.5), "whole numbers from 0"),
        ((20, 30), np.full((20, 30), -1), "whole numbers from 0 to .*, found -1 to -1"),
        ((20, 30), np.full((20, 30), np.nan), "expected finite values"),
        ((20, 30), np.full((20, 30), "a"), "expected real numbers"),
        ((20, 30), np.full((20, 30), 10**7), "whole numbers"),
    ],
)
def test_strokes_that_cannot_be_used_are_refused(tmp_path, shape, strokes, message):
    np.savez(tmp_path / "a.npz", imgs=np.zeros(shape, np.uint8), scribbles=strokes)
    with pytest.raises(CaseError, match=r"a\.npz: scribbles: .*" + message):
        read_case(tmp_path / "a.npz")


def test_a_bundle_names_the_graph_of_its_scribbles(tmp_path):
    with pytest.raises(BundleError, match=r"files: expected the digest of s\.onnx"):
        read_bundle(write_bundle(tmp_path / "b", spec_of(scribble=TOUCHED), schema=2))
