"""A model sees in training what ``inference`` will show it."""

import dataclasses

import numpy as np
import pytest

from inference.postprocess import Mask
from inference.rules import RegionRule
from inference.segment import Prompt as Question
from inference.segment import Segmenter
from tests.inference.builders import FakeEngine, bundle_of, spec_of
from training import augmentation, prompts
from training.store import read_store

RULE = RegionRule(side=24, margin=0.2, max_aspect=2.0, min_pixels=12.0)


@pytest.fixture
def fake_engine(monkeypatch):
    engine = FakeEngine()
    monkeypatch.setattr("inference.model.compile_graph", engine.compile_graph)
    return engine


@pytest.fixture
def samples():
    pytest.importorskip("torch")
    from training import samples

    return samples


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 60, 3), (61, 37, 3), (300, 500, 3)])
@pytest.mark.parametrize("with_prior", [False, True])
def test_a_sample_is_what_the_decoder_is_asked(samples, fake_engine, shape, with_prior, rng):
    picture = rng.integers(0, 256, shape, dtype=np.uint8)
    masks = [np.zeros(shape[:2], bool) for _ in range(2)]
    masks[0][5:20, 8:30] = rng.random((15, 22)) < 0.7
    masks[1][30:34, 2:33] = True
    edges = [(8.0, 5.0, 30.0, 20.0), (2.5, 29.75, 33.0, 34.0)]
    contexts = [(1.0, 0.25), (0.0, 0.0)]
    model = Segmenter(bundle_of(spec_of(32, region=RULE, boxes_at_once=2))).model()
    priors = [Mask(2, 1, mask[2:, 1:]) if with_prior else None for mask in masks]
    model.answer(
        model.embed(picture),
        [
            Question(edge, None, prior, bool(volume), depth)
            for edge, prior, (volume, depth) in zip(edges, priors, contexts, strict=True)
        ],
    )
    (asked,) = fake_engine.questions
    drawn = [
        prompts.DrawnPrompt(edge, context, mask, mask if with_prior else None)
        for edge, context, mask in zip(edges, contexts, masks, strict=True)
    ]
    sample = samples.assemble(picture.astype(np.float32), drawn, 32, RULE)
    np.testing.assert_allclose(sample.image, fake_engine.pictures[0][0], atol=1e-3)
    for name in ("crops", "regions", "boxes", "context"):
        np.testing.assert_allclose(getattr(sample, name), asked[name], atol=1e-3, err_msg=name)


@pytest.mark.parametrize("turn", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_edges_turn_with_their_mask(samples, turn):
    from inference.prompt import mask_edges

    mask = np.zeros((9, 14), bool)
    mask[2:5, 3:11] = True
    turned = augmentation.turned(mask, *turn)
    assert augmentation.turned_edges(mask_edges(mask), mask.shape, *turn) == mask_edges(turned)


def test_jittered_boxes_stay_inside_the_picture_and_keep_an_inside(samples, rng):
    for _ in range(300):
        x0, y0, x1, y1 = prompts.jitter((0.0, 3.0, 20.0, 5.0), (48, 64), rng)
        assert 0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 48


def test_a_roughened_mask_stays_near_its_object(samples, rng):
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    for _ in range(50):
        rough = prompts.roughen(mask, rng)
        assert rough.shape == mask.shape and not rough[:8].any() and not rough[:, 52:].any()
        assert (rough & mask).sum() > 100


def test_samples_of_pictures_and_volumes_fit_in_one_batch(samples, store):
    drawn_set = samples.SampleSet(read_store(store, "train"), 64, RULE, 3, seed=0)
    drawn = [drawn_set[i] for i in range(12)]
    assert any(sample.context[:, 0].any() for sample in drawn)
    for sample in drawn:
        assert sample.image.shape == (3, 64, 64)
        assert 0 <= sample.image.min() and sample.image.max() <= 255
        assert sample.crops.shape[1:] == (4, 24, 24) and sample.targets.shape[1:] == (24, 24)
        assert 0 <= sample.targets.min() and sample.targets.max() <= 1 + 1e-6
    batch = samples.collate(drawn)
    assert batch["images"].shape == (12, 3, 64, 64)
    assert len(batch["image_of_region"]) == len(batch["crops"]) == sum(len(s.crops) for s in drawn)


def test_a_sample_depends_on_the_seed_and_its_number_alone(samples, store):
    cases = read_store(store, "train")
    first, second, other = (samples.SampleSet(cases, 64, RULE, 3, seed) for seed in (7, 7, 8))
    there, back = [first[i].crops for i in range(4)], [second[i].crops for i in (3, 2, 1, 0)]
    assert all(map(np.array_equal, there, back[::-1]))
    assert not np.array_equal(there[0], there[1])
    assert not np.array_equal(there[0], other[0].crops)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_share_the_samples_of_one(samples, store, workers):
    drawn = samples.SampleSet(read_store(store, "train"), 64, RULE, 1, seed=1)
    alone = list(samples.batches(drawn, range(3, 5), 4, workers))
    halves = [list(samples.batches(drawn, range(3, 5), 4, 0, rank, 2)) for rank in (0, 1)]
    assert len(alone) == 2
    for step in range(2):
        together = np.empty_like(alone[step]["images"].numpy())
        together[0::2], together[1::2] = (half[step]["images"] for half in halves)
        assert np.array_equal(alone[step]["images"], together)


def test_options_that_are_off_change_no_sample(samples, store):
    from training.recipe import SampleConfig

    cases = read_store(store, "train")
    plain = samples.SampleSet(cases, 64, RULE, 1, 3)
    never = samples.SampleSet(cases, 64, RULE, 1, 3, SampleConfig(synthesis=1.0, synthesis_below=1))
    spoilt = samples.SampleSet(cases, 64, RULE, 1, 3, SampleConfig(corruption=1.0))
    for i in range(4):
        assert np.array_equal(plain[i].crops, never[i].crops)
        assert not np.array_equal(plain[i].image, spoilt[i].image)


def test_only_the_modalities_asked_for_are_drawn(samples, store):
    from training.errors import TrainingError
    from training.recipe import SampleConfig

    cases = read_store(store, "train")
    drawn = samples.SampleSet(cases, 64, RULE, 1, 0, SampleConfig(modalities=("CT",)))
    assert [case.info.modality for case in drawn.cases] == ["CT"]
    with pytest.raises(TrainingError, match="expected training cases of PET, found none"):
        samples.SampleSet(cases, 64, RULE, 1, 0, SampleConfig(modalities=("PET",)))


def test_a_store_without_objects_is_reported(samples, store):
    from training.errors import TrainingError

    drawn = samples.SampleSet(read_store(store, "train")[:1], 64, RULE, 1, 0)
    drawn.draw = lambda case, rng: None
    with pytest.raises(TrainingError, match="expected objects, found none"):
        drawn[0]


def test_cases_are_weighted_to_one(samples, store):
    weights = samples.case_weights(read_store(store, "train"))
    assert weights.sum() == pytest.approx(1)
    assert weights[1] == pytest.approx(2 * weights[0])  # the volume counts twice


# --- objects that are asked about together --------------------------------------------------------


def crowd():
    """Labels 1, 3 and 4 (2 is missing, 4 has three pixels), 4 inside 3."""
    labels = np.zeros((50, 60), np.uint16)
    labels[2:12, 3:20] = 1
    labels[20:45, 20:55] = 3
    labels[30, 30:33] = 4
    labels[33:40, 40:50] = 5
    return labels


def test_every_object_is_asked_about_beside_the_boxes_of_the_others(samples, rng):
    seen = set()
    for _ in range(300):
        drawn = prompts.draw_together(crowd(), 2, 0.0, rng)
        assert len(drawn) == 2
        for prompt in drawn:
            label = int(crowd()[prompt.target].min())
            inside = [3, 4, 5] if label == 3 else [label]
            assert np.array_equal(prompt.target, np.isin(crowd(), inside)) and label in (1, 3, 5)
            if prompt.others is None:
                seen.add(0)
                continue
            boxes = prompt.others
            assert tuple(boxes.edges[boxes.index]) == prompt.edges
            assert len(np.unique(boxes.edges, axis=0)) == len(boxes.edges) <= 3
            seen.add(len(boxes.edges))
    assert seen == {0, 1, 2, 3}  # alone, and beside some or all of the others


def inside_of(labels):
    labels = np.asarray(labels, np.uint16)
    return prompts.objects_inside(labels, prompts.ndimage.find_objects(labels.astype(int)))


def test_what_mostly_another_surrounds_lies_inside_it_and_what_is_inside_that():
    labels = np.zeros((20, 20), np.uint16)
    labels[2:18, 2:18] = 5
    labels[5:12, 5:12] = 2
    labels[7:9, 7:9] = 3
    labels[0:2, 18:20] = 4  # in the corner, beside nobody
    assert inside_of(labels) == {1: [], 2: [3], 3: [], 4: [], 5: [2, 3]}
    labels[:, :11] = 0  # 9 of 16 around the cup are the disc's now
    assert inside_of(labels)[5] == []


def test_a_ring_thinner_than_what_it_surrounds_is_the_outer_object():
    labels = np.full((10, 10), 2, np.uint16)
    labels[1:9, 1:9] = 1
    assert inside_of(labels) == {1: [], 2: [1]}


def test_neighbours_do_not_lie_inside_each_other():
    labels = np.zeros((12, 12), np.uint16)
    labels[:, :6], labels[:, 6:] = 1, 2  # all that surrounds either inside the picture, same size
    assert inside_of(labels) == {1: [], 2: []}


def test_the_boxes_of_some_pictures_are_all_tight(samples, rng):
    drawn = [prompts.draw_together(crowd(), 3, 0.0, rng) for _ in range(400)]
    tight = [np.mean([p.edges == prompts.mask_edges(p.target) for p in d]) for d in drawn]
    # half of the pictures are drawn in one way, half of those tight, and an eighth of the rest
    assert 0.2 < np.mean(np.array(tight) == 1) < 0.42
    assert 0.2 < np.mean(np.array(tight) == 0) < 0.42


def test_samples_show_the_other_boxes_as_inference_does(samples, fake_engine, rng):
    rule = dataclasses.replace(RULE, others=True)
    picture = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    boxes = np.array([[3, 2, 19, 11], [20, 20, 54, 44], [40, 33, 49, 39]])
    Segmenter(bundle_of(spec_of(32, region=rule))).segment(picture, boxes)
    edges = boxes + [0.0, 0.0, 1.0, 1.0]
    drawn = [
        prompts.DrawnPrompt(
            tuple(edge), (0.0, 0.0), crowd() > 0, None, prompts.OtherBoxes(edges, i)
        )
        for i, edge in enumerate(edges)
    ]
    sample = samples.assemble(picture.astype(np.float32), drawn, 32, rule)
    asked = np.concatenate([question["crops"] for question in fake_engine.questions])
    assert asked.shape == (3, 6, 24, 24) and asked[:, 4:].any()
    assert np.allclose(sample.crops, asked, atol=1e-3)


def test_slices_that_are_shown_as_pictures_have_other_boxes_too(samples, store, rng):
    rule = dataclasses.replace(RULE, others=True)
    from training.recipe import SampleConfig

    volumes = [c for c in read_store(store, "train") if c.is_volume]
    drawn = samples.SampleSet(volumes, 64, rule, 3, 0, SampleConfig(picture_share=1.0))
    for i in range(6):
        sample = drawn[i]
        assert sample.crops.shape[1] == 6 and not sample.context.any()


@pytest.mark.parametrize("shape", [(90, 130), (17, 300), (5, 7)])
def test_a_bent_picture_and_its_labels_go_together(rng, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = (1 + (y * 4 // shape[0]) * 4 + x * 4 // shape[1]).astype(np.uint16)
    picture = np.repeat((labels * 12).astype(np.uint8)[..., None], 3, axis=2)
    bent, named = augmentation.augment_warp(picture, labels, rng)
    assert bent.shape == picture.shape and named.dtype == np.uint16
    assert set(np.unique(named)) == set(np.unique(labels))  # nothing lost, nothing from outside
    inner = named[1:-1, 1:-1]
    alike = np.ones(inner.shape, bool)
    for a in range(3):
        for b in range(3):
            alike &= named[a : a + inner.shape[0], b : b + inner.shape[1]] == inner
    assert np.array_equal(bent[1:-1, 1:-1, 0][alike], inner[alike] * 12)
    if min(shape) > 20:
        assert 0.01 < (named != labels).mean() < 0.3


def test_no_bend_is_no_change(monkeypatch, rng):
    monkeypatch.setattr(augmentation.ndimage, "zoom", lambda c, by, order: np.zeros((17, 17)))
    picture = rng.integers(0, 256, (45, 70, 3), dtype=np.uint8)
    labels = rng.integers(0, 9, (45, 70)).astype(np.uint16)
    bent, named = augmentation.augment_warp(picture, labels, rng)
    assert np.array_equal(named, labels)
    assert np.abs(bent.astype(int) - picture).max() <= 1  # Pillow rounds down


def test_a_bend_leaves_the_border_where_it_is(rng):
    y, x = np.mgrid[:160, :160]
    rings = np.minimum(np.minimum(y, 159 - y), np.minimum(x, 159 - x)).astype(np.uint16)
    _, named = augmentation.augment_warp(np.zeros((160, 160, 3), np.uint8), rings, rng)
    edge = np.concatenate([named[0], named[-1], named[:, 0], named[:, -1]])
    assert edge.max() <= 1
    steps = np.abs(np.diff(named[20:-20, 80].astype(int)))
    assert steps.max() <= 2  # smooth: neighbours stay neighbours


def test_a_disc_is_asked_for_with_its_cup_where_objects_are_nested(samples, rng):
    labels = np.zeros((40, 40), np.uint16)
    labels[5:30, 5:30], labels[10:20, 10:20], labels[33:38, 33:38] = 1, 2, 3
    asked = {
        nested: {
            p.edges: int(p.target.sum()) for p in prompts.draw_objects(labels, 9, 0, rng, nested)
        }
        for nested in (False, True)
    }
    disc, cup, apart = 25 * 25, 10 * 10, 5 * 5
    assert sorted(asked[False].values()) == [apart, cup, disc - cup]
    assert sorted(asked[True].values()) == [apart, cup, disc]


def test_slices_shown_as_pictures_are_nested_too(samples, store):
    from training.recipe import SampleConfig

    volumes = [c for c in read_store(store, "train") if c.is_volume]
    for case in volumes:  # a block with a hole that is an object
        gts = np.zeros_like(case.gts)
        gts[:, 4:20, 4:20], gts[:, 8:14, 8:14] = 1, 2
        case = dataclasses.replace(case, gts=gts)
        most = {}
        for nested in (False, True):
            config = SampleConfig(picture_share=1.0, nested=nested)
            drawn = [
                prompts.draw_slice(case, 9, config, np.random.default_rng(i)) for i in range(4)
            ]
            most[nested] = {max(int(p.target.sum()) for p in found[1]) for found in drawn}
        assert most == {False: {256 - 36}, True: {256}}
    config = SampleConfig(picture_share=1.0, nested=True)
    assert samples.SampleSet(volumes, 64, RULE, 3, 0, config)[0].targets.any()


@pytest.mark.parametrize("kind", ["picture", "volume"])
def test_pictures_and_slices_are_bent_as_often_as_asked(samples, store, kind, monkeypatch):
    from training.recipe import SampleConfig

    bent = []

    def recorder(picture, labels, rng):
        bent.append(picture.shape)
        return np.full_like(picture, 77), labels

    monkeypatch.setattr(augmentation, "augment_warp", recorder)
    cases = [c for c in read_store(store, "train") if c.is_volume == (kind == "volume")]
    for warp, expected in ((0.0, 0), (1.0, 8)):
        bent.clear()
        config = SampleConfig(picture_share=1.0, warp=warp)
        drawn = samples.SampleSet(cases, 64, RULE, 1, 3, config)
        pictures = [drawn.draw_picture(cases[0], np.random.default_rng(i))[0] for i in range(8)]
        assert len(bent) == expected
        assert all((picture == 77).all() for picture in pictures) == (warp == 1)


def test_a_mask_at_the_border_comes_back_at_no_other_side(monkeypatch):
    class Moves:
        """Dice that move everything up and to the left, and dent nothing."""

        def random(self):
            return 1.0

        def integers(self, low, high, size):
            return np.array([low, low])

        def uniform(self, low, high):
            return low

        def normal(self, size):
            return np.ones(size) * 1e-9

    mask = np.zeros((60, 60), bool)
    mask[:30, :30] = True
    rough = prompts.roughen(mask, Moves())
    assert rough[:20, :20].all() and not rough[35:].any() and not rough[:, 35:].any()
