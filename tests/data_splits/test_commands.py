"""The command line, from files to cases and back, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from data_splits.__main__ import main
from data_splits.conversion import small_objects
from data_splits.convert import read_names
from data_splits.restore import restore_mask
from inference.case import read_case
from tests.data_splits.conftest import save_nifti

pytestmark = pytest.mark.filterwarnings("ignore")


def table_of(out):
    return {row["case"]: row for row in csv.DictReader((out / "conversion.csv").open())}


@pytest.fixture
def nifti_folders(tmp_path):
    """Three volumes with two labels each, named as nnU-Net does; the last is broken."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        labels = np.zeros((6, 10, 12), np.uint8)
        labels[1:3, 2:5, 2:6], labels[4, 6:9, 7:11] = 4, 9
        save_nifti(tmp_path / "images" / f"c{index}_0000.nii.gz",
                   rng.integers(-200, 300, labels.shape).astype(np.int16))  # fmt: skip
        save_nifti(tmp_path / "labels" / f"c{index}.nii.gz", labels)
    (tmp_path / "images" / "c2_0000.nii.gz").write_bytes(b"broken")
    return tmp_path


def test_a_folder_is_converted_in_parallel_and_one_bad_file_is_told(nifti_folders, capfd):
    out = nifti_folders / "out"
    (nifti_folders / "names.json").write_text('{"labels": {"background": 0, "spleen": 4}}')
    code = main(
        ["convert", str(nifti_folders / "images"), "--labels", str(nifti_folders / "labels"),
         "--image-suffix", "_0000", "--modality", "ct", "--out", str(out), "--workers", "2",
         "--names", str(nifti_folders / "names.json")]
    )  # fmt: skip
    assert code == 1
    rows = table_of(out)
    assert [rows[k]["status"] for k in sorted(rows)] == ["ok", "ok", "refused"]
    assert "c2_0000.nii.gz: expected a readable NIfTI" in rows["c2"]["reason"]
    case = read_case(out / "cases" / "3DBox_CT_c0.npz")
    assert case.boxes.tolist() == [[6, 5, 1, 9, 7, 2], [1, 1, 4, 4, 3, 4]]  # turned to LPS
    with np.load(out / "truth" / "3DBox_CT_c0.npz") as truth:
        assert truth["label_values"].tolist() == [4, 9]
        assert truth["label_names"].tolist() == ["spleen", ""]
    assert "2 of 3 cases converted" in capfd.readouterr().out


def test_slices_are_cropped_in_one_piece_and_put_back(nifti_folders):
    out = nifti_folders / "out"
    call = ["convert", str(nifti_folders / "images" / "c0_0000.nii.gz"), "--modality", "CT",
            "--labels", str(nifti_folders / "labels" / "c0.nii.gz"), "--out", str(out)]  # fmt: skip
    assert main([*call, "--margin-slices", "0"]) == 0
    name = "3DBox_CT_c0_0000"
    with np.load(out / "truth" / f"{name}.npz") as truth:
        assert truth["gts"].shape == (4, 10, 12)
        assert not truth["gts"][2].any()  # an empty slice between two with labels stays
    truth_dir = str(out / "truth")
    call = ["restore", truth_dir, "--cases", str(out / "cases"), "--truth", truth_dir]
    assert main([*call, "--numbers", "source", "--out", str(out / "back")]) == 0
    import nibabel as nib

    back = np.asarray(nib.load(out / "back" / f"{name}.nii.gz").dataobj)
    source = np.asarray(nib.load(nifti_folders / "labels" / "c0.nii.gz").dataobj)
    assert np.array_equal(back, source)


def test_two_files_of_one_name_are_refused_and_a_note_beside_labels_is_none(tmp_path, capsys):
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels // 24).save(tmp_path / name / "p1.png")
    (tmp_path / "labels" / "p1.txt").write_text("read by two")
    call = ["convert", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    call += ["--modality", "US", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    with np.load(tmp_path / "out" / "truth" / "2DBox_US_p1.npz") as truth:
        assert truth["gts"].any()
    Image.fromarray(pixels).save(tmp_path / "images" / "p1.jpg")
    assert main(call) == 2
    assert "found p1.jpg and p1.png" in capsys.readouterr().err


def test_pictures_with_masks_instances_and_png_back(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 3:9] = mask[10:15, 20:28] = 255
    Image.fromarray(picture).save(tmp_path / "images" / "a.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    out = tmp_path / "out"
    call = ["convert", str(tmp_path / "images"), "--labels", str(tmp_path / "masks")]
    call += ["--modality", "Ultrasound", "--instances", "all", "--out", str(out)]
    assert main(call) == 0
    case = read_case(out / "cases" / "2DBox_US_a.npz")
    assert case.boxes.tolist() == [[3, 2, 8, 5], [20, 10, 27, 14]]
    assert np.array_equal(case.image, np.repeat(picture[..., None], 3, axis=2))
    back = restore_mask(out / "truth" / "2DBox_US_a.npz", out / "cases", tmp_path)
    assert back.suffix == ".png"
    assert np.array_equal(np.array(Image.open(back)) > 0, mask > 0)


def test_coco_polygons_become_named_objects(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "images" / "p.png")
    square = [5.0, 4.0, 15.0, 4.0, 15.0, 12.0, 5.0, 12.0]
    coco = {
        "images": [{"id": 7, "file_name": "p.png", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": 2, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 80,
             "bbox": [5, 4, 10, 8], "segmentation": [square]},
            {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 1, "area": 9,
             "bbox": [0, 0, 3, 3], "segmentation": {"size": [20, 30], "counts": [0, 3, 597]}},
        ],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    call = ["convert", str(tmp_path / "images"), "--labels", str(tmp_path / "coco.json"),
            "--modality", "Microscopy", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(call) == 0
    with np.load(tmp_path / "out" / "truth" / "2DBox_Microscopy_p.npz") as truth:
        expected = np.zeros((20, 30))
        expected[4:12, 5:15] = 1
        assert np.array_equal(truth["gts"], expected)
        assert truth["label_names"].tolist() == ["cell"]
    assert "a crowd" in table_of(tmp_path / "out")["2DBox_Microscopy_p"]["notes"]
    coco["images"][0]["width"] = 31
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert main([*call[:-1], str(tmp_path / "bad")]) == 1


def test_a_table_gives_groups_terms_and_several_masks(tmp_path):
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(tmp_path / "i.png")
    for name, place in (("disc", slice(1, 9)), ("cup", slice(3, 6))):
        mask = np.zeros((10, 10), np.uint8)
        mask[place, place] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text(
        "image,labels,name,modality,group,licence\ni.png,disc.png;cup.png,eye,fundus,P1,CC0\n"
    )
    assert main(["convert", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o")]) == 0
    row = table_of(tmp_path / "o")["2DBox_Fundus_eye"]
    assert (row["group"], row["licence"], row["n_objects"]) == ("P1", "CC0", "2")
    with np.load(tmp_path / "o" / "truth" / "2DBox_Fundus_eye.npz") as truth:
        assert truth["label_names"].tolist() == ["disc", "cup"]
        assert [(truth["gts"] == v).sum() for v in (1, 2)] == [64 - 9, 9]


@pytest.mark.parametrize(
    "options",
    [
        ["none"],
        ["--table", "none.csv"],
        ["i.png", "--modality", "xx"],
        ["i.png", "--modality", "CT", "--window", "x"],
        ["i.png", "--modality", "CT", "--orientation", "XYZ"],
        ["i.png", "--modality", "CT", "--small-objects", "5"],
        [],
    ],
)
def test_wrong_calls_end_with_one_line_and_2(tmp_path, options, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("i.png")
    assert main(["convert", *options, "--out", "out"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_a_mask_of_another_shape_or_without_its_case_is_refused(nifti_folders, capsys):
    out = nifti_folders / "out"
    main(["convert", str(nifti_folders / "images" / "c0_0000.nii.gz"), "--modality", "CT", "--out",
          str(out)])  # fmt: skip
    masks = nifti_folders / "masks"
    masks.mkdir()
    np.savez(masks / "3DBox_CT_c0_0000.npz", segs=np.zeros((6, 10, 11), np.uint8))
    np.savez(masks / "other.npz", segs=np.zeros((6, 10, 12), np.uint8))
    call = ["restore", str(masks), "--cases", str(out / "cases"), "--out", str(out / "back")]
    assert main(call) == 1
    err = capsys.readouterr().err
    assert "expected the case's shape (6, 10, 12), found (6, 10, 11)" in err
    assert "expected the case of this mask" in err
    assert not any((out / "back").iterdir())


def test_small_rules_and_names_are_read(tmp_path):
    assert (small_objects("challenge").voxels, small_objects("5,2").slice_pixels) == (1000, 2)
    for text in ('{"1": "a"}', '{"a": 1}'):
        (tmp_path / "n.json").write_text(text)
        assert read_names(tmp_path / "n.json") == {1: "a"}
