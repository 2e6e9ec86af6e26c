"""How much lies in folders, also where they cannot be looked into."""

import os
from pathlib import Path
from typing import Any

import pytest

from evaluation.running.quota import Quota


def test_a_folder_that_cannot_be_looked_into_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    quota = Quota([tmp_path], 10**9, 10)
    assert quota.excess(quota.measure()) == ""
    scandir = os.scandir

    def as_no_root(place: Any) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", as_no_root)
    assert "found a closed one" in quota.excess(quota.measure())
    # root's in a container: a temporary folder as any program makes it
    monkeypatch.setattr(os, "geteuid", lambda: os.lstat(tmp_path).st_uid + 1)
    assert quota.excess(quota.measure()) == ""


def test_what_is_removed_while_it_is_counted_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    class Removed:
        path = name = "gone"

        def stat(self, follow_symlinks: bool) -> Any:
            raise FileNotFoundError(2, "No such file")

        def is_dir(self, follow_symlinks: bool) -> bool:
            return False

    class Found:
        def __init__(self, place: Any) -> None:
            self._entries = [Removed(), *scandir(place)]

        def __enter__(self) -> Any:
            return iter(self._entries)

        def __exit__(self, *_: object) -> None:
            return None

    (tmp_path / "big").write_bytes(bytes(100_000))
    monkeypatch.setattr(os, "scandir", Found)
    quota = Quota([tmp_path], 10_000, 10)
    written = quota.measure()
    assert written.entries == 2 and written.size_bytes >= 100_000 and quota.excess(written)
