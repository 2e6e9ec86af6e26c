"""Folds, tables, and the leaks of a split."""

import csv
import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from data_splits.__main__ import main
from data_splits.leaks import find_leaks, find_lookalikes
from data_splits.picture_hash import fingerprint, near_duplicates
from data_splits.split import SplitCase, read_split


def case(file, split, group="g", sha256="", modality="US"):
    return SplitCase(file, "2D", modality, "x", group, split, "", "", "", sha256)


def scene(seed: int, side: int = 96) -> np.ndarray:
    """A smooth picture of its own for each seed."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = ndimage.gaussian_filter(noise, 6)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    return smooth.astype(np.uint8)


def test_leaks_that_the_table_shows():
    cases = [case("a", "train", "g1", "d1"), case("b", "test", "g1", "d2"),
             case("c", "test", "g2", "d1"), case("c", "test", "g2", "d1"),
             case("d", "unused", "g2", "d3")]  # fmt: skip
    kinds = Counter(leak.kind for leak in find_leaks(cases))
    assert kinds == {"group": 1, "digest": 1, "listed twice": 1}
    assert not list(find_leaks([case("a", "train", "g1"), case("b", "test", "g2")]))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p,
        lambda p: np.clip(p * 0.8 + 30, 0, 255).astype(np.uint8),
        lambda p: p[:, ::-1],
        lambda p: np.rot90(p),
        lambda p: np.array(Image.fromarray(p).resize((163, 150))),
        lambda p: np.clip(p + np.random.default_rng(1).normal(0, 6, p.shape), 0, 255).astype("u1"),
        lambda p: np.repeat(p[..., None], 3, axis=2),
    ],
    ids=["same", "brighter", "mirrored", "turned", "larger", "noisy", "colour"],
)
def test_a_changed_copy_is_found_among_other_pictures(change):
    train = [fingerprint(scene(seed)) for seed in range(40)]
    found = near_duplicates([fingerprint(change(scene(7)))], train)
    assert [(one, other) for one, other, _ in found] == [(0, 7)]


def test_other_pictures_and_constant_ones_are_no_duplicates():
    first = [fingerprint(scene(seed)) for seed in range(40)]
    second = [fingerprint(scene(seed)) for seed in range(40, 80)]
    flat = [fingerprint(np.zeros((50, 50), np.uint8))]
    assert near_duplicates(first, second) == []
    assert near_duplicates(flat, flat) == []


def test_lookalikes_and_changed_files_are_told(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        np.savez_compressed(tmp_path / f"{name}.npz", imgs=scene(seed))
    cases = [case("a.npz", "train", "1"), case("b.npz", "test", "2"), case("c.npz", "test", "3"),
             case("gone.npz", "test", "4"), case("c.npz", "val", "5", "0" * 64)]  # fmt: skip
    leaks = find_lookalikes(cases, [tmp_path])
    assert Counter(leak.kind for leak in leaks) == {"looks the same": 1, "file": 2}
    assert "a.npz" in next(k.detail for k in leaks if k.kind == "looks the same")
    apart = [cases[0], replace(cases[1], modality="CT")]
    assert find_lookalikes(apart, [tmp_path]) == []


@pytest.fixture
def table(tmp_path):
    """60 cases of 20 groups and two modalities, one of them refused."""
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "status", "dims", "modality", "group", "source", "licence"])
        for i in range(60):
            status = "refused" if i == 59 else "ok"
            writer.writerow(
                [f"c{i}", status, "2D", "US" if i % 2 else "CT", f"g{i % 20}", "s", "X"]
            )
            if status == "ok":
                (tmp_path / f"c{i}.npz").write_bytes(b"%d" % i)
    return tmp_path / "t.csv"


def test_folds_are_even_whole_and_the_same_every_time(table, tmp_path):
    call = ["split", str(table), "--cases", str(tmp_path), "--folds", "5", "--out"]
    assert main([*call, str(tmp_path / "a.csv")]) == 0
    assert main([*call, str(tmp_path / "b.csv")]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    cases = read_split(tmp_path / "a.csv")
    assert len(cases) == 59
    groups = Counter({c.group: c.split for c in cases}.values())
    assert groups == {f"fold{i}": 4 for i in range(5)}
    for modality in ("US", "CT"):
        folds = {c.group: c.split for c in cases if c.modality == modality}
        assert Counter(folds.values()) == {f"fold{i}": 2 for i in range(5)}
    assert not list(find_leaks(cases))
    first = next(c for c in cases if c.file == "c0.npz")
    assert first.sha256 == hashlib.sha256(b"0").hexdigest() and first.licence == "X"


def test_shares_and_seeds_are_options_and_false_ones_refused(table, tmp_path, capsys):
    out = ["--out", str(tmp_path / "s.csv")]
    assert main(["split", str(table), "--shares", "train=0.5,test=0.5", *out]) == 0
    one = read_split(tmp_path / "s.csv")
    assert Counter({c.group: c.split for c in one}.values()) == {"train": 10, "test": 10}
    assert main(["split", str(table), "--shares", "train=0.5,test=0.5", "--seed", "z", *out]) == 0
    assert read_split(tmp_path / "s.csv") != one
    for wrong in (
        ["--shares", "a=2"],
        ["--shares", "x"],
        ["--folds", "1"],
        ["--folds", "3", "--shares", "a=1"],
        ["--cases", str(tmp_path / "no")],
    ):
        assert main(["split", str(table), *wrong, *out]) == 2
    assert main(["split", str(tmp_path / "none"), *out]) == 2


def test_the_command_ends_with_1_where_there_is_a_leak(table, tmp_path, capsys):
    out = tmp_path / "s.csv"
    main(["split", str(table), "--out", str(out)])
    assert main(["check-split", str(out)]) == 0
    out.write_text(out.read_text().replace(",train,", ",test,", 1))
    assert main(["check-split", str(out)]) == 1
    assert "group: " in capsys.readouterr().out
    assert main(["check-split", str(table)]) == 2
