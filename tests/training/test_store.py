"""The store gives back what was put in, mapped and not read."""

import numpy as np

from training.store import read_store


def test_cases_come_back_by_split_with_their_arrays(store):
    picture, volume = read_store(store, "test")
    assert (picture.info.file, volume.info.file) == ("test-2D.npz", "test-3D.npz")
    assert picture.imgs.shape == (48, 64, 3) and picture.gts.shape == (48, 64)
    assert volume.imgs.shape == volume.gts.shape == (9, 32, 32)
    assert volume.gts.dtype == picture.gts.dtype == np.uint16
    assert isinstance(volume.imgs, np.memmap)
    assert read_store(store, "val") == []


def test_the_spacing_of_a_volume_is_turned_to_the_order_of_its_axes(store):
    picture, volume = read_store(store, "train")
    assert picture.spacing_mm == (1, 1)
    assert volume.spacing_mm == (2.5, 0.8, 0.7)
