"""Every trap is named; what is put right is right; sheets show what they should."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from data_splits.__main__ import main
from data_splits.case_findings import case_findings
from data_splits.check import check_file
from data_splits.label_findings import mask_findings, truth_findings
from data_splits.show import CAPTION_PX, COLOURS, TILE_PX, planes_of

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
VOLUME = np.random.default_rng(0).integers(0, 256, (6, 20, 30)).astype(np.uint8)
GTS = np.zeros((20, 30), np.uint8)
GTS[2:6, 3:9], GTS[10:15, 20:28] = 1, 2
BOXES = np.array([[3, 2, 8, 5], [20, 10, 27, 14]])
GTS3 = np.zeros((6, 20, 30), np.uint8)
GTS3[1:4, 2:6, 3:9] = 1
BOXES3 = np.array([[3, 2, 1, 8, 5, 3]])
SPACING = np.array([1.0, 1.0, 3.0])


def picture(**changes):
    return {"imgs": IMAGE, "boxes": BOXES} | changes


def volume(**changes):
    return {"imgs": VOLUME, "boxes": BOXES3, "spacing": SPACING} | changes


def codes(findings):
    return [f.code for f in findings]


def test_sound_files_have_no_findings():
    assert codes(case_findings("2DBox_US_1", picture())) == []
    assert codes(case_findings("3DBox_CT_1", volume())) == []
    assert codes(truth_findings("2DBox_US_1", {"gts": GTS}, picture())) == []
    truth = {"gts": GTS3, "spacing": SPACING}
    assert codes(truth_findings("3DBox_CT_1", truth, volume())) == []
    assert codes(mask_findings("2DBox_US_1", {"segs": GTS}, picture())) == []


@pytest.mark.parametrize(
    ("name", "case", "code"),
    [
        ("2DBox_thing_1", picture(), "modality"),
        ("3DBox_US_1", picture(), "prefix"),
        ("US_1", picture(), "prefix"),
        ("2DBox_US_1", picture(gts=GTS), "gts-in-case"),
        ("2DBox_US_1", {"imgs": IMAGE}, "no-boxes"),
        ("2DBox_US_1", {"boxes": BOXES}, "no-imgs"),
        ("2DBox_US_1", picture(imgs=IMAGE.astype(np.uint16) * 9), "imgs-type"),
        ("2DBox_US_1", picture(imgs=np.full((20, 30, 3), np.nan)), "not-finite"),
        ("2DBox_US_1", picture(imgs=IMAGE[:, :, 0]), "grey"),
        ("2DBox_US_1", picture(imgs=np.dstack([IMAGE, IMAGE[:, :, :1]])), "alpha"),
        ("2DBox_US_1", picture(imgs=np.zeros_like(IMAGE)), "constant"),
        ("2DBox_US_1", picture(boxes=np.array([3, 2, 8, 5])), "boxes-shape"),
        ("2DBox_US_1", picture(boxes=np.zeros((0, 4))), "boxes-shape"),
        ("2DBox_US_1", picture(boxes=np.array([[8, 2, 3, 5]])), "reversed"),
        ("2DBox_US_1", picture(boxes=np.array([[3, 25, 8, 28]])), "outside"),
        ("2DBox_US_1", picture(boxes=np.array([[3, 2, 30, 20]])), "past-edge"),
        ("2DBox_US_1", picture(boxes=np.array([[3.5, 2, 8, 5]])), "fractions"),
        ("2DBox_US_1", picture(boxes=np.repeat(BOXES, 150, axis=0)), "many"),
        ("3DBox_CT_1", volume(boxes=np.array([[3, 2, 1, 8, 5, 1]])), "one-slice"),
        ("3DBox_CT_1", {"imgs": VOLUME, "boxes": BOXES3}, "no-spacing"),
        ("3DBox_CT_1", volume(spacing=np.array([3.0, 1.0, 1.0])), "spacing-order"),
        ("3DBox_CT_1", volume(spacing=np.array([1.0, 0.0, 1.0])), "spacing"),
    ],
)
def test_traps_of_cases_are_named(name, case, code):
    assert code in codes(case_findings(name, dict(case)))


@pytest.mark.parametrize(
    ("truth", "code"),
    [
        ({}, "no-gts"),
        ({"gts": GTS.astype(np.float32)}, "float"),
        ({"gts": -GTS.astype(np.int16)}, "negative"),
        ({"gts": np.zeros_like(GTS)}, "empty"),
        ({"gts": GTS * 3}, "gaps"),
        ({"gts": (GTS > 0) * np.uint8(255)}, "gaps"),
        ({"gts": GTS > 0}, "bool"),
        ({"gts": GTS[:, 1:]}, "shape"),
        ({"gts": (GTS == 1).astype(np.uint8)}, "count"),
        ({"gts": np.array([0, 2, 1], np.uint8)[GTS]}, "order"),
    ],
)
def test_traps_of_truth_are_named(truth, code):
    assert code in codes(truth_findings("2DBox_US_1", dict(truth), picture()))


def test_traps_of_masks_are_named():
    many = picture(boxes=np.repeat(BOXES, 150, axis=0))
    assert "uint8" in codes(mask_findings("x", {"segs": GTS}, many))
    assert codes(mask_findings("x", {"segs": GTS + 5}, picture())) == ["beyond", "missing"]
    assert codes(mask_findings("x", {"segs": GTS * (GTS == 1)}, picture())) == ["missing"]
    assert "shape" in codes(mask_findings("x", {"segs": GTS[1:]}, picture()))
    assert codes(mask_findings("x", {"gts": GTS}, picture())) == ["no-segs"]


def test_fixed_files_have_no_findings_left(tmp_path, capsys):
    cases, truth = tmp_path / "cases", tmp_path / "truth"
    cases.mkdir(), truth.mkdir()
    np.savez(
        cases / "2DBox_US_1.npz",
        imgs=IMAGE[:, :, 0].astype(np.float32),
        boxes=BOXES + [0, 0, 30, 0],
    )  # noqa: E501
    np.savez(cases / "3DBox_CT_1.npz", **volume(spacing=SPACING[::-1], spacing_xyz_mm=SPACING))
    np.savez(truth / "2DBox_US_1.npz", gts=(GTS * 100).astype(np.float64))
    np.savez(truth / "3DBox_CT_1.npz", gts=GTS3, spacing=SPACING)
    for folder, more in ((cases, []), (truth, ["--cases", str(cases)])):
        assert main(["check", str(folder), *more]) == 1
        out = tmp_path / f"fixed-{folder.name}"
        assert main(["check", str(folder), *more, "--fix", "--out", str(out)]) == 0
        assert main(["check", str(out), "--kind", folder.name]) == 0
    with np.load(tmp_path / "fixed-truth" / "2DBox_US_1.npz") as fixed:
        assert np.array_equal(fixed["gts"], GTS) and fixed["label_values"].tolist() == [100, 200]
    with np.load(tmp_path / "fixed-cases" / "2DBox_US_1.npz") as fixed:
        assert np.array_equal(fixed["imgs"], np.repeat(IMAGE[:, :, :1], 3, axis=2))
        assert fixed["boxes"][:, 2].tolist() == [29, 29]
    with np.load(tmp_path / "fixed-cases" / "3DBox_CT_1.npz") as fixed:
        assert fixed["spacing"].tolist() == SPACING.tolist()
    assert main(["check", str(cases), "--fix"]) == 2


def test_gaps_are_left_alone_where_the_boxes_contradict():
    truth = {"gts": GTS * 3}
    findings = list(truth_findings("x", truth, picture(boxes=BOXES[:1])))
    assert not next(f for f in findings if f.code == "gaps").fixed
    assert truth["gts"].max() == 6


def test_broken_doubled_pickled_and_missing_files_are_told(tmp_path, capsys):
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "pickled.npz", imgs=np.array([{}], object))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(
        tmp_path / "twice.npz", "w"
    ) as archive:  # fmt: skip
        for _ in range(2):
            with archive.open("segs.npy", "w") as stream:
                np.lib.format.write_array(stream, GTS)
    found = {
        name: check_file(tmp_path / f"{name}.npz", "masks", None)[0][0].code
        for name in ("broken", "pickled", "twice")
    }
    assert found == {"broken": "unreadable", "pickled": "unreadable", "twice": "twice"}
    cases = tmp_path / "cases"
    cases.mkdir()
    np.savez(cases / "2DBox_US_9.npz", **picture())
    assert main(["check", str(tmp_path), "--kind", "masks", "--cases", str(cases)]) == 1
    out = capsys.readouterr()
    assert "2DBox_US_9.npz: expected one for this case, found none [A5]" in out.out + out.err


# --- show ---------------------------------------------------------------------------------------


def test_three_planes_cut_the_object_and_flip_with_the_head_up(tmp_path):
    np.savez(tmp_path / "3DBox_CT_1.npz", **volume(), gts=GTS3)
    axial, coronal, sagittal = planes_of(tmp_path / "3DBox_CT_1.npz", None, None)
    assert axial.boxes.tolist() == [[3, 2, 8, 5]] and axial.aspect == 1
    assert coronal.picture.shape == (6, 30, 3) and coronal.aspect == 3
    assert coronal.boxes.tolist() == [[3, 6 - 1 - 3, 8, 6 - 1 - 1]]
    rows = np.flatnonzero(coronal.truth.any(axis=1))
    assert rows.tolist() == [2, 3, 4]
    assert sagittal.picture.shape == (6, 20, 3) and sagittal.boxes.tolist() == [[2, 2, 5, 4]]


def test_pictures_stand_side_by_side_and_a_volume_has_its_own_line(tmp_path):
    for name in ("2DBox_US_1", "2DBox_US_2", "4_US"):
        np.savez(tmp_path / f"{name}.npz", **picture())
    np.savez(tmp_path / "3DBox_CT_1.npz", **volume())
    assert main(["show", str(tmp_path), "--out", str(tmp_path / "s.png")]) == 0
    line = TILE_PX + CAPTION_PX
    sheet = np.array(Image.open(tmp_path / "s.png"))
    assert sheet.shape == (3 * line, 3 * TILE_PX, 3)
    empty = [
        len(np.unique(sheet[y : y + line, x : x + TILE_PX].reshape(-1, 3), axis=0)) == 1
        for y in range(0, 3 * line, line)
        for x in range(0, 3 * TILE_PX, TILE_PX)
    ]
    assert empty == [False, False, True, False, False, False, False, True, True]


def test_a_folder_of_truth_that_is_not_there_is_a_wrong_call(tmp_path, capsys):
    np.savez(tmp_path / "2DBox_US_1.npz", **picture())
    for flag in ("--truth", "--masks"):
        call = ["show", str(tmp_path), flag, str(tmp_path / "tpyo"), "--out"]
        assert main([*call, str(tmp_path / "s.png")]) == 2
        assert f"{flag}: expected a folder, found none" in capsys.readouterr().err


def test_sheets_are_written_with_boxes_and_truth(tmp_path, capsys):
    cases, truth = tmp_path / "cases", tmp_path / "truth"
    cases.mkdir(), truth.mkdir()
    dark = np.zeros_like(IMAGE)
    np.savez(cases / "2DBox_US_1.npz", **picture(imgs=dark))
    np.savez(truth / "2DBox_US_1.npz", gts=GTS)
    np.savez(cases / "3DBox_CT_1.npz", **volume())
    np.savez(cases / "bad.npz", imgs=IMAGE, boxes=np.zeros((2, 5)))
    call = ["show", str(cases), "--truth", str(truth), "--out"]
    assert main([*call, str(tmp_path / "s.png")]) == 1
    sheet = np.array(Image.open(tmp_path / "s.png"))
    for colour in COLOURS[:2]:
        assert (sheet == colour).all(axis=2).sum() > 50
    assert (sheet == COLOURS[4]).all(axis=2).sum() == 0
    assert main([*call, str(tmp_path / "s.html")]) == 1
    page = (tmp_path / "s.html").read_text()
    assert page.count("<img") == 4 and "http" not in page
    assert main([*call, str(tmp_path / "s.txt")]) == 2


def test_labels_below_zero_are_told_and_never_renumbered(tmp_path):
    gts = GTS.astype(np.int8)
    gts[0, 0] = -1
    arrays = {"gts": gts}
    findings = list(truth_findings("2DBox_US_1", arrays, None))
    assert codes(findings) == ["negative"] and not any(f.fixed for f in findings)
    assert arrays["gts"] is gts and "label_values" not in arrays


def test_boxes_that_are_no_rows_are_no_count():
    odd = picture(boxes=np.array(3))
    assert codes(truth_findings("2DBox_US_1", {"gts": GTS}, odd)) == []
    assert codes(mask_findings("2DBox_US_1", {"segs": GTS}, odd)) == []
