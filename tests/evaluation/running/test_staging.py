"""A submission sees one case without its truth, in folders that vanish."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluation.dataset import read_case
from evaluation.running.staging import fresh_folders, remove_tree, staged_case

Factory = Callable[..., Path]


def test_the_truth_is_left_out_and_the_rest_is_kept(make_case: Factory, tmp_path: Path) -> None:
    path = make_case("3DBox_CT_1", depth=4, truth=True)
    with staged_case(read_case(path), tmp_path / "work") as shown:
        assert shown.name == path.name
        with np.load(path) as given, np.load(shown) as seen:
            assert set(given) - set(seen) == {"gts"}
            for key in seen:
                np.testing.assert_array_equal(seen[key], given[key])
        with zipfile.ZipFile(shown) as archive:
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert not shown.exists()
    with np.load(path) as given:
        assert "gts" in given


def test_a_case_without_truth_is_not_copied(make_case: Factory, tmp_path: Path) -> None:
    case = read_case(make_case())
    with staged_case(case, tmp_path / "work") as shown:
        assert shown == case.path
    assert case.path.exists()


def test_fresh_folders_hold_one_copy_and_vanish(make_case: Factory, tmp_path: Path) -> None:
    path = make_case()
    path.chmod(0o600)
    with fresh_folders(tmp_path / "work", path, (os.geteuid(), os.getegid())) as folders:
        (copy,) = folders.inputs.iterdir()
        assert copy.read_bytes() == path.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o644
        assert not list(folders.outputs.iterdir())
        copy.write_bytes(b"overwritten")
    assert not list((tmp_path / "work").iterdir())
    assert path.read_bytes() != b"overwritten"


def test_an_unknown_user_may_write_to_the_outputs(make_case: Factory, tmp_path: Path) -> None:
    with fresh_folders(tmp_path / "work", make_case(), None) as folders:
        assert folders.outputs.stat().st_mode & 0o777 == 0o777


def test_closed_and_deep_folders_are_removed_but_links_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o500)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(precious)
    here = os.getcwd()
    try:
        os.chdir(tree)
        for _ in range(1500):
            os.mkdir("deeper")
            os.chdir("deeper")
        os.chmod(".", 0)
    finally:
        os.chdir(here)
    remove_tree(tree)
    assert not tree.exists()
    assert precious.stat().st_mode & 0o777 == 0o500
