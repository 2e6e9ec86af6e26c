"""Splits: groups stay whole, the same every time, and the shipped one keeps its promises."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_splits.__main__ import main
from data_splits.split import (
    DEFAULT_SPLIT,
    LINKED_GROUPS,
    PLACED_GROUPS,
    SplitCase,
    deal_groups,
    read_split,
    split_cases,
    split_table,
    write_split,
)

STRATUM = ("2D", "US", "somewhere")
OTHER = ("3D", "CT", "elsewhere")


@pytest.fixture(scope="module")
def default():
    return read_split(DEFAULT_SPLIT)


# --- dealing ------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=4),
        st.sets(st.sampled_from([STRATUM, OTHER]), min_size=1),
        max_size=40,
    )
)
def test_every_group_gets_one_side_and_the_same_one_every_time(strata):
    dealt = deal_groups(strata)
    assert dealt == deal_groups(dict(reversed(strata.items())))
    assert set(dealt) == set(strata)
    assert set(dealt.values()) <= {"train", "val", "test"}


def test_a_hundred_groups_are_dealt_by_their_shares():
    dealt = list(deal_groups({f"g{i}": {STRATUM} for i in range(100)}).values())
    assert [dealt.count(side) for side in ("train", "val", "test")] == [65, 10, 25]


def test_a_group_alone_trains_and_of_two_one_is_tested():
    assert set(deal_groups({"a": {STRATUM}}).values()) == {"train"}
    assert set(deal_groups({"a": {STRATUM}, "b": {STRATUM}}).values()) == {"train", "test"}


def test_groups_placed_by_hand_lie_where_they_were_placed():
    dealt = deal_groups({group: {STRATUM} for group in PLACED_GROUPS})
    assert dealt == dict(PLACED_GROUPS)


# --- files --------------------------------------------------------------------------------------


def write_manifest(path, rows):
    with path.open("w", newline="") as file:
        names = "file dims modality source group licence redistributable".split()
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)


@pytest.fixture
def data_dir(tmp_path):
    """Ten groups of a picture each, one of which also has a case for training only."""
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed_train").mkdir()
    rows = [[f"{i}.npz", "2D", "US", "x", f"g{i}", "CC0", "yes"] for i in range(10)]
    write_manifest(tmp_path / "manifest.csv", [*rows, ["no.npz", "2D", "US", "x", "no", "?", "no"]])
    extra = [[f"t{i}.npz", "2D", "US", "x", f"g{i}", "CC0", "unknown"] for i in range(10)]
    write_manifest(tmp_path / "manifest_train.csv", extra)
    for i in range(10):
        (tmp_path / "packed" / f"{i}.case").write_text(str(i))
        (tmp_path / "packed_train" / f"t{i}.case").write_text(str(i))
    return tmp_path


def test_cases_that_may_not_be_used_are_left_out_and_training_cases_never_tested(data_dir):
    cases = split_cases(data_dir)
    assert len(cases) == 20 and "no" not in {case.group for case in cases}
    sides = {case.group: case.split for case in cases if case.pool == "packed"}
    for case in cases:
        if case.pool == "packed_train":
            assert case.split == ("train" if sides[case.group] == "train" else "unused")


def test_a_split_is_read_back_as_written(data_dir, tmp_path):
    cases = split_cases(data_dir)
    write_split(cases, tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv") == cases
    assert not (tmp_path / "split.partial").exists()


def test_the_command_writes_the_same_file_every_time(data_dir, tmp_path, capsys):
    out = tmp_path / "split.csv"
    assert main(["split", str(data_dir), "--out", str(out)]) == 0
    first = out.read_bytes()
    assert main(["split", str(data_dir), "--out", str(out)]) == 0
    assert out.read_bytes() == first
    assert "2D US" in capsys.readouterr().out


def test_a_table_that_a_spreadsheet_saved_is_the_same_table(tmp_path):
    rows = ["case,dims,modality,group", *(f"c{i},2D,US,g{i % 4}" for i in range(12))]
    plain, saved = tmp_path / "plain.csv", tmp_path / "saved.csv"
    plain.write_bytes("\n".join(rows).encode())
    saved.write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    found = split_table(saved, None)
    assert found == split_table(plain, None)
    assert {case.file for case in found} == {f"c{i}.npz" for i in range(12)}


def test_a_row_that_names_no_case_is_refused_with_its_line(tmp_path, capsys):
    table = tmp_path / "table.csv"
    for rows, where in (("dims,modality 2D,US", 2), ("case,dims,modality a,2D,US ,2D,US", 3)):
        table.write_text(rows.replace(" ", "\n"))
        assert main(["split", str(table), "--out", str(tmp_path / "out.csv")]) == 2
        assert f"table.csv:{where}: expected case or file" in capsys.readouterr().err
        assert not (tmp_path / "out.csv").exists()


# --- the shipped split --------------------------------------------------------------------------


def test_no_group_lies_on_two_sides(default):
    sides = defaultdict(set)
    for case in default:
        if case.split != "unused":
            sides[case.group].add(case.split)
    assert [group for group, found in sides.items() if len(found) > 1] == []


def test_linked_groups_are_one_group(default):
    names = {case.group for case in default}
    assert not names & set(LINKED_GROUPS)
    assert set(LINKED_GROUPS.values()) <= names


def test_placed_groups_lie_where_they_were_placed(default):
    sides = {case.group: case.split for case in default if case.split != "unused"}
    assert {group: sides[group] for group in PLACED_GROUPS} == dict(PLACED_GROUPS)


def test_the_shipped_split_is_what_dealing_gives_today(default):
    strata = defaultdict(set)
    for case in default:
        if case.pool == "packed":
            strata[case.group].add(case.stratum)
    dealt = deal_groups(strata)
    for case in default:
        side = dealt.get(case.group, "train")
        unused = case.pool == "packed_train" and side != "train"
        assert case.split == ("unused" if unused else side), case.file


def test_every_modality_of_pictures_and_of_volumes_is_trained_and_tested(default):
    sides = defaultdict(set)
    for case in default:
        sides[case.dims, case.modality].add(case.split)
    assert len({modality for dims, modality in sides if dims == "2D"}) == 11
    assert {modality for dims, modality in sides if dims == "3D"} >= {"CT", "MR", "PET"}
    assert [key for key, found in sides.items() if not {"train", "test"} <= found] == []


def test_only_cases_that_may_be_used_are_in_it(default):
    assert {case.redistributable for case in default} <= {"yes", "unknown"}
    assert {case.split for case in default if case.pool == "packed_train"} <= {"train", "unused"}


def test_every_case_stands_once_and_is_identified(default):
    assert len({(case.pool, case.file) for case in default}) == len(default)
    assert all(len(case.sha256) == 64 for case in default)
    assert all(
        isinstance(case, SplitCase) and not Path(case.file).is_absolute() for case in default
    )
