"""Archives of arrays: the same numbers and the same refusals, whichever library inflates them."""

import io
import sys
import zipfile

import numpy as np
import pytest

from inference import npz as npz_module
from inference.errors import CaseError
from inference.npz import read_arrays, write_array

PICTURE = np.random.default_rng(0).integers(0, 9, (40, 50, 3), dtype=np.uint8)
BOXES = np.array([[1, 2, 30, 20]], np.uint16)


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def library(request, monkeypatch):
    """Every test with isal for arrays of every size, and with isal not installed."""
    monkeypatch.setattr(npz_module, "ACCELERATED_BYTES", 0)
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")
    return request.param


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def write_npz(path, method=zipfile.ZIP_DEFLATED, prefix=b"", **members):
    """An archive of raw npy bytes behind ``prefix``."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    path.write_bytes(prefix + stream.getvalue())
    return path


def read(path):
    return read_arrays(path, ("imgs", "boxes"), ("spacing",))


def test_the_fixture_does_what_it_says(library):
    assert npz_module._deflate(1).__name__ == ("isal.isal_zlib" if library == "isal" else "zlib")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("prefix", [b"", b"what an archive that unpacks itself begins with"])
@pytest.mark.parametrize(
    "picture",
    [PICTURE, np.asfortranarray(PICTURE), PICTURE.astype(">f8"), PICTURE[:0], PICTURE[0, 0, 0]],
    ids=["C", "Fortran", "big endian", "empty", "a number"],
)
def test_arrays_are_read_as_they_were_written(tmp_path, method, prefix, picture):
    path = write_npz(tmp_path / "a.npz", method, prefix, imgs=npy(picture), boxes=npy(BOXES))
    found = read(path)
    for key, expected in (("imgs", picture), ("boxes", BOXES)):
        assert (found[key].dtype, found[key].shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found[key], expected)


def test_what_numpy_compresses_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", imgs=PICTURE, boxes=BOXES, spacing=np.ones(3))
    assert np.array_equal(read(tmp_path / "a.npz")["imgs"], PICTURE)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("shape", [(0, 5), (7, 9), (3, 200, 100)])
def test_what_is_written_numpy_reads(tmp_path, dtype, shape):
    labels = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    write_array(tmp_path / "a.npz", "segs", labels)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found.files == ["segs"]
        assert found["segs"].dtype == dtype and np.array_equal(found["segs"], labels)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


def test_a_changed_byte_is_noticed(tmp_path):
    path = write_npz(tmp_path / "a.npz", imgs=npy(PICTURE), boxes=npy(BOXES))
    whole = path.read_bytes()
    for where in range(200, 3_000, 97):
        content = bytearray(whole)
        content[where] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(CaseError, match="expected"):
            read(path)


def test_an_array_that_is_shorter_than_it_says_is_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", imgs=npy(PICTURE)[:-7], boxes=npy(BOXES))
    with pytest.raises(CaseError, match="imgs: expected 6000 bytes of data, found 5993"):
        read(path)


def test_what_follows_an_array_is_not_inflated(tmp_path):
    bomb = npy(PICTURE) + bytes(50_000_000)
    path = write_npz(tmp_path / "a.npz", imgs=bomb, boxes=npy(BOXES))
    del bomb
    found = read(path)["imgs"]
    assert np.array_equal(found, PICTURE)
    assert len(found.base.base if isinstance(found.base, np.ndarray) else found.base) < 10_000


def test_an_archive_that_is_cut_off_is_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", imgs=npy(PICTURE), boxes=npy(BOXES))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(CaseError, match="expected a readable npz"):
        read(path)
