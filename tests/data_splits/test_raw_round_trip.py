"""Real files to cases and back, checked with readers other than those that converted them.

NIfTI is converted by nibabel and checked by SimpleITK; NRRD by SimpleITK and checked by pynrrd and
nibabel; DICOM by pydicom and checked by SimpleITK (GDCM) and, for contours, by the masks that the
data set's own authors published.
"""

import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from data_splits.convert import Settings, convert_case
from data_splits.pairing import Job
from data_splits.restore import restore_mask
from data_splits.seg_file import SeriesIndex
from tests.data_splits.raw_cases import (
    ELASTIX,
    NIFTI,
    NRRD,
    OPENKBP,
    RAW,
    SEG_SERIES,
    STS_DICOM,
    SUNNYBROOK,
    RawCase,
)

pytestmark = [
    pytest.mark.skipif(not RAW.is_dir(), reason="needs ../shared/data/raw"),
    pytest.mark.filterwarnings("ignore"),
]

AFFINE_TOLERANCE = 1e-5


def converted(case: RawCase, out: Path, **settings: object) -> str:
    (out / "cases").mkdir(parents=True)
    (out / "truth").mkdir()
    job = Job(case.name, RAW / case.image, tuple(RAW / path for path in case.labels), case.modality)
    row = convert_case(job, Settings(**settings), out)
    assert row.status == "ok"
    return row.case


def restored(out: Path, name: str, kind: str, source: Path | None = None, numbers="source") -> Path:
    return restore_mask(
        out / "truth" / f"{name}.npz", out / "cases", out, kind, out / "truth", numbers,
        SeriesIndex(source),
    )  # fmt: skip


def itk_affine_lps(image: sitk.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def itk_series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("orientation", ["acquired", "stored", "PIR"])
@pytest.mark.parametrize("case", NIFTI, ids=lambda case: case.name)
def test_nifti_comes_back_voxel_for_voxel_on_its_own_grid(case, orientation, tmp_path):
    name = converted(case, tmp_path, orientation=orientation)
    back = sitk.ReadImage(str(restored(tmp_path, name, "nifti")))
    source = sitk.ReadImage(str(RAW / case.labels[0]))
    assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(source))
    error = np.abs(itk_affine_lps(back) - itk_affine_lps(source)).max()
    assert error <= AFFINE_TOLERANCE


@pytest.mark.parametrize("case", NIFTI, ids=lambda case: case.name)
def test_stated_geometry_finds_the_same_value_at_the_same_place(case, tmp_path):
    """A voxel of the case, by the case's own origin, direction and spacing, is looked up in the
    source by SimpleITK's physical coordinates."""
    name = converted(case, tmp_path)
    source = sitk.ReadImage(str(RAW / case.labels[0]))
    with np.load(tmp_path / "truth" / f"{name}.npz") as truth:
        gts, values = truth["gts"], [0, *truth["label_values"]]
        direction, origin = truth["direction_lps"], truth["origin_lps_mm"]
        assert np.allclose(truth["spacing"], truth["spacing_xyz_mm"])
        assert np.allclose(truth["spacing"][::-1], truth["spacing_zyx_mm"])
        spacing = truth["spacing_xyz_mm"]
    generator = np.random.default_rng(1)
    inside = np.argwhere(gts)
    chosen = [*inside[generator.integers(0, len(inside), 40)],
              *generator.integers(0, gts.shape, (40, 3))]  # fmt: skip
    for z, y, x in chosen:
        place = origin + direction @ (spacing * [x, y, z])
        index = source.TransformPhysicalPointToIndex([float(v) for v in place])
        assert source[index] == values[gts[z, y, x]]


@pytest.mark.parametrize("case", NRRD, ids=lambda case: case.name)
def test_nrrd_comes_back_voxel_for_voxel(case, tmp_path):
    nrrd = pytest.importorskip("nrrd")
    name = converted(case, tmp_path)
    source, _ = nrrd.read(str(RAW / case.labels[0]))  # (x, y, z)
    back, header = nrrd.read(str(restored(tmp_path, name, "nrrd")))
    assert np.array_equal(back, source)
    expected = itk_affine_lps(sitk.ReadImage(str(RAW / case.labels[0])))
    found = np.eye(4)
    found[:3, :3] = np.array(header["space directions"]).T
    found[:3, 3] = header["space origin"]
    assert np.abs(found - expected).max() <= AFFINE_TOLERANCE
    as_nifti = nib.load(restored(tmp_path, name, "nifti"))
    assert np.array_equal(np.asarray(as_nifti.dataobj), source)
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ as_nifti.affine, expected, atol=2e-5)


def test_metaimage_values_are_windowed_as_a_reading_by_hand_says(tmp_path):
    name = converted(ELASTIX, tmp_path, orientation="stored")
    content = (RAW / ELASTIX.image).read_bytes()
    mark = b"ElementDataFile = LOCAL\n"
    start = content.index(mark) + len(mark)
    header = dict(line.split(" = ") for line in content[:start].decode().splitlines())
    values = content[start:]
    if header.get("CompressedData") == "True":
        values = zlib.decompress(values)
    x, y, z = (int(n) for n in header["DimSize"].split())
    pixels = np.frombuffer(values, "<i2").reshape(z, y, x).astype(float)
    expected = np.floor((np.clip(pixels, -160, 240) + 160) / 400 * 255)
    with np.load(tmp_path / "cases" / f"{name}.npz") as case:
        assert np.array_equal(case["imgs"], expected)
        assert np.allclose(case["origin_lps_mm"], [float(v) for v in header["Offset"].split()])
        assert case["boxes"].shape == (0, 6)


def test_a_dicom_segmentation_equals_the_same_labels_as_nrrd(tmp_path):
    case = RawCase("liver", SEG_SERIES, ("dcmqi_ct_seg/liver.dcm",))
    name = converted(case, tmp_path)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(RAW / "dcmqi_ct_seg/liver_seg.nrrd")))
    back = sitk.ReadImage(str(restored(tmp_path, name, "nrrd")))
    assert np.array_equal(sitk.GetArrayFromImage(back), expected)
    with np.load(tmp_path / "truth" / f"{name}.npz") as truth:
        assert truth["label_names"].tolist() == ["Liver"]


@pytest.mark.parametrize("case", STS_DICOM, ids=lambda case: case.name)
def test_contours_fill_what_the_authors_of_the_data_set_published(case, tmp_path):
    name = converted(case, tmp_path)
    published = sitk.ReadImage(str(RAW / f"sts_nifti/STS_002/{case.name}_mask.nii.gz"))
    with np.load(tmp_path / "truth" / f"{name}.npz") as truth:
        assert np.array_equal(truth["gts"], sitk.GetArrayFromImage(published))


@pytest.mark.parametrize(
    "case",
    [*STS_DICOM, RawCase("liver", SEG_SERIES, ("dcmqi_ct_seg/liver.dcm",))],
    ids=lambda case: case.name,
)
def test_a_restored_seg_lies_on_its_slices(case, tmp_path):
    """Read by pydicom alone: each frame against the slice with its position, and both affines."""
    name = converted(case, tmp_path)
    folder = RAW / case.image
    path = restored(tmp_path, name, "dicom-seg", folder, numbers="case")
    with np.load(tmp_path / "truth" / f"{name}.npz") as truth:
        gts, affine = truth["gts"], truth["affine_lps"]
    series = itk_series(folder)
    assert np.abs(itk_affine_lps(series) - affine).max() <= AFFINE_TOLERANCE
    seg = pydicom.dcmread(path)
    frames = seg.pixel_array.reshape(-1, *gts.shape[1:])
    shared = seg.SharedFunctionalGroupsSequence[0]
    seen = np.zeros_like(gts)
    sources = {
        d.SOPInstanceUID: d.ImagePositionPatient
        for d in (pydicom.dcmread(p, stop_before_pixels=True) for p in folder.iterdir())
    }
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(v) for v in groups.PlanePositionSequence[0].ImagePositionPatient]
        z = np.linalg.solve(affine, [*position, 1])[2]
        assert math.isclose(z, round(z), abs_tol=1e-3)
        stated = groups if "SegmentIdentificationSequence" in groups else shared
        number = stated.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        seen[round(z)][frame > 0] = number
        origin = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert np.allclose(sources[origin.ReferencedSOPInstanceUID], position, atol=1e-5)
    assert np.array_equal(seen, gts)


@pytest.mark.parametrize("case", [*STS_DICOM, SUNNYBROOK], ids=lambda case: case.name)
def test_a_dicom_case_restores_to_the_grid_that_gdcm_sees(case, tmp_path):
    name = converted(case, tmp_path)
    back = sitk.ReadImage(str(restored(tmp_path, name, "nrrd")))
    series = itk_series(RAW / case.image)
    expected = itk_affine_lps(series)
    found = itk_affine_lps(back)
    assert back.GetSize() == series.GetSize()
    # GDCM takes z spacing and the first position, pydicom's positions are rounded decimal strings
    assert np.abs(found[:3, :2] - expected[:3, :2]).max() <= AFFINE_TOLERANCE
    assert np.abs(found[:3, 3] - expected[:3, 3]).max() <= AFFINE_TOLERANCE
    assert np.abs(found[:3, 2] - expected[:3, 2]).max() <= 1e-4


def test_oblique_slices_carry_the_contours_drawn_on_them(tmp_path):
    """Areas of the two outlines by the shoelace formula, within their boundary pixels."""
    name = converted(SUNNYBROOK, tmp_path)
    with np.load(tmp_path / "truth" / f"{name}.npz") as truth:
        gts, names = truth["gts"], truth["label_names"].tolist()
    assert names == ["endocardium", "epicardium"]
    areas = []
    for path in sorted((RAW / "sunnybrook_dicom/contours").glob("*icontour*")):
        x, y = np.loadtxt(path).T
        areas.append(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
    found = [int((plane == 1).sum()) for plane in gts if (plane == 1).any()]
    assert sorted(found) == pytest.approx(sorted(areas), rel=0.06)
    for plane in gts[gts.any(axis=(1, 2))]:
        inner, whole = plane == 1, plane > 0
        assert inner.sum() < whole.sum()


def test_openkbp_organs_hold_the_voxels_of_their_files(tmp_path):
    name = converted(OPENKBP, tmp_path, orientation="stored")
    with np.load(tmp_path / "truth" / f"{name}.npz") as truth:
        gts, names = truth["gts"], truth["label_names"].tolist()
    flat = gts.transpose(1, 2, 0).ravel()  # y, x, z
    for label, organ in enumerate(names, start=1):
        rows = (RAW / OPENKBP.image / f"{organ}.csv").read_text().split()[1:]
        index = [int(row.split(",")[0]) for row in rows]
        assert np.count_nonzero(flat[index] == label) >= len(index) - 1  # one under the Mandible
        assert np.count_nonzero(flat == label) <= len(index)
    restored_image = sitk.ReadImage(str(restored(tmp_path, name, "nifti")))
    assert np.array_equal(sitk.GetArrayFromImage(restored_image), gts)
