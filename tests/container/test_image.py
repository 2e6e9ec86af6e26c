"""The image keeps its contract, whoever runs it, whatever lies in the inputs folder."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import CaseMaker
from tests.container.conftest import ORGANISERS_COMMAND, OWN_COMMAND, ROOT, Masks, RunImage

pytestmark = pytest.mark.docker

SIZE_LIMIT_BYTES = 450_000_000

SHAPES = {
    "2DBox_US_1.npz": (60, 80),
    "2DBox_OCT_7.npz": (64, 64),
    "3DBox_CT_12.npz": (7, 50, 40),
}
"""The good cases and the shapes of their masks."""

USERS = pytest.mark.parametrize(
    "user", [(), ("--user", "12345:12345")], ids=["image's user", "any user"]
)
ROOTS = pytest.mark.parametrize(
    "root", [(), ("--read-only",)], ids=["writable root", "read-only root"]
)


@pytest.fixture
def good_cases(make_case: CaseMaker) -> None:
    make_case("2DBox_US_1", (60, 80, 3), [(5, 8, 30, 40), (40, 20, 70, 50)])
    make_case("2DBox_OCT_7", (64, 64), [(10.5, 12.0, 50.25, 40.0)])
    make_case("3DBox_CT_12", (7, 50, 40), [(8, 10, 1, 30, 38, 5)], spacing=np.array([1.0, 1.0, 3]))


def same(found: Masks, expected: Masks) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in expected
    )


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


@USERS
@ROOTS
@pytest.mark.parametrize("form", [OWN_COMMAND, ORGANISERS_COMMAND], ids=["own", "organisers"])
@pytest.mark.usefixtures("good_cases")
def test_every_case_gets_its_mask_and_inputs_stay_as_they_are(
    run_image: RunImage,
    tmp_path: Path,
    form: tuple[str, ...],
    user: tuple[str, ...],
    root: tuple[str, ...],
) -> None:
    before = digests(tmp_path / "cases")
    outcome = run_image(*user, *root, form=form)
    assert (outcome.exit_code, outcome.files) == (0, sorted(SHAPES)), outcome.stderr
    for name, mask in outcome.masks.items():
        assert (mask.shape, mask.dtype) == (SHAPES[name], np.uint8)
        assert mask.any()
    assert digests(tmp_path / "cases") == before


def test_volumes_and_pictures_with_boxes_beside_them_are_answered_in_kind(
    run_image: RunImage, make_case: CaseMaker, tmp_path: Path
) -> None:
    with np.load(make_case("2DBox_US_1", (60, 80, 3), [(5, 8, 30, 40)])) as case:
        Image.fromarray(case["imgs"]).save(tmp_path / "cases" / "US_1.png")
    values = np.full((40, 50, 7), 20, np.int16)
    values[8:30, 10:38, 1:6] = 400
    affine = np.diag([-0.8, -0.8, 3.0, 1.0])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "cases" / "CT_1.nii.gz")
    rows = {"US_1.png": [[5, 8, 30, 40]], "CT_1.nii.gz": [[8, 10, 1, 29, 37, 5]]}
    (tmp_path / "cases" / "boxes.json").write_text(json.dumps(rows))
    outcome = run_image("--read-only", "--user", "12345:12345")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.files == ["2DBox_US_1.npz", "CT_1.nii.gz", "US_1.png"]
    answer = nib.load(outcome.outputs / "CT_1.nii.gz")
    assert np.allclose(answer.affine, affine) and answer.shape == values.shape
    assert np.asarray(answer.dataobj).any()
    with np.load(outcome.outputs / "2DBox_US_1.npz") as mask:
        assert np.array_equal(np.array(Image.open(outcome.outputs / "US_1.png")), mask["segs"])


def test_bad_cases_are_refused_by_name_and_the_good_ones_done(
    run_image: RunImage, make_case: CaseMaker
) -> None:
    good = [make_case("2DBox_US_good1"), make_case("2DBox_US_good2", seed=2)]
    whole = make_case("2DBox_CT_truncated").read_bytes()
    nan = np.full((20, 20), np.nan)
    bad = [
        make_case("2DBox_CT_pickled", imgs=np.array([{}, None], object)),
        make_case("2DBox_CT_reversed", boxes=[(40, 12, 10, 40)]),
        make_case("2DBox_CT_rank", imgs=np.zeros((2, 3, 4, 5), np.uint8)),
        make_case("2DBox_CT_nan", imgs=nan, boxes=[(1, 1, 5, 5)]),
        make_case("2DBox_CT_outside", boxes=[(500, 500, 600, 600)]),
    ]
    folder = good[0].parent
    (folder / "2DBox_CT_truncated.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(folder / "2DBox_CT_keyless.npz", imgs=np.zeros((9, 9), np.uint8))
    (folder / "2DBox_CT_empty.npz").write_bytes(b"")
    bad += [folder / f"2DBox_CT_{name}.npz" for name in ("truncated", "keyless", "empty")]
    outcome = run_image("--read-only")
    assert outcome.exit_code == 1
    assert outcome.files == sorted(path.name for path in good)
    assert "Traceback" not in outcome.stderr
    for path in bad:
        assert len([line for line in outcome.stderr.splitlines() if path.name in line]) == 1


def test_a_case_without_boxes_gets_an_empty_mask(run_image: RunImage, make_case: CaseMaker) -> None:
    make_case("2DBox_US_1", (30, 40, 3), boxes=[])
    make_case("3DBox_MR_1", (4, 30, 40), boxes=np.zeros((0, 6)))
    outcome = run_image()
    assert outcome.exit_code == 0, outcome.stderr
    masks = outcome.masks
    assert masks["2DBox_US_1.npz"].shape == (30, 40) and not masks["2DBox_US_1.npz"].any()
    assert masks["3DBox_MR_1.npz"].shape == (4, 30, 40) and not masks["3DBox_MR_1.npz"].any()


def test_three_hundred_boxes_get_two_bytes_a_pixel(
    run_image: RunImage, make_case: CaseMaker
) -> None:
    boxes = [(x + 2, y + 2, x + 17, y + 17) for y in range(0, 300, 20) for x in range(0, 400, 20)]
    assert len(boxes) == 300
    make_case("2DBox_Microscopy_1", (300, 400, 3), boxes)
    outcome = run_image()
    assert outcome.exit_code == 0, outcome.stderr
    (mask,) = outcome.masks.values()
    assert mask.dtype == np.uint16
    assert 255 < mask.max() <= 300


def test_a_mask_of_an_earlier_run_is_replaced_whole(
    run_image: RunImage, make_case: CaseMaker, tmp_path: Path
) -> None:
    make_case("2DBox_US_1")
    first = run_image(out="first")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "2DBox_US_1.npz").write_bytes(bytes(3_000_000))
    (tmp_path / "masks" / "2DBox_US_1.npz").chmod(0o444)
    second = run_image()
    assert second.exit_code == 0, second.stderr
    assert second.files == ["2DBox_US_1.npz"]
    assert same(second.masks, first.masks)


def test_an_empty_inputs_folder_is_no_error_and_a_missing_one_is(run_image: RunImage) -> None:
    assert run_image().exit_code == 0
    missing = run_image(command=("sh", "predict.sh", "-i", "/nowhere"))
    assert missing.exit_code == 2
    assert len(missing.stderr.splitlines()) == 1


# --- the compiled model -------------------------------------------------------------------------


@pytest.mark.usefixtures("good_cases")
def test_the_compiled_model_is_used(run_image: RunImage) -> None:
    command = ("sh", "predict.sh", "--verbose")
    compiled = run_image("--user", "12345:12345", "--read-only", command=command)
    assert compiled.exit_code == 0
    assert "compil" not in compiled.stderr
    control = run_image("-e", "MEDSAM_CACHE=/nonexistent", command=command, out="control")
    assert "compil" in control.stderr


def damage_nothing_there(blob: Path) -> None:
    blob.unlink()


def damage_garbage(blob: Path) -> None:
    blob.write_bytes(np.random.default_rng(1).bytes(100_000))


def damage_truncated(blob: Path) -> None:
    with blob.open("r+b") as stream:
        stream.truncate(blob.stat().st_size // 2)


def damage_empty(blob: Path) -> None:
    blob.write_bytes(b"")


def damage_unreadable(blob: Path) -> None:
    blob.chmod(0o400)


def damage_folder_unreadable(blob: Path) -> None:
    blob.parent.chmod(0o700)


@pytest.mark.parametrize(
    "damage",
    [
        damage_nothing_there,
        damage_garbage,
        damage_truncated,
        damage_empty,
        damage_unreadable,
        damage_folder_unreadable,
    ],
)
@pytest.mark.usefixtures("good_cases")
def test_without_a_usable_compiled_model_the_masks_are_the_same(
    run_image: RunImage,
    docker_client: str,
    image: str,
    tmp_path: Path,
    damage: Callable[[Path], None],
) -> None:
    expected = run_image(out="expected")
    cache = tmp_path / "cache"
    docker_copy(docker_client, image, "/opt/medsam/cache", cache)
    blobs = list(cache.iterdir())
    assert blobs
    for blob in blobs:
        damage(blob)
    flags = ("--read-only", "--user", "12345:12345", "-v", f"{cache}:/opt/medsam/cache:ro")
    found = run_image(*flags)
    assert (found.exit_code, same(found.masks, expected.masks)) == (0, True), found.stderr


def docker_copy(docker_client: str, image: str, source: str, target: Path) -> None:
    def docker(*words: str) -> str:
        line = [docker_client, *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    container = docker("create", image)
    try:
        docker("cp", f"{container}:{source}", str(target))
    finally:
        docker("rm", container)


@pytest.mark.usefixtures("good_cases")
def test_the_other_engine_gives_nearly_the_same_masks(run_image: RunImage) -> None:
    expected = run_image(out="expected").masks
    command = ("sh", "predict.sh", "--engine", "onnxruntime")
    found = run_image("--read-only", "--user", "12345:12345", command=command)
    assert (found.exit_code, found.stderr) == (0, "")
    for name, mask in found.masks.items():
        assert (mask != expected[name]).mean() < 0.001


# --- what is in it ------------------------------------------------------------------------------


def test_the_image_is_small_and_starts_predict_sh(docker_client: str, image: str) -> None:
    line = [docker_client, "image", "inspect", image]
    (found,) = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    assert found["Size"] < SIZE_LIMIT_BYTES
    config = found["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (None, ["sh", "predict.sh"])
    assert config["WorkingDir"] == "/workspace"


def test_nothing_but_numpy_the_engines_and_two_readers_is_installed(
    ask_image: Callable[[str], str],
) -> None:
    """The readers, of NIfTI and PNG, are nibabel and Pillow; an npz case imports neither."""
    unwanted = ("torch", "pandas", "cv2", "scipy", "pydicom", "matplotlib", "docker", "evaluation")
    program = f"import importlib.util as u; print([n for n in {unwanted} if u.find_spec(n)])"
    assert ask_image(f'python3 -c "{program}"').strip() == "[]"


def test_installed_versions_are_the_pinned_ones(ask_image: Callable[[str], str]) -> None:
    pinned = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M))
    program = (
        "import importlib.metadata as m;"
        "print(*(d.name + '==' + d.version for d in m.distributions()))"
    )
    installed = dict(word.split("==") for word in ask_image(f'python3 -c "{program}"').split())
    assert {name: installed.get(name) for name in pinned} == pinned


def test_every_user_can_read_the_program(ask_image: Callable[[str], str]) -> None:
    assert ask_image("find /opt/medsam /workspace ! -type l ! -perm -o+r") == ""
    assert ask_image("find /opt/medsam /workspace -type d ! -perm -o+x") == ""


@pytest.mark.usefixtures("good_cases")
def test_a_start_compiles_no_python(run_image: RunImage) -> None:
    """Missing byte code of numpy and OpenVINO costs 0.6 s a start."""
    from_source = re.compile(r"code object from '?/\S+\.py'?$", re.M)
    start = run_image("-e", "PYTHONVERBOSE=1")
    assert start.exit_code == 0
    assert from_source.findall(start.stderr) == []
    control = run_image("-e", "PYTHONVERBOSE=1", "-e", "PYTHONPYCACHEPREFIX=/none", out="control")
    assert len(from_source.findall(control.stderr)) > 50


def test_the_python_of_these_tests_is_one_that_the_hashes_cover() -> None:
    assert (3, 11) <= sys.version_info < (3, 14)
