"""Cases are checked once, at the edge; masks appear whole or not at all."""

import os
import re
import struct
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import case as case_module
from inference.case import check_boxes, label_type, make_case, read_case, write_mask
from inference.errors import CaseError
from tests.inference.builders import BOX, PICTURE, npy_bytes, write_members

GREY = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) % 251
VOLUME = np.arange(5 * 20 * 30).reshape(5, 20, 30) % 251


def read(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "case.npz", **arrays)
    return read_case(tmp_path / "case.npz")


def refusal(path):
    """The message of a refused file, which is one line and begins with the file's name."""
    with pytest.raises(CaseError) as caught:
        read_case(path)
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ") and "\n" not in message
    return message


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", ">u2", "i8", "f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_and_memory_order_is_read(tmp_path, dtype, order):
    imgs = np.asarray(GREY % 2 if dtype == "?" else GREY, dtype=dtype, order=order)
    found = read(tmp_path, imgs=imgs, boxes=[[1, 2, 3, 4]])
    assert found.image.dtype == np.uint8
    assert np.array_equal(found.image, (GREY % 2) * 255 if dtype == "?" else GREY)


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [((6, 7), (6, 7)), ((6, 7, 1), (6, 7)), ((6, 7, 3), (6, 7, 3)), ((6, 7, 4), (6, 7, 3))],
)
def test_pictures_have_one_three_or_four_channels(tmp_path, shape, image_shape):
    imgs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = read(tmp_path, imgs=imgs, boxes=[[0, 0, 1, 1]])
    assert not found.is_volume
    assert found.image.shape == image_shape
    kept = imgs if imgs.ndim == 2 else imgs[:, :, :3]
    assert np.array_equal(found.image, kept.reshape(image_shape))


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "u8", "f2", "f4", "f8", ">i2", "g"])
def test_boxes_are_of_any_numeric_type(tmp_path, dtype):
    found = read(tmp_path, imgs=GREY, boxes=np.array([[1, 2, 3, 4], [0, 0, 9, 9]], dtype))
    assert found.boxes.dtype == np.float64
    assert found.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 9, 9]]


def test_one_box_may_stand_alone(tmp_path):
    assert read(tmp_path, imgs=GREY, boxes=[1, 2, 3, 4]).boxes.tolist() == [[1, 2, 3, 4]]
    alone = read(tmp_path, imgs=VOLUME, boxes=[1, 2, 0, 3, 4, 4])
    assert alone.is_volume and alone.boxes.tolist() == [[1, 2, 0, 3, 4, 4]]


@pytest.mark.parametrize("name", ["2DBox_CT_1.npz", "3DBox_OCT_1.npz", "x.npz"])
def test_the_arrays_say_whether_a_case_is_a_volume_and_the_name_does_not(tmp_path, name):
    for boxes, is_volume in (([0, 0, 1, 1], False), ([0, 0, 0, 1, 1, 1], True)):
        np.savez(tmp_path / name, imgs=np.zeros((6, 7, 3), np.uint8), boxes=boxes)
        found = read_case(tmp_path / name)
        assert found.name == name and found.is_volume == is_volume
        assert found.image.shape == (6, 7, 3)


EMPTY = [np.zeros(0), np.zeros((0, 4)), np.zeros((0, 6)), np.zeros((1, 0)), np.zeros((0, 0))]


@pytest.mark.parametrize("boxes", EMPTY, ids=lambda boxes: str(boxes.shape))
def test_no_boxes_are_a_case_however_that_is_spelled(tmp_path, boxes):
    picture = read(tmp_path, imgs=GREY, boxes=boxes)
    assert picture.boxes.shape == (0, 4) and not picture.is_volume
    volume = read(tmp_path, imgs=VOLUME, boxes=boxes)
    assert volume.boxes.shape == (0, 6) and volume.is_volume


def test_without_boxes_three_channels_are_a_picture_unless_the_empty_boxes_have_six_columns():
    colour = np.zeros((6, 7, 3), np.uint8)
    assert not make_case("x", colour, np.zeros(0)).is_volume
    assert make_case("x", colour, np.zeros((0, 6))).is_volume


def test_boxes_are_clipped_to_the_picture():
    boxes = np.array([[-5, -7.5, 100, 200], [3.25, 4, 29.75, 19]])
    found = check_boxes(boxes, (20, 30))
    assert found.tolist() == [[0, 0, 29, 19], [3.25, 4, 29, 19]]


def test_a_box_may_end_at_the_number_of_slices():
    found = check_boxes(np.array([[1, 1, 2, 9, 9, 5]]), (5, 20, 30))
    assert found.tolist() == [[1, 1, 2, 9, 9, 4]]


def test_boxes_of_one_pixel_are_boxes():
    assert check_boxes(np.array([29, 19, 29, 19]), (20, 30)).tolist() == [[29, 19, 29, 19]]


def test_spacing_is_kept_as_stored(tmp_path):
    found = read(tmp_path, imgs=VOLUME, boxes=[0, 0, 0, 9, 9, 4], spacing=(0.5, 0.5, 3.0))
    assert found.spacing == (0.5, 0.5, 3.0)


@pytest.mark.parametrize(
    "spacing", [None, "isotropic", [1, 2], [0, 1, 1], [np.nan, 1, 1], np.ones(9999), [1j, 1, 1]]
)
def test_a_spacing_that_cannot_be_used_costs_no_case(tmp_path, spacing):
    assert read(tmp_path, imgs=VOLUME, boxes=[0, 0, 0, 9, 9, 4], spacing=spacing).spacing is None


def test_keys_that_mean_nothing_here_are_not_even_opened(tmp_path):
    path = write_members(tmp_path / "a.npz", imgs=PICTURE, boxes=BOX, gts=b"nonsense")
    assert read_case(path).image.shape == (4, 4)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_npy_format_is_read(tmp_path, version):
    picture = npy_bytes("|u1", (2, 3), bytes(range(6)), version)
    path = write_members(tmp_path / "a.npz", imgs=picture, boxes=npy_bytes("<f8", (0, 4)))
    assert read_case(path).image.tolist() == [[0, 1, 2], [3, 4, 5]]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"boxes": [0, 0, 1, 1]}, "imgs: expected this key, found only boxes"),
        ({"imgs": GREY, "box": 1}, "boxes: expected this key, found only box, imgs"),
        ({}, "imgs: expected this key, found only none"),
        ({"imgs": np.array([{}, None]), "boxes": [0, 0, 1, 1]}, "imgs: .*pickled"),
        ({"imgs": GREY, "boxes": np.array([[1, 2, 3, None]])}, "boxes: .*pickled"),
        ({"imgs": GREY, "boxes": [["1", "2", "3", "4"]]}, "boxes: expected real numbers"),
        ({"imgs": GREY + 1j, "boxes": [0, 0, 1, 1]}, "imgs: expected real numbers.*complex"),
        ({"imgs": GREY.astype("M8[s]"), "boxes": [0, 0, 1, 1]}, "imgs: expected real numbers"),
        ({"imgs": np.full((9, 9), np.nan), "boxes": [0, 0, 1, 1]}, "imgs: .*finite.* 81 NaN"),
        ({"imgs": [[0, np.inf]], "boxes": [0, 0, 1, 0]}, "imgs: .*finite.* 1 NaN or infinite"),
        ({"imgs": GREY, "boxes": [[0, 0, np.nan, 1]]}, "boxes: .*finite"),
        ({"imgs": GREY, "boxes": [[0, 0, np.inf, 1]]}, "boxes: .*finite"),
        ({"imgs": np.zeros(9), "boxes": [0, 0, 1, 1]}, r"imgs: expected \(H, W\).*\(9,\)"),
        ({"imgs": np.uint8(3), "boxes": [0, 0, 1, 1]}, r"imgs: expected \(H, W\).*\(\)"),
        ({"imgs": np.zeros((2, 3, 4, 5)), "boxes": [0, 0, 1, 1]}, r"imgs: .*\(2, 3, 4, 5\)"),
        ({"imgs": np.zeros((2, 3, 4, 5)), "boxes": [0] * 6}, r"imgs: expected \(D, H, W\)"),
        ({"imgs": np.zeros((9, 9, 2)), "boxes": [0, 0, 1, 1]}, r"imgs: .*\(9, 9, 2\)"),
        ({"imgs": GREY, "boxes": [0, 0, 0, 1, 1, 1]}, r"imgs: expected \(D, H, W\).*\(20, 30\)"),
        ({"imgs": VOLUME, "boxes": [0, 0, 1, 1]}, r"imgs: expected \(H, W\).*\(5, 20, 30\)"),
        ({"imgs": np.zeros((0, 9)), "boxes": [0, 0, 1, 1]}, r"imgs: .*one pixel.*\(0, 9\)"),
        ({"imgs": GREY, "boxes": [1, 2, 3]}, r"boxes: expected \(N, 4\) or \(N, 6\).*\(3,\)"),
        ({"imgs": GREY, "boxes": [[1, 2, 3, 4, 5]]}, r"boxes: expected .*\(1, 5\)"),
        ({"imgs": GREY, "boxes": [[[1, 2, 3, 4]]]}, r"boxes: expected .*\(1, 1, 4\)"),
        ({"imgs": GREY, "boxes": 7}, r"boxes: expected .*\(\)"),
        ({"imgs": GREY, "boxes": [[0, 0, 1, 1], [5, 5, 4, 9]]}, r"boxes\[1\]: .*minima.*5\.0"),
        ({"imgs": GREY, "boxes": [[5, 9, 9, 8]]}, r"boxes\[0\]: .*minima"),
        ({"imgs": VOLUME, "boxes": [[0, 0, 3, 9, 9, 2]]}, r"boxes\[0\]: .*minima"),
        ({"imgs": GREY, "boxes": [[30, 0, 40, 9]]}, r"boxes\[0\]: .*inside \(30, 20\)"),
        ({"imgs": GREY, "boxes": [[0, -9, 9, -1]]}, r"boxes\[0\]: .*inside \(30, 20\)"),
        ({"imgs": VOLUME, "boxes": [[0, 0, 5, 9, 9, 5]]}, r"boxes\[0\]: .*inside \(30, 20, 5\)"),
    ],
)
def test_a_case_that_cannot_be_used_is_refused_by_file_and_key(tmp_path, arrays, message):
    np.savez(tmp_path / "2DBox_US_1.npz", **arrays)
    assert re.search(message, refusal(tmp_path / "2DBox_US_1.npz"))


def test_more_boxes_than_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(case_module, "MAX_BOXES", 3)
    np.savez(tmp_path / "a.npz", imgs=GREY, boxes=np.tile([0, 0, 1, 1], (4, 1)))
    assert "expected at most 3 boxes, found 4" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 99, PICTURE])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert "expected a readable npz" in refusal(tmp_path / "a.npz")


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "dangling.npz").symlink_to("nowhere")
    assert "No such file" in refusal(tmp_path / "missing.npz")
    assert "No such file" in refusal(tmp_path / "dangling.npz")
    assert "found a folder or a device" in refusal(tmp_path / "folder.npz")
    assert "found a folder or a device" in refusal(tmp_path / "pipe.npz")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, part):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, imgs=np.random.default_rng(0).random((50, 50)), boxes=[0, 0, 1, 1])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    assert "expected a readable npz" in refusal(path)


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, imgs=np.full((50, 50), 77, np.uint8), boxes=[0, 0, 1, 1])
    whole = path.read_bytes()
    where = whole.index(b"MMMM")  # 77
    path.write_bytes(whole[:where] + b"X" + whole[where + 1 :])
    assert "CRC" in refusal(path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    whole = bytearray(write_members(path, imgs=PICTURE, boxes=BOX).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile and numpy may remark on what they find
        try:
            read_case(path)
        except CaseError as error:
            assert str(error).startswith("a.npz: ")


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=90))
def test_a_damaged_header_is_read_or_refused_and_nothing_else(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    write_members(path, imgs=head + bytes(99), boxes=BOX)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "imgs" in refusal(path)


@pytest.mark.parametrize(
    "shape", [(1 << 40,), (1 << 17, 1 << 17), (10**9, 10**9, 10**9), (-1, 1 << 40), (-1, 4), (-4,)]
)
def test_a_header_that_lies_is_refused_before_anything_is_read(tmp_path, shape):
    path = write_members(tmp_path / "a.npz", imgs=npy_bytes("|u1", shape, bytes(9)), boxes=BOX)
    assert "imgs: expected at most 4294967296 bytes" in refusal(path)


def test_less_data_than_declared_is_refused_without_room_for_all_of_it(tmp_path):
    declared = npy_bytes("|u1", (60_000, 60_000), bytes(99))
    path = write_members(tmp_path / "a.npz", imgs=declared, boxes=BOX)
    assert "imgs: expected 3600000000 bytes of data, found 99" in refusal(path)


def test_a_bomb_is_refused_by_what_it_declares(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs.npy", PICTURE)
        with archive.open("boxes.npy", "w") as member:  # 64 MB of zeros in 64 kB
            member.write(npy_bytes("<f8", (2_000_000, 4)))
            for _ in range(64):
                member.write(bytes(1_000_000))
    assert path.stat().st_size < 200_000
    assert "boxes: expected at most 9600000 bytes, found 64000000 declared" in refusal(path)


@pytest.mark.parametrize("descr", ["|O", "<U9", "|S9", "|V9", "<c8", "<m8[s]", "<U0", "(2,)<f4"])
def test_what_holds_no_real_numbers_is_refused_by_its_header(tmp_path, descr):
    path = write_members(tmp_path / "a.npz", imgs=npy_bytes(descr, (4, 4)), boxes=BOX)
    assert re.search("imgs: expected", refusal(path))


def test_no_pickle_is_ever_opened(tmp_path):
    evidence = tmp_path / "evidence"
    pickled = b"cos\nmkdir\n(V" + str(evidence).encode() + b"\ntR."
    path = write_members(tmp_path / "a.npz", imgs=npy_bytes("|O", (1,), pickled), boxes=BOX)
    assert "pickled" in refusal(path)
    assert not evidence.exists()


def test_an_unknown_npy_version_is_refused(tmp_path):
    path = write_members(tmp_path / "a.npz", imgs=npy_bytes("|u1", (2, 3), bytes(6), 9), boxes=BOX)
    assert "imgs: expected an npy array" in refusal(path)


# --- masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "dtype"),
    [(0, "u1"), (255, "u1"), (256, "u2"), (300, "u2"), (65_535, "u2"), (65_536, "u4")],
)
def test_labels_are_of_the_smallest_type_that_holds_them(count, dtype):
    assert np.dtype(label_type(count)) == dtype


def test_a_mask_is_read_back_under_segs(tmp_path):
    labels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    write_mask(tmp_path / "a.npz", np.asfortranarray(labels))
    with np.load(tmp_path / "a.npz") as npz:
        assert npz.files == ["segs"]
        assert npz["segs"].dtype == np.uint16 and np.array_equal(npz["segs"], labels)


def test_an_existing_mask_is_replaced_whole(tmp_path):
    (tmp_path / "a.npz").write_bytes(bytes(100_000))
    write_mask(tmp_path / "a.npz", np.ones((3, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.namelist() == ["segs.npy"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_longest_possible_name_is_written(tmp_path):
    name = "2DBox_CT_" + "x" * 242 + ".npz"
    write_mask(tmp_path / name, np.ones((3, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_mask_that_cannot_be_written_leaves_the_old_one_and_nothing_half_done(
    tmp_path, monkeypatch, failure
):
    write_mask(tmp_path / "a.npz", np.ones((3, 3), np.uint8))
    before = (tmp_path / "a.npz").read_bytes()

    def fail(member, labels, **options):
        member.write(b"half of it")
        raise failure

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(CaseError if isinstance(failure, OSError) else KeyboardInterrupt):
        write_mask(tmp_path / "a.npz", np.zeros((3, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    assert (tmp_path / "a.npz").read_bytes() == before


def test_a_folder_in_a_masks_place_is_a_refusal(tmp_path):
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(CaseError, match="a.npz: cannot write the mask"):
        write_mask(tmp_path / "a.npz", np.zeros((3, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
