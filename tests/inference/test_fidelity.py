"""The published rules of a bundle: applied only where they are asked for."""

import json

import numpy as np
import pytest

import inference
from inference.bundle import VolumeRule
from inference.bundle_file import read_bundle
from inference.command_line import main
from inference.errors import BundleError
from inference.rules import SamRule
from tests.inference.builders import spec_of, write_bundle

DEFECTS = {
    "sam": {"box_scaling": "truncated"},
    "volume": {"z_range": "without-last"},
    "label_type": "uint8",
}


@pytest.fixture
def folder(tmp_path):
    spec = spec_of(sam=SamRule(box_offset=0.25), volume=VolumeRule(box_growth=2.0))
    folder = write_bundle(tmp_path / "bundle", spec, schema=2)
    edit(folder, lambda content: content["models"]["bright"].update(published=DEFECTS))
    return folder


def edit(folder, change):
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_default_is_corrected(folder):
    bundle = read_bundle(folder)
    spec = bundle.models["bright"]
    assert bundle.fidelity == "corrected"
    assert spec.sam == SamRule(box_offset=0.25)
    assert (spec.volume.z_range, spec.label_type) == ("closed", "as-needed")


def test_published_rules_replace_single_keys(folder):
    bundle = read_bundle(folder, "published")
    spec = bundle.models["bright"]
    assert bundle.fidelity == "published"
    assert spec.sam == SamRule("truncated", box_offset=0.25)
    assert spec.volume == VolumeRule(box_growth=2.0, z_range="without-last")
    assert spec.label_type == "uint8"


def test_a_bundle_may_ask_for_its_published_rules(folder):
    edit(folder, lambda content: content.update(fidelity="published"))
    assert read_bundle(folder).models["bright"].label_type == "uint8"
    assert read_bundle(folder, "corrected").models["bright"].label_type == "as-needed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fidelity": "exact"}, "fidelity: expected corrected or published"),
        ({"schema": 3}, "schema: expected 1 or 2, found 3"),
    ],
)
def test_what_is_not_known_is_refused(folder, change, message):
    edit(folder, lambda content: content.update(change))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "published: expected an object"),
        ({"sam": {"box": 1}}, "published.sam.box: expected one of"),
        ({"label_type": "int8"}, "published.label_type: expected one of"),
    ],
)
def test_bad_published_rules_are_refused_though_nobody_asks_for_them(folder, rules, message):
    edit(folder, lambda content: content["models"]["bright"].update(published=rules))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_the_command_line_chooses(folder, make_case, tmp_path):
    volume = np.full((6, 16, 16), 200, np.uint8)
    path = make_case("3DBox_CT_1", (6, 16, 16), [[3, 3, 1, 12, 12, 4]], imgs=volume)
    ends = {}
    for fidelity in ("corrected", "published"):
        out = tmp_path / fidelity
        words = ["-i", str(path.parent), "-o", str(out), "--model", str(folder)]
        assert main([*words, "--engine", "onnxruntime", "--fidelity", fidelity]) == 0
        segs = np.load(out / path.name)["segs"]
        ends[fidelity] = sorted(set(np.nonzero(segs)[0].tolist()))
    assert ends == {"corrected": [1, 2, 3, 4], "published": [1, 2, 3]}


def test_volumes_may_have_a_model_of_their_own(folder):
    def route(content):
        content["models"]["solid"] = content["models"]["bright"]
        content["routing"] = {"default": "bright", "CT": "bright", "3D": "solid"}

    edit(folder, route)
    bundle = read_bundle(folder)
    assert bundle.model_for("CT") == "bright"
    assert bundle.model_for("CT", is_volume=True) == bundle.model_for("US", True) == "solid"


def test_from_python_too(folder):
    assert inference.load(folder, fidelity="published").bundle.fidelity == "published"
