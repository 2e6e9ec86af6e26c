"""NIfTI and PNG with a boxes file beside them: the answer lies on the file's own grid."""

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from inference.command_line import case_files, main
from inference.errors import CaseError
from inference.formats import read_scan
from tests.inference.builders import write_bundle

ORIENTATIONS = ("RAS", "LPS", "PIL", "ASR", "LIP")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cases").mkdir()
    return tmp_path / "cases"


@pytest.fixture
def call(tmp_path, monkeypatch, fake_engine, capfd):
    """Runs the command line with the bright-pixel model: (code, stderr)."""
    monkeypatch.delenv("MEDSAM_CACHE", raising=False)
    monkeypatch.delenv("MEDSAM_BUNDLE", raising=False)
    bundle = write_bundle(tmp_path / "bundle")

    def run():
        line = ["-i", str(tmp_path / "cases"), "-o", str(tmp_path / "out"), "--model", str(bundle)]
        code = main(line)
        return code, capfd.readouterr().err

    return run


def save_volume(path, array, code="LPS", spacing=(1.0, 1.0, 1.0)):
    """``array`` (x, y, z) as stored, its axes growing towards ``code``."""
    ornt = nib.orientations.axcodes2ornt(tuple(code))
    affine = np.zeros((4, 4))
    for axis, (to, sign) in enumerate(ornt):
        affine[int(to), axis] = sign * spacing[axis]
    affine[:3, 3] = (11, -7, 30)
    affine[3, 3] = 1
    nib.save(nib.Nifti1Image(array, affine), path)
    return affine


def bright_block():
    """An HU volume (x, y, z) of air with a bright block, and the block's box."""
    values = np.full((24, 20, 16), -1000, np.int16)
    values[6:14, 5:12, 4:9] = 300
    return values, [6, 5, 4, 13, 11, 8]


@pytest.mark.parametrize("code", ORIENTATIONS)
@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1), (1, 1, 4)])
def test_a_volume_is_answered_on_its_own_grid_however_it_is_stored(
    call, folder, tmp_path, code, spacing
):
    values, box = bright_block()
    affine = save_volume(folder / "CT_a.nii.gz", values, code, spacing)
    (folder / "CT_a.json").write_text(json.dumps([box]))
    assert call() == (0, "")
    answer = nib.load(tmp_path / "out" / "CT_a.nii.gz")
    assert answer.shape == values.shape and np.array_equal(answer.affine, affine)
    assert answer.get_data_dtype() == np.uint8
    found = np.asarray(answer.dataobj) == 1
    truth = values > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.6
    outside = np.ones_like(found)
    outside[6:14, 5:12, 4:9] = False
    assert not (found & outside).any()


def test_a_picture_is_answered_as_png_beside_an_npz(call, folder, tmp_path, make_case):
    make_case("2DBox_US_1", (60, 80, 3), [(10, 12, 45, 40)])
    with np.load(folder / "2DBox_US_1.npz") as case:
        Image.fromarray(case["imgs"]).save(folder / "US_2.png")
    (folder / "boxes.csv").write_text("file,x_min,y_min,x_max,y_max\nUS_2.png,10,12,45,40\n")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "no-boxes.png")
    assert call() == (0, "")
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["2DBox_US_1.npz", "US_2.png"]
    with np.load(out / "2DBox_US_1.npz") as mask:
        assert np.array_equal(np.array(Image.open(out / "US_2.png")), mask["segs"])
        assert mask["segs"].any()


def test_a_folder_of_scans_without_boxes_is_told_what_it_lacks(call, folder, caplog):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "a.png")
    (folder / "a.csv").write_text("xmin,ymin,xmax,ymax\n1,1,3,3\n")
    assert call()[0] == 0
    assert "expected npz cases or a list of boxes beside a.png, found neither" in caplog.text


def test_pictures_without_a_boxes_file_are_no_cases(folder):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "a.png")
    assert case_files(folder) == []
    (folder / "other.json").write_text("[]")
    assert case_files(folder) == []


DESCRIPTION = json.dumps({"Modality": "CT", "EchoTime": 0.1, "ImageType": ["ORIGINAL", "PRIMARY"]})
"""As dcm2niix puts it beside a scan."""


def test_a_description_beside_a_scan_is_no_list_of_boxes(call, folder, tmp_path):
    values, box = bright_block()
    for name in ("CT_a.nii.gz", "CT_b.nii.gz"):
        save_volume(folder / name, values)
        (folder / name.replace(".nii.gz", ".json")).write_text(DESCRIPTION)
    assert case_files(folder) == []
    (folder / "boxes.json").write_text(json.dumps({"CT_a.nii.gz": [box]}))
    assert call() == (0, "")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["CT_a.nii.gz"]
    assert np.asarray(nib.load(tmp_path / "out" / "CT_a.nii.gz").dataobj).any()


@pytest.mark.parametrize("text", ['{"CT_a.nii": [[6, 5, 4, 13, 11, 8]]}', "{}"])
def test_a_list_that_does_not_name_its_scan_is_told_and_nothing_is_written(
    call, folder, tmp_path, text
):
    save_volume(folder / "CT_a.nii.gz", bright_block()[0])
    (folder / "CT_a.json").write_text(text)
    code, err = call()
    assert code == 1 and "refused: CT_a.nii.gz: boxes: expected a list, or one named CT_a" in err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("comma", [",", ";"])
@pytest.mark.parametrize("own", [False, True])
def test_lists_as_spreadsheets_save_them(call, folder, tmp_path, encoding, comma, own):
    picture = np.zeros((60, 80), np.uint8)
    picture[12:40, 10:45] = 200
    Image.fromarray(picture).save(folder / "US_a.png")
    rows = "file,x_min,y_min,x_max,y_max\r\nUS_a.png,10,12,45,40\r\n".replace(",", comma)
    (folder / ("US_a.csv" if own else "boxes.csv")).write_bytes(rows.encode(encoding))
    assert call() == (0, "")
    assert np.array(Image.open(tmp_path / "out" / "US_a.png")).any()


def test_rows_of_commas_at_the_end_are_none_and_a_head_alone_is_no_boxes(call, folder, tmp_path):
    picture = np.zeros((60, 80), np.uint8)
    picture[12:40, 10:45] = 200
    for name in ("US_a.png", "US_b.png"):
        Image.fromarray(picture).save(folder / name)
    head = "file,x_min,y_min,x_max,y_max\n"
    (folder / "boxes.csv").write_text(f"{head}US_a.png,10,12,45,40\n,,,,\n , ,,,\n")
    (folder / "US_b.csv").write_text(head)
    assert call() == (0, "")
    found = {p.name: np.array(Image.open(p)).any() for p in (tmp_path / "out").iterdir()}
    assert found == {"US_a.png": True, "US_b.png": False}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("boxes.json", "[[5, 5, 30, 30]]", "found boxes of no file"),
        ("boxes.csv", "x_min,y_min,x_max,y_max\n5,5,30,30\n", "expected the columns file"),
        ("boxes.csv", "left,top\n5,5\n", "expected the columns file"),
        ("boxes.json", DESCRIPTION, "found none"),
    ],
)
def test_a_list_of_the_folder_that_names_no_file_is_a_wrong_call(
    call, folder, name, text, expected
):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "US_a.png")
    (folder / name).write_text(text)
    code, err = call()
    assert code == 2 and f"{name}: expected" in err and expected in err


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ("[[1, 2, 3, 4]]", "rows of 6 numbers"),
        ('[[1, 2, 3, "a", 5, 6]]', "rows of 6 numbers"),
        ("[[1, 2, 3", "expected boxes"),
        ("[" * 100_000, "expected boxes"),
        ("[[90, 0, 0, 95, 5, 5]]", "inside"),
        ("[[9, 0, 0, 5, 5, 5]]", "minima not above maxima"),
    ],
)
def test_false_boxes_refuse_the_file_and_not_the_rest(call, folder, tmp_path, boxes, reason):
    values, box = bright_block()
    for name, text in (("CT_bad", boxes), ("CT_good", json.dumps([box]))):
        save_volume(folder / f"{name}.nii", values)
        (folder / f"{name}.json").write_text(text)
    code, err = call()
    assert code == 1 and "refused: CT_bad.nii: " in err and reason in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["CT_good.nii"]


def test_broken_files_are_refused(folder):
    for name in ("a.nii.gz", "b.png"):
        (folder / name).write_bytes(b"nothing")
        (folder / f"{name.split('.')[0]}.json").write_text("[]")
        with pytest.raises(CaseError, match=f"{name}: expected a readable"):
            read_scan(folder / name)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4)), folder / "c.nii")
    (folder / "c.json").write_text("[]")
    with pytest.raises(CaseError, match="one volume"):
        read_scan(folder / "c.nii")


def test_a_broken_list_of_the_folder_is_a_wrong_call(call, folder):
    values, _ = bright_block()
    save_volume(folder / "CT_a.nii", values)
    (folder / "boxes.json").write_text("{")
    code, err = call()
    assert code == 2 and "boxes.json" in err
    assert err.count("\n") == 1


def test_values_are_windowed_by_modality(folder):
    values, box = bright_block()
    for name in ("scan", "MR_scan"):
        save_volume(folder / f"{name}.nii", values)
        (folder / f"{name}.json").write_text(json.dumps([box]))
    unknown, named = read_scan(folder / "scan.nii"), read_scan(folder / "MR_scan.nii")
    assert (unknown.modality, named.modality) == ("CT", "MR")
    assert set(np.unique(unknown.case.image)) == {0, 255}
    assert unknown.case.image.shape == (16, 20, 24)
    assert unknown.case.boxes.tolist() == [[6, 5, 4, 13, 11, 8]]


def test_a_name_in_the_list_without_a_file_is_refused_and_the_rest_is_done(call, folder, tmp_path):
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(folder / "a.png")
    listed = {"a.png": [[2, 3, 12, 13]], "typo.png": [[0] * 6], "../b.nii": [[0] * 6]}
    (folder / "boxes.json").write_text(json.dumps(listed))
    status, err = call()
    assert status == 1
    reason = "expected the file that boxes.json or boxes.csv names, found none"
    assert f"refused: typo.png: {reason}" in err and f"refused: b.nii: {reason}" in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png"]
