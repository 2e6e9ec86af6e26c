"""What is asked about: slices of volumes, spoilt pictures, cases as they are."""

from dataclasses import replace

import numpy as np
import pytest

from training.errors import ConfigError
from training.recipe import ValidateConfig
from training.store import read_store
from training.validation_cases import asked_cases, corrupted_case, slice_cases


def test_slices_of_a_volume_are_pictures_with_labels_of_their_own(store):
    picture, volume = read_store(store, "test")
    labels = np.zeros((8, 20, 30), np.uint16)
    labels[1:7, 2:9, 3:9] = 2  # 42 pixels a slice
    labels[3:5, 10:16, 10:20] = 5
    labels[6, 12:14, 20:25] = 1  # 10 pixels: too small
    labels[7, 12:14, 20:25] = 1
    case = replace(volume, imgs=np.arange(8 * 600, dtype=np.uint8).reshape(8, 20, 30), gts=labels)
    parts = slice_cases(case, 100)
    assert [p.info.file for p in parts] == [f"test-3D_z{z:03d}.npz" for z in range(1, 7)]
    assert all(p.info.dims == "2D" and not p.is_volume for p in parts)
    assert all(p.info.group == volume.info.group for p in parts)
    assert np.array_equal(parts[0].gts, labels[1] == 2)
    assert np.array_equal(parts[2].gts, np.choose(labels[3] // 2, [0, 1, 2]))
    assert np.array_equal(parts[5].gts, labels[6] == 2)
    assert np.array_equal(parts[5].imgs, case.imgs[6])
    assert [p.info.file[-7:-4] for p in slice_cases(case, 3)] == ["001", "003", "006"]
    assert slice_cases(picture, 3) == [] and slice_cases(case, 0) == []
    assert slice_cases(replace(case, gts=labels * 0), 3) == []


def test_a_corrupted_picture_depends_on_its_name_and_the_seed_alone(store):
    picture, _ = read_store(store, "test")
    spoilt = corrupted_case(picture, 0)
    assert spoilt.imgs.shape == picture.imgs.shape and spoilt.imgs.dtype == np.uint8
    assert (spoilt.imgs != picture.imgs).mean() > 0.1
    assert spoilt.gts is picture.gts and spoilt.info == picture.info
    assert np.array_equal(spoilt.imgs, corrupted_case(picture, 0).imgs)
    assert not np.array_equal(spoilt.imgs, corrupted_case(picture, 1).imgs)
    other = replace(picture, info=replace(picture.info, file="other.npz"))
    assert not np.array_equal(spoilt.imgs, corrupted_case(other, 0).imgs)


def test_a_grey_slice_is_spoilt_in_colour(store):
    _, volume = read_store(store, "test")
    part = slice_cases(volume, 1)[0]
    assert part.imgs.ndim == 2
    assert corrupted_case(part, 0).imgs.shape == (*part.imgs.shape, 3)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ValidateConfig(), ["2D", "3D"]),
        (ValidateConfig(dims=("3D",)), ["3D"]),
        (ValidateConfig(corrupted=True), ["2D"]),
        (ValidateConfig(slices=2), ["2D", "2D"]),
        (ValidateConfig(slices=2, corrupted=True), ["2D", "2D"]),
    ],
)
def test_the_cases_that_are_asked_about(store, config, expected):
    asked = asked_cases(read_store(store, "test"), config)
    assert [c.info.dims for c in asked] == expected


@pytest.mark.parametrize(
    "config", [ValidateConfig(slices=2, dims=("2D",)), ValidateConfig(dims=("2d",), on="test")]
)
def test_to_be_asked_about_nothing_is_refused(store, config):
    with pytest.raises(ConfigError, match="dims: expected cases of .*, found none"):
        asked_cases(read_store(store, "test"), config)


def test_a_negative_number_of_slices_is_refused(store):
    with pytest.raises(ConfigError, match="slices: expected 0 or more, found -3"):
        asked_cases(read_store(store, "test"), ValidateConfig(slices=-3))
