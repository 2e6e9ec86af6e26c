"""Boxes of volumes answered whole: the region, what is asked, what is drawn."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inference.volume_region
from inference.errors import EngineError
from inference.rules import VolumeRegionRule
from inference.segment import Segmenter
from inference.volume_region import (
    cell_places,
    cell_weights,
    draw_region,
    place_channels,
    region_inputs,
    sample_volume,
    volume_region,
)
from tests.inference.builders import bundle_of, spec_of

RULE = VolumeRegionRule("volume.onnx", (8, 16, 16), margin=0.25, depth_margin=0.125)
GRID = RULE.grid


class BrightCells:
    """Stands in for every engine: a cell belongs to the object where it is brighter than 127.5."""

    def __init__(self):
        self.compiled, self.questions = [], []

    def compile_graph(self, bundle, file, settings, batch=1):
        self.compiled.append((file, batch))
        return self

    def run(self, inputs):
        assert all(value.dtype == np.float32 for value in inputs.values())
        self.questions.append({name: value.copy() for name, value in inputs.items()})
        return (inputs["crops"][:, 0].copy(),)


@pytest.fixture
def engine(monkeypatch):
    stub = BrightCells()
    monkeypatch.setattr("inference.model.compile_graph", stub.compile_graph)
    return stub


def segmenter_of(overlap="smaller-box", **rule):
    values = {"graph": "volume.onnx", "grid": GRID, "margin": 0.25, "depth_margin": 0.125}
    whole = VolumeRegionRule(**(values | rule))
    return Segmenter(bundle_of(spec_of(volume_region=whole, overlap=overlap)))


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# --- the region ---------------------------------------------------------------------------------


def test_a_region_is_the_box_with_its_margins_and_at_least_a_voxel():
    assert volume_region((4, 8, 16, 12, 10, 32), RULE) == (2, 7, 14, 14, 11, 34)


def test_the_cells_of_a_region_of_as_many_voxels_are_the_voxels():
    volume = noise(20, 30, 40)
    weights = cell_weights((5, 6, 7, 21, 22, 15), volume.shape, GRID)
    assert np.array_equal(sample_volume(volume, weights), volume[7:15, 6:22, 5:21])


def test_the_cells_of_a_region_twice_as_wide_are_means_with_their_neighbours():
    volume = np.zeros((16, 32, 32), np.uint8)
    volume[:] = np.arange(16)[:, None, None] * 10
    cells = sample_volume(volume, cell_weights((0, 0, 0, 32, 32, 16), volume.shape, GRID))
    # two voxels a cell: weights 3/4 on either of them, 1/4 on either beside them
    assert np.allclose(cells[3, 5, 5], (0.25 * 50 + 0.75 * 60 + 0.75 * 70 + 0.25 * 80) / 2)


def test_few_slices_at_a_time_give_what_all_at_once_give(monkeypatch):
    volume = noise(20, 30, 40)
    weights = cell_weights((-5, 3, 2, 45, 20, 25), volume.shape, GRID)
    whole = sample_volume(volume, weights)
    monkeypatch.setattr(inference.volume_region, "_CHUNK_VOXELS", 1)
    np.testing.assert_allclose(sample_volume(volume, weights), whole, rtol=1e-5, atol=1e-3)


def test_what_lies_outside_the_volume_is_black_and_said_to_be_outside():
    volume = np.full((8, 16, 16), 255, np.uint8)
    crops = region_inputs(volume, (-8, 0, 0, 8, 16, 8), (0, 0, 0, 8, 16, 8), GRID)["crops"]
    assert crops.shape == (1, 2, *GRID)
    assert (crops[0, 0, :, :, :8] == -1).all() and (crops[0, 0, :, :, 8:] == 1).all()
    assert (crops[0, 1, :, :, :8] == 0).all() and (crops[0, 1, :, :, 8:] == 1).all()


def test_places_are_one_on_the_faces_of_the_box():
    box = (4, 8, 16, 12, 10, 32)
    w, v, u = cell_places(box, box, (8, 4, 2))
    assert np.allclose(w, (np.arange(8) + 0.5) / 4 - 1)
    assert np.allclose(v, [-0.75, -0.25, 0.25, 0.75]) and np.allclose(u, [-0.5, 0.5])
    channels = place_channels(box, box, (8, 8, 4))
    assert channels.shape == (6, 8, 4, 2) and channels.dtype == np.float32
    assert np.allclose(channels[:3, 1, 2, 0], [w[1], v[2], u[0]])
    assert np.array_equal(channels[3:], channels[:3] ** 2)


# --- drawing ------------------------------------------------------------------------------------


def test_logits_are_trilinear_between_the_cells_and_the_mask_keeps_to_the_box():
    logits = np.full((4, 4, 4), -1.0, np.float32)
    logits[:, :, 2:] = 3.0  # from -1 at x = 3 to 3 at x = 5 voxels: 0 at 3.5
    labels = np.zeros((8, 8, 8), np.uint8)
    draw_region(labels, logits, (0, 0, 0, 8, 8, 8), (0, 1, 2, 7, 8, 5), 9)
    expected = np.zeros_like(labels)
    expected[2:5, 1:8, 4:7] = 9  # the centre of voxel 3 lies on 0, which is not above it
    assert np.array_equal(labels, expected)


@settings(max_examples=50)
@given(st.data())
def test_a_few_slices_at_a_time_draw_what_all_at_once_draw(data):
    side = st.integers(0, 11)
    low, high = zip(*(sorted((data.draw(side), data.draw(side))) for _ in range(3)), strict=True)
    box = (*low, *(edge + 1 for edge in high))
    logits = np.random.default_rng(1).normal(0, 1, GRID).astype(np.float32)
    drawn = []
    for chunk in (1 << 21, 1):
        labels = np.zeros((12, 12, 12), np.uint8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inference.volume_region, "_CHUNK_VOXELS", chunk)
            draw_region(labels, logits, volume_region(box, RULE), box, 1)
        drawn.append(labels)
    assert (drawn[0] != drawn[1]).sum() <= 1  # a logit of almost 0
    inside = np.zeros((12, 12, 12), bool)
    inside[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1] = True
    assert not drawn[0][~inside].any()


# --- answering ----------------------------------------------------------------------------------


def test_a_bright_ball_is_found_by_one_run_and_nothing_is_encoded(engine):
    z, y, x = np.mgrid[:20, :60, :60]
    ball = ((z - 9.5) / 8) ** 2 + ((y - 30.5) / 21) ** 2 + ((x - 29.5) / 20) ** 2 <= 1
    volume = np.where(ball, 200, 50).astype(np.uint8)
    before = volume.copy()
    labels = segmenter_of(grid=(16, 48, 48)).segment_volume(volume, [[10, 10, 2, 49, 51, 17]])
    overlap = 2 * (ball & (labels > 0)).sum() / (ball.sum() + (labels > 0).sum())
    assert overlap > 0.97
    assert engine.compiled == [("volume.onnx", 1)] and len(engine.questions) == 1
    assert labels.dtype == np.uint8 and np.array_equal(volume, before)


def test_the_threshold_is_the_logit_above_which_a_voxel_belongs_to_the_object(engine):
    volume = np.full((9, 20, 20), 153, np.uint8)  # logit 153 / 127.5 - 1 = 0.2
    box = [[4, 5, 2, 9, 12, 6]]
    assert (segmenter_of(threshold=0.1).segment_volume(volume, box) > 0).sum() == 6 * 8 * 5
    assert not segmenter_of(threshold=0.3).segment_volume(volume, box).any()


SMALL, LARGE = [6, 6, 3, 9, 9, 5], [2, 2, 1, 15, 15, 7]


@pytest.mark.parametrize(
    ("overlap", "boxes", "expected"),
    [
        ("smaller-box", [SMALL, LARGE], 1),
        ("smaller-box", [LARGE, SMALL], 2),
        ("smaller-box", [SMALL, SMALL], 2),
        ("later-box", [SMALL, LARGE], 2),
        ("later-box", [LARGE, SMALL], 2),
    ],
)
def test_the_model_says_which_box_a_voxel_of_two_masks_belongs_to(engine, overlap, boxes, expected):
    volume = np.full((9, 20, 20), 255, np.uint8)
    labels = segmenter_of(overlap).segment_volume(volume, boxes)
    assert (labels[3:6, 6:10, 6:10] == expected).all()
    assert set(np.unique(labels)) <= {0, 1, 2}


def test_a_box_may_be_asked_about_mirrored_along_each_axis(engine):
    volume, box = noise(15, 40, 50), [[3, 4, 0, 44, 30, 14]]
    plain = segmenter_of().segment_volume(volume, box)
    labels = segmenter_of(mirrored=True).segment_volume(volume, box)
    assert np.array_equal(labels, plain)  # the stub looks at each cell alone
    first, *mirrored = engine.questions[1:]
    assert len(mirrored) == 3
    for axis, asked in enumerate(mirrored):
        assert np.array_equal(np.flip(asked["crops"], axis + 2), first["crops"])
        turned = np.flip(asked["place"], axis + 2)
        turned[:, axis] *= -1
        assert np.array_equal(turned, first["place"])


class HollowCells:
    """The network finds a share of each box's slices, the walk what is bright in every slice."""

    def __init__(self, engine, slices):
        self.engine, self.slices, self.walks = engine, slices, 0

    def compile_graph(self, bundle, file, settings, batch=1):
        if file != "volume.onnx":
            self.walks += file == "encoder.onnx"
            return self.engine.compile_graph(bundle, file, settings, batch)
        return self

    def run(self, inputs):
        logits = np.full((1, *GRID), -1, np.float32)
        logits[:, : self.slices] = 1
        return (logits,)


BOX = [2, 2, 0, 13, 13, 8]


def hollow(monkeypatch, fake_engine, slices, doubt_below=0.5, boxes=(BOX,)):
    """Labels of a bright cuboid inside ``BOX``, 8 x 8 of its 12 x 12 pixels, and the stub."""
    stub = HollowCells(fake_engine, slices)
    monkeypatch.setattr("inference.model.compile_graph", stub.compile_graph)
    volume = np.full((9, 16, 16), 20, np.uint8)
    volume[:, 4:12, 4:12] = 200
    segmenter = segmenter_of(margin=0.0, depth_margin=0.0, min_margin=0.0, doubt_below=doubt_below)
    return segmenter.segment_volume(volume, boxes), stub, volume > 128


@pytest.mark.parametrize("slices", [0, 1])
def test_a_sparse_answer_gives_way_to_a_walk_that_finds_twice_as_much(
    monkeypatch, fake_engine, slices
):
    # 1 of 8 layers of cells is 0.125 of the box, the cuboid 64 of 144 pixels in every slice
    labels, stub, bright = hollow(monkeypatch, fake_engine, slices)
    assert np.array_equal(labels > 0, bright) and stub.walks == 1


def test_a_sparse_answer_stays_where_the_walk_finds_less_than_twice_as_much(
    monkeypatch, fake_engine
):
    labels, stub, bright = hollow(monkeypatch, fake_engine, slices=2)  # 0.25; twice is above 0.44
    assert stub.walks == 1 and (labels[:2, 2:14, 2:14] == 1).all() and not labels[4:].any()


@pytest.mark.parametrize(("slices", "doubt_below"), [(4, 0.5), (0, 0.0)])
def test_an_answer_that_is_not_sparse_or_a_model_without_doubt_opens_nothing_else(
    monkeypatch, fake_engine, slices, doubt_below
):
    assert hollow(monkeypatch, fake_engine, slices, doubt_below)[1].walks == 0


def test_a_smaller_box_lies_over_a_walked_one(monkeypatch, fake_engine):
    inner = [6, 6, 3, 9, 9, 5]
    labels, _, bright = hollow(monkeypatch, fake_engine, 0, boxes=(inner, BOX))
    assert (labels[3:6, 6:10, 6:10] == 1).all() and np.array_equal(labels > 0, bright)


def test_the_same_case_gives_the_same_labels(engine):
    volume, box = noise(15, 40, 50), [[3, 4, 0, 44, 30, 14]]
    first, second = (segmenter_of().segment_volume(volume, box) for _ in range(2))
    assert first.any() and np.array_equal(first, second)
    assert all(
        np.array_equal(value, engine.questions[1][name])
        for name, value in engine.questions[0].items()
    )


@pytest.mark.parametrize(
    "box",
    [
        *([0, 0, 0, 0, 0, 0], [29, 19, 8, 29, 19, 8], [14, 10, 4, 14, 10, 4]),
        *([3, 3, 4, 20, 15, 4], [0, 0, 0, 29, 19, 8], [-9, -9, -9, 40, 40, 40]),
        *([7, 0, 0, 7, 19, 8], [2.5, 3.5, 1.5, 2.5, 3.5, 1.5]),
    ],
)
def test_any_box_is_answered_inside_itself(engine, box, monkeypatch):
    asked = engine.run

    def everything(inputs):
        return (np.ones_like(asked(inputs)[0]),)

    monkeypatch.setattr(engine, "run", everything)
    volume = np.full((9, 20, 30), 255, np.uint8)
    labels = segmenter_of().segment_volume(volume, [box])
    low = np.maximum(np.ceil(np.array(box[:3]) - 0.5), 0).astype(int)  # centres inside the edges
    high = np.minimum(np.ceil(np.array(box[3:]) + 0.5) - 1, [29, 19, 8]).astype(int)
    window = tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
    assert labels.any() and labels[window].all()
    assert labels.sum() == labels[window].sum()
    assert np.isfinite(engine.questions[0]["place"]).all()


def test_a_volume_of_one_slice_and_one_of_one_voxel_are_answered(engine):
    for shape in ((1, 20, 30), (1, 1, 1)):
        box = [0, 0, 0, shape[2] - 1, shape[1] - 1, 0]
        labels = segmenter_of(threshold=-1.5).segment_volume(np.zeros(shape, np.uint8), [box])
        assert labels.shape == shape and labels.all()


def test_two_hundred_boxes_are_answered_by_two_hundred_runs(engine):
    volume = np.full((10, 64, 64), 255, np.uint8)
    corners = [(x, y, z) for z in (0, 5) for y in range(0, 60, 6) for x in range(0, 60, 6)]
    boxes = [[x, y, z, x + 4, y + 4, z + 3] for x, y, z in corners]
    labels = segmenter_of().segment_volume(volume, boxes)
    assert len(engine.questions) == len(boxes) == 200
    assert np.array_equal(np.unique(labels), np.arange(201))


def test_no_volume_is_turned_into_floating_point_as_a_whole(engine):
    volume = np.full((60, 256, 256), 200, np.uint8)
    box = np.array([[0, 0, 0, 255, 255, 59]] * 3)
    segmenter_of().segment_volume(volume, box)
    tracemalloc.start()
    segmenter_of().segment_volume(volume, box)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < volume.nbytes + 4 * inference.volume_region._CHUNK_VOXELS * 4


def test_pictures_are_answered_by_encoder_and_decoder_as_ever(bright):
    segmenter = bright(volume_region=RULE)
    image = np.full((16, 16), 20, np.uint8)
    image[4:9, 5:11] = 200
    assert np.array_equal(segmenter.segment(image, [[5, 4, 10, 8]]) > 0, image > 128)


def test_logits_of_another_grid_are_refused(engine, monkeypatch):
    monkeypatch.setattr(engine, "run", lambda inputs: (np.zeros((1, 8, 16, 8), np.float32),))
    with pytest.raises(EngineError, match=r"volume.onnx: expected logits \(1, 8, 16, 16\)"):
        segmenter_of().segment_volume(np.zeros((9, 20, 30), np.uint8), [[1, 1, 1, 5, 5, 5]])
