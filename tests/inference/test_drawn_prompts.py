"""Points and strokes drawn inside boxes: the published numbers, and what holds of all of them."""

import hashlib

import numpy as np
import pytest

from inference.bundle import VolumeRule
from inference.drawn_prompts import Draws
from inference.rules import DrawnPromptRule, SamRule
from inference.segment import Segmenter
from inference.stroke_drawing import largest_part
from tests.inference.builders import bundle_of, spec_of

CASE = DrawnPromptRule(stream="case")


def chequered():
    """(256, 256): four fifths of the upper 200 rows, in a pattern."""
    y, x = np.mgrid[:256, :256]
    return ((x * 7 + y * 13) % 5 > 0) & (y < 200)


PUBLISHED = [
    ((30, 40, 150, 160), [[87, 89], [82, 115], [90, 111], [94, 96]], 142, "c94d2baa3073f447"),
    ((100, 20, 107, 31), [[101, 22], [102, 28], [104, 26], [104, 22]], 19, "d6659dffe8849c9d"),
    (
        *((10.5, 150.25, 240.75, 255.0), [[122, 199], [125, 202], [125, 202], [132, 192]]),
        *(96, "2dbec801a4336227"),
    ),
    ((210, 210, 250, 250), [[230, 230]] * 4, 0, "9f1dcbc35c350d60"),
]
"""Boxes one after the other, points, pixels of the stroke and the start of their sha256, as
``get_points_256`` and ``get_scribble_256`` of the published program gave them (NumPy's seed 42,
torch's 42 with 1000 numbers gone)."""


def test_a_stream_gives_the_published_points_and_strokes_box_after_box():
    draws = Draws(DrawnPromptRule(42, "case", 1000))
    for box, points, pixels, digest in PUBLISHED:
        prompt = draws.prompt(box, chequered())
        assert prompt.points.tolist() == points
        assert prompt.stroke.sum() == pixels
        found = hashlib.sha256(np.packbits(prompt.stroke).tobytes()).hexdigest()
        assert found[:16] == digest


def test_permutations_begin_as_torchs_do():
    draws = Draws(CASE)
    counts = (1, 2, 5, 1000, 60000)  # torch.manual_seed(42), then torch.randperm(n)[0] of each
    assert [draws._first_of_permutation(n) for n in counts] == [0, 0, 2, 335, 50976]


@pytest.mark.parametrize("seed", range(40))
def test_points_and_strokes_lie_where_they_may(seed):
    random = np.random.default_rng(seed)
    shown = random.random((256, 256)) < random.choice([0.02, 0.5, 1.0])
    x0, x1 = sorted(random.integers(0, 256, 2).tolist())
    y0, y1 = sorted(random.integers(0, 256, 2).tolist())
    prompt = Draws(DrawnPromptRule(seed)).prompt((x0, y0, x1, y1), shown)
    assert prompt.points.shape == (4, 2)
    assert (prompt.points >= [x0, y0]).all() and (prompt.points <= [x1, y1]).all()
    stroke = prompt.stroke
    assert not (stroke & ~shown).any()
    rows, columns = np.nonzero(stroke)
    if rows.size:
        assert rows.size >= 6 and np.array_equal(largest_part(stroke), stroke)
        assert columns.min() >= x0 and columns.max() < x1
        assert rows.min() >= y0 and rows.max() < y1


def test_where_nothing_may_be_drawn_points_are_the_middle_and_there_is_no_stroke():
    prompt = Draws(CASE).prompt((10, 20, 31, 40), np.zeros((256, 256), np.bool_))
    assert prompt.points.tolist() == [[20, 30]] * 4 and not prompt.stroke.any()


# --- in the pipeline ----------------------------------------------------------------------------


class Remembering:
    """A model whose encoder gives two tensors and whose decoder remembers what it is asked."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.answer = 1.0
        monkeypatch.setattr("inference.model.compile_graph", self.compile_graph)

    def compile_graph(self, bundle, file, settings, batch=1):
        return type("Graph", (), {"run": self.encode if file == "encoder.onnx" else self.decode})

    def encode(self, inputs):
        return inputs["image"][:, :1], inputs["image"][:, 1:]

    def decode(self, inputs):
        assert set(inputs) == {"first", "rest", "boxes", "points", "strokes"}
        assert inputs["rest"].shape == (1, 2, 256, 256)
        assert inputs["points"].shape == (1, 4, 2)
        assert inputs["strokes"].shape == (1, 1, 256, 256)
        assert all(value.dtype == np.float32 for value in inputs.values())
        self.asked.append({name: value.copy() for name, value in inputs.items()})
        return (np.full((1, 256, 256), self.answer, np.float32),)

    def prompts(self):
        """What was drawn for each question, comparable."""
        asked, self.asked = self.asked, []
        return [(a["points"].tobytes(), a["strokes"].tobytes()) for a in asked]


@pytest.fixture
def model(monkeypatch):
    return Remembering(monkeypatch)


def segmenter_of(drawn, **changes):
    spec = spec_of(
        256,
        embedding_names=("first", "rest"),
        drawn=drawn,
        interpolation="area",
        **({"sam": SamRule()} | changes),
    )
    return Segmenter(bundle_of(spec))


PICTURE = np.random.default_rng(0).integers(1, 256, (256, 256, 3)).astype(np.uint8)
ONE, OTHER = [20, 30, 90, 110], [100, 60, 220, 200]


def test_the_decoder_is_asked_with_every_tensor_and_half_a_pixel_more(model):
    segmenter_of(DrawnPromptRule()).segment(PICTURE, [ONE])
    expected = Draws(DrawnPromptRule()).prompt((20, 30, 90, 110), np.ones((256, 256), np.bool_))
    (asked,) = model.asked
    assert asked["points"][0].tolist() == (expected.points + 0.5).tolist()
    assert np.array_equal(asked["strokes"][0, 0] > 0, expected.stroke) and expected.stroke.any()
    assert asked["boxes"].tolist() == [[20.5, 30.5, 90.5, 110.5]]


def test_nothing_is_drawn_from_padding_and_the_darkest_pixels(model):
    picture = np.zeros((128, 256), np.uint8)
    picture[:, 50:] = 200
    segmenter_of(DrawnPromptRule()).segment(picture, [[0, 0, 255, 127]])
    rows, columns = np.nonzero(model.asked[0]["strokes"][0, 0])
    assert rows.size and rows.max() < 128 and columns.min() >= 50


def test_corrected_a_box_is_asked_the_same_whatever_stands_beside_it(model):
    segmenter = segmenter_of(DrawnPromptRule())
    segmenter.segment(PICTURE, [ONE, OTHER])
    one, other = model.prompts()
    segmenter.segment(PICTURE, [OTHER, ONE])
    assert model.prompts() == [other, one]


def test_published_numbers_go_on_from_box_to_box_and_begin_anew_with_the_case(model):
    segmenter = segmenter_of(CASE)
    segmenter.segment(PICTURE, [ONE, OTHER])
    one, other = model.prompts()
    segmenter.segment(PICTURE, [ONE, OTHER])
    assert model.prompts() == [one, other]
    segmenter.segment(PICTURE, [OTHER])
    assert model.prompts() != [other]


def test_published_boxes_of_a_volume_are_walked_one_after_the_other(model):
    volume = np.broadcast_to(PICTURE[:, :, 0], (7, 256, 256))
    boxes = [[20, 30, 1, 90, 110, 5], [100, 60, 2, 220, 200, 4]]
    given = VolumeRule(box="given")

    def order(drawn):
        segmenter_of(drawn, volume=given).segment_volume(volume, boxes)
        asked, model.asked = model.asked, []
        return ["one" if a["boxes"][0, 0] == 20.5 else "other" for a in asked]

    assert order(CASE) == ["one"] * 5 + ["other"] * 3
    assert order(DrawnPromptRule()) != order(CASE)
    segmenter_of(CASE, volume=given).segment_volume(volume, boxes)
    prompts = model.prompts()
    assert len(set(prompts)) == 8  # one stream through slices too
    segmenter_of(DrawnPromptRule(), volume=given).segment_volume(volume, boxes)
    assert len(set(model.prompts())) == 2  # slices alike are asked alike


@pytest.mark.parametrize(
    ("lost_below", "expected"),
    [("same", [10.0, 10.0, 10.0]), ("float", [10.0, 10.0, 10.5])],
)
def test_a_box_given_again_below_may_be_left_uncut(model, lost_below, expected):
    model.answer = -1.0
    rule = SamRule("truncated", box_offset=0.0, lost_below=lost_below)
    volume = np.ones((3, 512, 512), np.uint8)
    segmenter_of(CASE, sam=rule).segment_volume(volume, [[21, 40, 0, 301, 320, 2]])
    assert [float(a["boxes"][0, 0]) for a in model.asked] == expected  # slices 1, 2, 0; 21 / 2
