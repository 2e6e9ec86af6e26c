"""Files that live on from case to case are counted, and their use is seen."""

from pathlib import Path

from evaluation.running.carried_state import CarriedState, describe_use, find_left_files
from evaluation.running.staging import kept_folders


def test_files_that_are_read_changed_or_removed_are_used(tmp_path: Path) -> None:
    (tmp_path / "outputs" / "cache").mkdir(parents=True)
    for name in ("outputs/cache/a", "outputs/b", "outputs/c", "outputs/d"):
        (tmp_path / name).write_text("xyz")
    left = find_left_files(tmp_path)
    assert describe_use(left) == CarriedState(
        4, 12, 0, ("outputs/b", "outputs/c", "outputs/cache/a")
    )
    (tmp_path / "outputs" / "cache" / "a").read_text()
    (tmp_path / "outputs" / "b").write_text("w")
    (tmp_path / "outputs" / "c").unlink()
    assert describe_use(left).used == 3


def test_nothing_left_is_nothing_carried(tmp_path: Path) -> None:
    assert describe_use(find_left_files(tmp_path)) == CarriedState(0, 0, 0, ())


def test_only_the_case_and_its_mask_leave_kept_folders(tmp_path: Path) -> None:
    case = tmp_path / "a.npz"
    case.write_text("case")
    for expected in ((), ("inputs/note", "outputs/cache")):
        with kept_folders(tmp_path / "kept", case) as folders:
            assert folders.left is not None
            assert tuple(entry.name for entry in folders.left) == expected
            assert (folders.inputs / "a.npz").read_text() == "case"
            (folders.outputs / "a.npz").write_text("mask")
            (folders.outputs / "cache").write_text("state")
            (folders.inputs / "note").write_text("state")
        assert not (folders.inputs / "a.npz").exists()
        assert not (folders.outputs / "a.npz").exists()
