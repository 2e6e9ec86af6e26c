"""Odd and broken scanner files: each is read right, or refused with its reason."""

import io

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from data_splits.casefile import Origin
from data_splits.conversion import run_jobs, write_rows
from data_splits.convert import Settings, convert_case, refused
from data_splits.errors import SourceError, one_line
from data_splits.geometry import move
from data_splits.intensity import rule_from, to_eight_bit
from data_splits.labels import LabelTable
from data_splits.pairing import Job
from data_splits.readers import read_image, read_labels
from data_splits.seg_file import SeriesIndex, write_seg
from tests.data_splits.conftest import make_dataset, save_nifti

pytestmark = pytest.mark.filterwarnings("ignore")


# --- a series right -----------------------------------------------------------------------------


def test_slices_are_sorted_by_position_and_rescaled(make_series, volume):
    image = read_image(make_series(volume))
    assert np.array_equal(image.pixels, volume.astype(int) - 1024)
    assert image.grid.spacing_xyz_mm == pytest.approx([0.8, 0.9, 2.5])
    assert image.grid.origin_lps_mm.tolist() == [-10, -20, 100]
    assert image.modality == "CT" and image.grid.orientation == "LPS"


def test_slices_written_from_the_head_down_are_the_same_volume(make_series, volume):
    places = [(-10.0, -20.0, 110.0 - 2.5 * z) for z in range(5)]
    image = read_image(make_series(volume[::-1], places))
    assert np.array_equal(image.pixels, read_image(make_series(volume, folder="up")).pixels)
    assert np.array_equal(image.pixels, volume.astype(int) - 1024)


def test_unsigned_values_keep_their_upper_half(make_series):
    stored = np.array([[[0, 40000], [65535, 1]]] * 2, np.uint16)
    image = read_image(make_series(stored, RescaleIntercept=0))
    assert image.pixels.max() == 65535 and image.pixels.min() == 0


def test_signed_values_stay_negative(make_series):
    stored = np.full((2, 3, 3), -200, np.int16)
    assert (read_image(make_series(stored, RescaleIntercept=0)).pixels == -200).all()


def test_a_slope_of_its_own_in_each_slice_is_applied(make_series, volume):
    folder = make_series(volume, Modality="PT")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope = 0.5 if dataset.ImagePositionPatient[2] < 101 else 0.25
        dataset.RescaleIntercept = 0
        dataset.save_as(path)
    pixels = read_image(folder).pixels
    assert pixels[0] == pytest.approx(volume[0] * 0.5)
    assert pixels[1:] == pytest.approx(volume[1:] * 0.25)


def test_an_oblique_series_keeps_its_directions(make_series, volume):
    c, s = np.cos(0.3), np.sin(0.3)
    row, column = np.array([c, s, 0.0]), np.array([-s * c, c * c, s])
    normal = np.cross(row, column)
    places = [list(np.array([5.0, 6.0, 7.0]) + 3.0 * z * normal) for z in range(5)]
    image = read_image(make_series(volume, places, orientation=[*row, *column]))
    assert image.grid.direction_lps[:, 0] == pytest.approx(row, abs=1e-6)
    assert image.grid.direction_lps[:, 1] == pytest.approx(column, abs=1e-6)
    assert image.grid.direction_lps[:, 2] == pytest.approx(normal, abs=1e-6)
    assert np.array_equal(image.pixels, volume.astype(int) - 1024)


def test_a_single_slice_takes_its_thickness_and_becomes_a_picture(make_series, volume, tmp_path):
    folder = make_series(volume[:1], SliceThickness=4.0)
    image = read_image(folder)
    assert image.grid.spacing_xyz_mm[2] == 4.0 and "SliceThickness" in image.notes[0]
    (tmp_path / "cases").mkdir()
    row = convert_case(Job("one", folder), Settings(), tmp_path)
    assert row.dims == "2D" and row.shape == "12 10 3"
    row = convert_case(Job("one", folder), Settings(always_3d=True), tmp_path)
    assert row.dims == "3D" and row.shape == "1 12 10"


def test_an_enhanced_multi_frame_file_is_the_volume_of_its_series(make_series, volume, tmp_path):
    """Made of the single slices by highdicom's converter of legacy series."""
    folder = make_series(
        volume, StudyID="1", StudyDate="", StudyTime="", AccessionNumber="", PatientID="1",
        PatientName="", PatientBirthDate="", PatientSex="", ReferringPhysicianName="",
        SeriesNumber=1, InstanceNumber=1, SliceThickness=2.5, KVP=120, ImageType=["ORIGINAL",
        "PRIMARY", "AXIAL"], PositionReferenceIndicator="", Manufacturer="", BodyPartExamined="",
        FrameOfReferenceUID="1.2.3", AcquisitionNumber=1, Laterality="",
    )  # fmt: skip
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(slices, str(hd.UID()), 1, str(hd.UID()), 1)
    path = tmp_path / "enhanced.dcm"
    enhanced.save_as(path)
    one, many = read_image(path), read_image(folder)
    assert np.array_equal(move(one.pixels, one.grid, many.grid), many.pixels)
    labels = np.random.default_rng(0).integers(0, 3, one.pixels.shape).astype(np.uint8)
    origin = Origin("dicom", path.name, "", one.series_uid, one.grid, one.grid)
    datasets = SeriesIndex(path.parent).files(origin)
    write_seg(tmp_path / "seg.dcm", labels, LabelTable((1, 2), ("a", "b")), origin, datasets)
    assert np.array_equal(read_labels([tmp_path / "seg.dcm"], one).labels, labels)
    onto_slices = read_labels([tmp_path / "seg.dcm"], many).labels
    assert np.array_equal(move(labels, one.grid, many.grid), onto_slices)


# --- a series refused ---------------------------------------------------------------------------


def places_at(*heights: float) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, z) for z in heights]


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ((0, 2, 4, 8, 10), "1 slice(s) missing"),
        ((0, 2, 4, 10, 12), "2 slice(s) missing"),
        ((0, 2, 4, 6.4, 8.4), "unevenly spaced"),
        ((0, 2, 2, 4, 6), "expected one slice a position"),
    ],
)
def test_uneven_slices_are_refused(make_series, volume, heights, reason):
    with pytest.raises(SourceError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        read_image(make_series(volume, places_at(*heights)))


def test_the_message_names_the_two_files_around_a_missing_slice(make_series, volume):
    folder = make_series(volume, places_at(0, 2, 4, 8, 10))
    with pytest.raises(
        SourceError, match=r"014_2\.dcm and 021_3\.dcm: expected 2 mm .* found 4 mm"
    ):
        read_image(folder)


def test_a_tilted_gantry_is_refused(make_series, volume):
    places = [(0.0, 0.3 * z, 2.0 * z) for z in range(5)]
    with pytest.raises(SourceError, match="perpendicular"):
        read_image(make_series(volume, places))


def test_slices_of_another_size_or_orientation_are_refused(make_series, volume):
    folder = make_series(volume)
    paths = sorted(folder.iterdir())
    dataset = pydicom.dcmread(paths[1])
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.save_as(paths[1])
    with pytest.raises(SourceError, match=r"expected \(12, 10\) pixels of 0.9 x 0.8 mm"):
        read_image(folder)
    dataset.PixelSpacing = [0.9, 0.8]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.save_as(paths[1])
    with pytest.raises(SourceError, match="one orientation"):
        read_image(folder)


def test_two_series_in_a_folder_are_refused_until_one_is_chosen(make_series, volume):
    make_series(volume)
    folder = make_series(volume + np.int16(1), RescaleIntercept=0)
    for z, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"b{z}.dcm")
    make_series(volume)
    with pytest.raises(SourceError, match="expected one series, found 2"):
        read_image(folder)
    uid = pydicom.dcmread(folder / "b0.dcm").SeriesInstanceUID
    assert np.array_equal(read_image(folder, uid).pixels, volume.astype(int) + 1)


def test_a_truncated_file_is_refused(make_series, volume):
    folder = make_series(volume)
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SourceError, match=f"{path.name}: expected readable pixels"):
        read_image(folder)


def test_bytes_that_are_no_dicom_are_refused(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(b"hello" * 100)
    with pytest.raises(SourceError, match="expected a readable DICOM"):
        read_image(path)


def test_frames_without_positions_are_refused(tmp_path):
    path = tmp_path / "film.dcm"
    make_dataset(path, np.zeros((4, 6, 6), np.uint8), "US", frames=4)
    with pytest.raises(SourceError, match="4 without any"):
        read_image(path)


def test_files_without_positions_are_no_series(make_series, volume):
    folder = make_series(volume)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    with pytest.raises(SourceError, match="ImagePositionPatient"):
        read_image(folder)


# --- transfer syntaxes --------------------------------------------------------------------------


def test_rle_and_jpeg_2000_are_decoded(make_series, volume):
    folder = make_series(volume)
    paths = sorted(folder.iterdir())
    dataset = pydicom.dcmread(paths[0])
    dataset.compress(RLELossless)
    dataset.save_as(paths[0])
    dataset = pydicom.dcmread(paths[1])
    plane = dataset.pixel_array.astype(np.uint16)
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelRepresentation = 0
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(paths[1])
    assert np.array_equal(read_image(folder).pixels, volume.astype(int) - 1024)


def test_lossless_jpeg_is_decoded_by_gdcm(tmp_path):
    """Written by GDCM; pydicom alone has no decoder for it."""
    plane = np.random.default_rng(0).integers(0, 4000, (24, 32)).astype(np.uint16)
    image = sitk.GetImageFromArray(plane[None])
    path = tmp_path / "lossless.dcm"
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.Execute(image)
    syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    assert syntax.is_compressed
    assert np.array_equal(np.squeeze(read_image(path).pixels), plane)


def test_an_unknown_transfer_syntax_is_refused_by_its_name(make_series, volume):
    folder = make_series(volume)
    path = sorted(folder.iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")  # MPEG2
    dataset.PixelData = encapsulate([b"\0" * 64])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(SourceError, match="MPEG2.*decompress it first"):
        read_image(folder)


def test_broken_jpeg_data_is_refused(make_series, volume):
    folder = make_series(volume)
    path = sorted(folder.iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([b"\xff\xd8nonsense"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(SourceError, match=path.name):
        read_image(folder)


# --- photometric interpretation, colour ---------------------------------------------------------


def test_monochrome1_is_shown_bright_for_low_values(tmp_path):
    plane = np.array([[0, 100], [200, 1000]], np.uint16)
    for name in ("MONOCHROME1", "MONOCHROME2"):
        make_dataset(tmp_path / f"{name}.dcm", plane, "DX", PhotometricInterpretation=name)
    one, two = (
        to_eight_bit(read_image(tmp_path / f"{n}.dcm"), rule_from("minmax"))
        for n in ("MONOCHROME1", "MONOCHROME2")
    )
    assert two.tolist() == [[0, 25], [51, 255]]
    assert (one == 255 - two).all()


def test_padding_does_not_stretch_the_greys(tmp_path):
    plane = np.array([[-2000, 0], [50, 100]], np.int16)
    make_dataset(tmp_path / "x.dcm", plane, "DX", PixelPaddingValue=-2000)
    greys = to_eight_bit(read_image(tmp_path / "x.dcm"), rule_from("minmax"))
    assert greys.tolist() == [[0, 0], [127, 255]]


def test_colour_dicom_is_rgb(tmp_path):
    plane = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    make_dataset(tmp_path / "x.dcm", plane, "US")
    image = read_image(tmp_path / "x.dcm")
    assert image.modality == "US" and np.array_equal(image.pixels, plane)


# --- NIfTI, NRRD, pictures ----------------------------------------------------------------------


def test_truncated_and_false_volumes_are_refused(tmp_path):
    whole = save_nifti(
        tmp_path / "a.nii.gz", np.random.default_rng(0).random((9, 20, 20)).astype(np.float32)
    ).read_bytes()
    for name, content in (
        ("cut.nii.gz", whole[: len(whole) // 2]),
        ("text.nii.gz", b"no volume"),
        ("empty.nii", b""),
        ("text.nrrd", b"NRRD0004\ntype: short\n"),
        ("text.mha", b"ObjectType = Image\n"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name):
            read_image(tmp_path / name)


def test_nan_four_axes_and_flat_affines_are_refused(tmp_path):
    values = np.ones((3, 4, 5), np.float32)
    values[1, 1, 1] = np.nan
    with pytest.raises(SourceError, match="1 NaN"):
        read_image(save_nifti(tmp_path / "nan.nii", values))
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.int16), np.eye(4)), tmp_path / "t.nii")
    with pytest.raises(SourceError, match="one volume"):
        read_image(tmp_path / "t.nii")
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    image.header["sform_code"] = 1
    image.header["srow_x"] = image.header["srow_y"] = image.header["srow_z"] = 0
    nib.save(image, tmp_path / "flat.nii")
    broken = bytearray((tmp_path / "flat.nii").read_bytes())
    broken[254:256] = (1).to_bytes(2, "little")
    (tmp_path / "flat.nii").write_bytes(bytes(broken))
    with pytest.raises(SourceError, match="can be inverted"):
        read_image(tmp_path / "flat.nii")


def test_a_sheared_affine_is_refused_when_it_is_converted(tmp_path):
    affine = np.eye(4)
    affine[0, 2] = 0.3
    path = save_nifti(tmp_path / "s.nii", np.ones((3, 4, 5), np.int16), affine)
    with pytest.raises(SourceError, match="perpendicular"):
        convert_case(Job("s", path, modality="CT"), Settings(), tmp_path)


def test_labels_of_another_grid_are_refused(tmp_path):
    image = read_image(save_nifti(tmp_path / "i.nii", np.ones((3, 4, 5), np.int16)))
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    ones = np.ones((3, 4, 5), np.uint8)
    for name, affine in (("half.nii", shifted), ("coarse.nii", np.diag([2.0, 2, 2, 1]))):
        with pytest.raises(SourceError, match="own grid"):
            read_labels([save_nifti(tmp_path / name, ones, affine)], image)
    outside = np.eye(4)
    outside[2, 3] = 2
    with pytest.raises(SourceError, match="40 outside"):
        read_labels([save_nifti(tmp_path / "out.nii", ones, outside)], image)


def test_labels_stored_the_other_way_round_are_turned(tmp_path):
    image = read_image(save_nifti(tmp_path / "i.nii", np.ones((3, 4, 5), np.int16)))
    labels = np.random.default_rng(0).integers(0, 4, (3, 4, 5)).astype(np.uint8)
    affine = np.diag([-1.0, 1, 1, 1])
    affine[0, 3] = 4
    path = save_nifti(tmp_path / "l.nii", labels[:, :, ::-1], affine)
    assert np.array_equal(read_labels([path], image).labels, labels)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((3, 4, 5), 0.5, np.float32), "soft mask"),
        (np.full((3, 4, 5), -1, np.int16), "0 or"),
    ],
)
def test_soft_and_negative_labels_are_refused(tmp_path, values, reason):
    image = read_image(save_nifti(tmp_path / "i.nii", np.ones((3, 4, 5), np.int16)))
    with pytest.raises(SourceError, match=reason):
        read_labels([save_nifti(tmp_path / "l.nii", values)], image)


def test_pictures_right_and_refused(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (6, 5, 4)).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(image.pixels, rgba[..., :3]) and "transparency" in image.notes[0]
    deep = np.array([[0, 65535], [300, 5]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png").pixels, deep)
    Image.fromarray(rgba[..., 0]).save(tmp_path / "m.jpg")
    with pytest.raises(SourceError, match="JPEG"):
        read_labels([tmp_path / "m.jpg"], image)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    with pytest.raises(SourceError, match="cut.png"):
        read_image(tmp_path / "cut.png")
    other = np.zeros((7, 5), np.uint8)
    Image.fromarray(other).save(tmp_path / "other.png")
    with pytest.raises(SourceError, match=r"shape \(6, 5\), found \(7, 5\)"):
        read_labels([tmp_path / "other.png"], image)


def test_colours_and_palettes_are_labels(tmp_path):
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "i.png")
    image = read_image(tmp_path / "i.png")
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    colours[1, 2] = (0, 0, 255)
    Image.fromarray(colours).save(tmp_path / "c.png")
    found = read_labels([tmp_path / "c.png"], image)
    assert found.labels.tolist() == [[2, 0, 0], [0, 0, 1]]
    assert found.names == {1: "#0000ff", 2: "#ff0000"}
    palette = Image.fromarray(np.array([[0, 1, 2], [0, 0, 2]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    palette.save(tmp_path / "p.png")
    assert read_labels([tmp_path / "p.png"], image).labels.tolist() == [[0, 1, 2], [0, 0, 2]]


# --- one bad file never stops the rest ----------------------------------------------------------


def test_refused_cases_stay_in_the_table_and_leave_no_file(tmp_path):
    for folder in ("cases", "truth"):
        (tmp_path / folder).mkdir()
    good = save_nifti(tmp_path / "g.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    labels = save_nifti(tmp_path / "gl.nii", (np.arange(60) > 40).reshape(3, 4, 5).astype(np.uint8))
    (tmp_path / "b.nii").write_bytes(b"broken")
    jobs = [Job("b", tmp_path / "b.nii", (), "CT"), Job("g", good, (labels,), "CT"),
            Job("n", tmp_path / "none.nii", (), "CT")]  # fmt: skip
    rows = list(run_jobs(jobs, lambda job: convert_case(job, Settings(), tmp_path), 1))
    assert [row.status for row in rows] == ["refused", "ok", "refused"]
    assert [p.name for p in (tmp_path / "cases").iterdir()] == ["3DBox_CT_g.npz"]
    write_rows(tmp_path / "conversion.csv", rows)
    assert len((tmp_path / "conversion.csv").read_text().splitlines()) == 4
    assert "\n" not in one_line(ValueError("a\nb")) and refused(jobs[0], "x").reason == "x"
