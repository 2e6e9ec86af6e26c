"""The store gives back what was put in, mapped and not read."""

import numpy as np
import pytest

from tests.training.conftest import info_of
from training.errors import TrainingError
from training.store import read_store, write_store


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


def write_case(path, labels=1, **arrays):
    np.savez(
        path, imgs=np.zeros((4, 5, 3), np.uint8), gts=np.full((4, 5), labels, np.uint8), **arrays
    )


def test_a_store_is_never_half_anothers(store, tmp_path):
    before = {p.name: p.read_bytes() for p in store.iterdir()}
    write_case(tmp_path / "good.npz")
    write_case(tmp_path / "gap.npz", labels=2)
    good, absent, gap = (
        (info_of(name, "2D"), tmp_path / name) for name in ("good.npz", "absent.npz", "gap.npz")
    )
    with pytest.raises(TrainingError, match="absent.npz: expected the npz of a case"):
        write_store([good, absent], store)
    assert {p.name: p.read_bytes() for p in store.iterdir()} == before
    mapped = read_store(store, "train")[0].imgs
    shape, first = mapped.shape, mapped[0].tolist()
    with pytest.raises(TrainingError, match="gap.npz: gts: expected labels"):
        write_store([good, gap], store)
    with pytest.raises(TrainingError, match="expected a store"):  # and none that mixes two
        read_store(store, "train")
    assert mapped.shape == shape and mapped[0].tolist() == first  # a training goes on
    (store / "notes.txt").write_text("mine")
    assert write_store([good], store) == 1
    assert (store / "notes.txt").read_text() == "mine"
    assert [case.info.file for case in read_store(store, "train")] == ["good.npz"]
    assert not list(store.glob(".*"))


def test_what_no_store_can_be_made_of_is_named(tmp_path):
    write_case(tmp_path / "gap.npz", labels=2)
    np.savez(tmp_path / "bare.npz", imgs=np.zeros((4, 5, 3), np.uint8))
    for name, said in (
        ("gap.npz", "gap.npz: gts: expected labels from 1 on without gaps, found 2"),
        ("bare.npz", "bare.npz: expected the array gts, found imgs"),
    ):
        with pytest.raises(TrainingError, match=said):
            write_store([(info_of(name, "2D"), tmp_path / name)], tmp_path / "store")
    with pytest.raises(TrainingError, match="expected cases of the sides asked for, found none"):
        write_store([], tmp_path / "store")
    with pytest.raises(TrainingError, match="store: expected a store, found: No such file"):
        read_store(tmp_path / "store", "train")


def test_labels_may_lie_in_a_folder_of_their_own(tmp_path):
    (tmp_path / "truth").mkdir()
    np.savez(tmp_path / "a.npz", imgs=np.zeros((4, 5, 3), np.uint8))
    np.savez(tmp_path / "truth" / "a.npz", gts=np.ones((4, 5), np.uint8))
    assert write_store([(info_of("a.npz", "2D"), tmp_path / "a.npz")], tmp_path / "store",
                       tmp_path / "truth") == 1  # fmt: skip
    assert read_store(tmp_path / "store", "train")[0].gts.all()
