"""Only a plain, small, well-formed mask file is taken."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.errors import (
    MissingOutputError,
    OutputError,
    UnknownLabelsError,
    WrongShapeError,
    WrongTypeError,
)
from evaluation.running.outputs import Expected, take_mask

LIMIT_BYTES = 1 << 16


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


def take(outputs: Path) -> Path:
    target = outputs.parent / "masks" / "a.npz"
    target.parent.mkdir(exist_ok=True)
    take_mask(outputs, "a", target, LIMIT_BYTES)
    return target


def refused(outputs: Path, match: str) -> None:
    with pytest.raises(OutputError, match=match):
        take(outputs)
    assert not list((outputs.parent / "masks").iterdir())


def test_a_mask_is_copied_whole(outputs: Path) -> None:
    np.savez_compressed(outputs / "a.npz", segs=np.arange(6).reshape(2, 3))
    target = take(outputs)
    assert target.read_bytes() == (outputs / "a.npz").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["a.npz"]


def test_other_files_do_not_count(outputs: Path) -> None:
    np.savez(outputs / "b.npz", segs=np.zeros(1))
    with pytest.raises(MissingOutputError, match=r"expected a.npz in the outputs, found b.npz"):
        take(outputs)


def test_a_link_to_a_good_mask_is_refused(outputs: Path) -> None:
    np.savez(outputs.parent / "other.npz", segs=np.zeros(1))
    (outputs / "a.npz").symlink_to(outputs.parent / "other.npz")
    refused(outputs, "found a symbolic link")
    (outputs / "a.npz").unlink()
    os.link(outputs.parent / "other.npz", outputs / "a.npz")
    refused(outputs, "found 2 hard links")


def test_a_folder_that_became_a_link_is_refused(outputs: Path) -> None:
    outputs.rmdir()
    outputs.symlink_to(outputs.parent)
    refused(outputs, "expected a folder")


def test_a_pipe_does_not_block(outputs: Path) -> None:
    os.mkfifo(outputs / "a.npz")
    refused(outputs, "found a pipe")


def test_a_large_file_is_refused_unread(outputs: Path) -> None:
    with (outputs / "a.npz").open("wb") as stream:
        stream.truncate(1 << 40)
    refused(outputs, f"expected at most {LIMIT_BYTES} bytes")


def test_pickles_are_refused_and_never_run(outputs: Path) -> None:
    np.savez(outputs / "a.npz", segs=np.array([{"a": 1}], dtype=object))
    refused(outputs, "found pickled objects")


def test_a_mask_needs_segs_exactly_once(outputs: Path) -> None:
    np.savez(outputs / "a.npz", masks=np.zeros(1))
    refused(outputs, "expected segs once, found masks.npy")
    np.savez(outputs / "a.npz", segs=np.zeros(1))
    with pytest.warns(UserWarning, match="Duplicate"):
        with zipfile.ZipFile(outputs / "a.npz", "a") as archive:
            archive.writestr("segs.npy", b"")
    refused(outputs, "expected segs once, found segs.npy, segs.npy")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 and then nothing"])
def test_what_is_no_zip_is_refused(outputs: Path, content: bytes) -> None:
    (outputs / "a.npz").write_bytes(content)
    refused(outputs, "expected an npz file")


def test_a_damaged_member_is_refused(outputs: Path) -> None:
    with zipfile.ZipFile(outputs / "a.npz", "w") as archive:
        archive.writestr("segs.npy", b"not an array")
    refused(outputs, "expected an npz file")


def test_a_member_that_does_not_inflate_is_refused(outputs: Path) -> None:
    np.savez_compressed(outputs / "a.npz", segs=np.arange(5000))
    content = bytearray((outputs / "a.npz").read_bytes())
    content[50:90] = bytes(40)
    (outputs / "a.npz").write_bytes(content)
    refused(outputs, "expected an npz file")


def test_a_header_that_announces_gigabytes_is_refused_at_once(outputs: Path) -> None:
    with zipfile.ZipFile(outputs / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        length = (0xFFFF_FFF0).to_bytes(4, "little")
        archive.writestr("segs.npy", b"\x93NUMPY\x02\x00" + length + b" " * (8 << 20))
    refused(outputs, "expected an npz file")


def test_a_header_of_nested_brackets_is_refused(outputs: Path) -> None:
    with zipfile.ZipFile(outputs / "a.npz", "w") as archive:
        header = b"(" * 9000
        length = len(header).to_bytes(2, "little")
        archive.writestr("segs.npy", b"\x93NUMPY\x01\x00" + length + header)
    refused(outputs, "expected an npz file")


def test_a_zip_bomb_costs_nothing(outputs: Path) -> None:
    with zipfile.ZipFile(outputs / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = "{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999,), }"
        data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        archive.writestr("segs.npy", data + bytes(20 << 20))
    assert take(outputs).stat().st_size < LIMIT_BYTES


EXPECTED = Expected(shape=(4, 5), labels=2)


@pytest.mark.parametrize(
    ("segs", "kind", "message"),
    [
        (np.zeros((5, 4), np.uint8), WrongShapeError, r"must be \(4, 5\), found \(5, 4\)"),
        (np.zeros((1, 4, 5), np.uint8), WrongShapeError, r"found \(1, 4, 5\)"),
        (np.zeros((4, 5), np.float32), WrongTypeError, "must be integer, found float32"),
        (np.full((4, 5), -1, np.int8), WrongTypeError, "must be 0 or above, found -1"),
        (np.full((4, 5), 3, np.uint16), UnknownLabelsError, "must be 0 to 2, .*found 3"),
    ],
)
def test_a_mask_that_does_not_fit_its_case_says_how(
    outputs: Path, segs: NDArray[Any], kind: type[OutputError], message: str
) -> None:
    np.savez_compressed(outputs / "a.npz", segs=segs)
    with pytest.raises(kind, match=message):
        take_mask(outputs, "a", outputs.parent / "mask.npz", LIMIT_BYTES, EXPECTED)
    assert not (outputs.parent / "mask.npz").exists()


@pytest.mark.parametrize("kind", ["?", "u1", ">u2", "<i8"])
def test_any_integer_type_and_byte_order_will_do(outputs: Path, kind: str) -> None:
    np.savez(outputs / "a.npz", segs=np.ones((4, 5), kind))
    assert take_mask(outputs, "a", outputs.parent / "mask.npz", LIMIT_BYTES, EXPECTED)


def test_a_label_above_the_first_block_is_seen(outputs: Path) -> None:
    segs = np.zeros((2000, 2000), np.uint8)
    segs[-1, -1] = 9
    np.savez_compressed(outputs / "a.npz", segs=segs)
    with pytest.raises(UnknownLabelsError, match="found 9"):
        take_mask(outputs, "a", outputs.parent / "m.npz", LIMIT_BYTES, Expected((2000, 2000), 1))


@pytest.mark.parametrize(("count", "message"), [(19, "ends 1 bytes before"), (999, "goes on")])
def test_a_mask_of_another_length_than_declared_is_refused(
    outputs: Path, count: int, message: str
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((4, 5), np.uint8))
    with zipfile.ZipFile(outputs / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("segs.npy", stream.getvalue()[:128] + bytes(count))
    with pytest.raises(OutputError, match=message):
        take_mask(outputs, "a", outputs.parent / "m.npz", LIMIT_BYTES, EXPECTED)
