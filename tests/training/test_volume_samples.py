"""Whole boxes of volumes as samples: what inference would show, and which cells are the object."""

import numpy as np
import pytest

from training.errors import TrainingError
from training.recipe import VOLUME_REGION, VolumeSampleConfig
from training.store import read_store

PLAIN = VolumeSampleConfig(loosened=0, moved_ends=0, coarsened=0, turned=0)


def samples_of(store, config=None, seed=1):
    from training.volume_samples import VolumeSampleSet

    return VolumeSampleSet(read_store(store, "train"), VOLUME_REGION, seed, config)


def test_a_sample_has_the_network_s_shapes(full_store):
    sample = samples_of(full_store)[0]
    z, y, x = VOLUME_REGION.grid
    assert sample.crops.shape == (2, z, y, x) and sample.place.shape == (6, z, y // 2, x // 2)
    assert sample.targets.shape == sample.inside.shape == (z, y, x)
    for array in (sample.crops, sample.place, sample.targets, sample.inside):
        assert array.dtype == np.float32
    assert np.abs(sample.crops[0]).max() <= 1 and 0 <= sample.crops[1].min()
    assert 0 <= sample.targets.min() and sample.targets.max() <= 1.0001
    assert set(np.unique(sample.inside)) == {0, 1}


def test_sample_i_depends_on_the_seed_and_on_i_alone(full_store):
    first, again, other = (
        samples_of(full_store),
        samples_of(full_store),
        samples_of(full_store, seed=2),
    )
    _ = first[3]
    assert np.array_equal(first[7].crops, again[7].crops)
    assert np.array_equal(first[7].targets, again[7].targets)
    assert not np.array_equal(first[7].crops, other[7].crops)


def test_an_unchanged_sample_is_what_inference_asks(full_store, monkeypatch):
    from inference.volume_region import region_inputs, volume_region
    from training import volume_samples
    from training.prompts import volume_boxes

    monkeypatch.setattr(volume_samples, "flip", lambda piece, rng: piece)
    monkeypatch.setattr(volume_samples, "augment_cells", lambda cells, rng: cells)
    samples = samples_of(full_store, PLAIN)
    case, label = samples.boxes[0]
    piece = samples.draw_piece(case, label, np.random.default_rng(0))
    sample = volume_samples.assemble_volume(piece, VOLUME_REGION, np.random.default_rng(0))
    x0, y0, z0, x1, y1, z1 = volume_boxes(case)[label]
    box = (x0, y0, z0, x1 + 1, y1 + 1, z1 + 1)
    region = volume_region(box, VOLUME_REGION)
    asked = region_inputs(np.asarray(case.imgs), region, box, VOLUME_REGION.grid)
    np.testing.assert_allclose(sample.crops, asked["crops"][0], atol=2e-5)
    np.testing.assert_allclose(sample.place, asked["place"][0], atol=2e-5)


def test_a_tight_box_holds_the_whole_object_and_touches_it_on_six_faces(full_store):
    samples = samples_of(full_store, PLAIN)
    for i in range(10):
        sample = samples[i]
        spilt = (sample.targets * (1 - sample.inside)).sum()
        assert spilt < 0.1 * sample.targets.sum()  # what a coarse cell at the face shares
        inside, object_cells = sample.inside > 0, sample.targets > 0.25
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            box, found = (np.flatnonzero(m.any(others)) for m in (inside, object_cells))
            assert abs(box[0] - found[0]) <= 3 and abs(box[-1] - found[-1]) <= 3


def test_what_lies_outside_the_volume_is_black_and_said_to_be_outside(full_store):
    samples = samples_of(full_store)
    for i in range(20):
        crops = samples[i].crops
        assert (crops[0][crops[1] == 0] == -1).all()


def test_boxes_are_balanced_over_modalities_and_a_store_without_volumes_is_refused(full_store):
    from training.volume_samples import VolumeSampleSet

    samples = samples_of(full_store)
    assert samples.weights.sum() == pytest.approx(1)
    assert all(case.is_volume for case, _ in samples.boxes)
    pictures = [c for c in read_store(full_store, "train") if not c.is_volume]
    with pytest.raises(TrainingError, match="expected training volumes, found none"):
        VolumeSampleSet(pictures, VOLUME_REGION, 1)
    with pytest.raises(TrainingError, match="expected training volumes of PET, found none"):
        samples_of(full_store, VolumeSampleConfig(modalities=("PET",)))


def test_workers_and_ranks_change_no_sample(full_store):
    import torch

    from training.samples import batches
    from training.volume_samples import collate_volumes

    samples = samples_of(full_store)
    alone = next(batches(samples, range(2, 3), 4, 0, together=collate_volumes))
    beside = next(batches(samples, range(2, 3), 4, 1, together=collate_volumes))
    second = next(batches(samples, range(2, 3), 4, 0, 1, 2, collate_volumes))
    assert all(torch.equal(alone[k], beside[k]) for k in alone)
    assert torch.equal(alone["targets"][1::2], second["targets"])


@pytest.mark.parametrize("size", [(10, 16, 16), (24, 40, 40), (6, 8, 8)])
@pytest.mark.parametrize("changed", ["coarsened", "moved_ends", "loosened"])
def test_where_the_volume_goes_on_a_sample_shows_it(size, changed):
    """Half of ``crops`` says which cells lie in the volume: all do, far from its borders."""
    from dataclasses import replace

    from tests.training.conftest import info_of
    from training.store import StoredCase
    from training.volume_samples import VolumeSampleSet, assemble_volume

    gts = np.zeros((120, 200, 200), np.uint16)
    at = [(n - s) // 2 for n, s in zip(gts.shape, size, strict=True)]
    gts[tuple(slice(a, a + s) for a, s in zip(at, size, strict=True))] = 1
    case = StoredCase(
        info_of(f"{changed}-{size}.npz", "3D"), np.full(gts.shape, 90, np.uint8), gts, (1, 1, 1)
    )
    samples = VolumeSampleSet([case], VOLUME_REGION, 1, replace(PLAIN, **{changed: 1.0}))
    for seed in range(25):
        rng = np.random.default_rng(seed)
        piece = samples.draw_piece(case, 1, rng)
        if piece is not None:
            assert assemble_volume(piece, VOLUME_REGION, rng).crops[1].min() > 0.99
