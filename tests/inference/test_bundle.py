"""A bundle says everything about its models, and is checked before one is loaded."""

import json

import pytest

from inference.bundle import DEFAULT_BUNDLE, GraphKey, ModelSpec, VolumeRule
from inference.bundle_file import read_bundle
from inference.errors import BundleError
from inference.rules import (
    DrawnPromptRule,
    ManyBoxesRule,
    Normalisation,
    RegionRule,
    VolumeRegionRule,
)
from tests.inference.builders import SHIPPED, write_bundle


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "bundle")


def edit(folder, change):
    """Apply ``change`` to the content of bundle.json."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(folder):
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the one that ships -------------------------------------------------------------------------


def test_the_shipped_bundle_is_what_its_digests_say():
    assert DEFAULT_BUNDLE == SHIPPED
    bundle = read_bundle(DEFAULT_BUNDLE)
    bundle.verify()
    assert set(bundle.sha256) == {path.name for path in SHIPPED.glob("*.onnx")}


def test_the_shipped_bundle_answers_for_every_modality():
    bundle = read_bundle(DEFAULT_BUNDLE)
    for modality in ("CT", "OCT", "Unknown"):
        assert bundle.model_for(modality) in bundle.models


# --- reading ------------------------------------------------------------------------------------


def test_what_is_not_said_has_its_documented_default(folder):
    def keep_what_is_needed(content):
        content["models"]["bright"] = {
            "encoder": "encoder.onnx",
            "decoder": "decoder.onnx",
            "input_size": 16,
        }

    edit(folder, keep_what_is_needed)
    assert read_bundle(folder).models["bright"] == ModelSpec(
        encoder="encoder.onnx",
        decoder="decoder.onnx",
        input_size=16,
        resize="longest-side",
        normalisation=Normalisation("none"),
        box_frame="edges",
        region=None,
        boxes_at_once=1,
        threshold=0.0,
        clip_to_box=False,
        volume=VolumeRule("repeat", "tracked", 0.0),
    )


def test_everything_can_be_said(folder):
    said = {
        "encoder": "encoder.onnx",
        "decoder": "decoder.onnx",
        "input_size": 512,
        "resize": "stretch",
        "normalisation": {"kind": "mean-std", "mean": [1, 2, 3], "std": [4, 5, 6.5]},
        "box_frame": "inclusive",
        "region": {"side": 96, "margin": 0.2, "max_aspect": 2, "min_pixels": 12},
        "boxes_at_once": 8,
        "threshold": -1,
        "clip_to_box": True,
        "volume": {"channels": "neighbours", "box": "given", "threshold": 1, "box_growth": 3},
    }
    edit(folder, lambda content: content["models"].update(bright=said))
    spec = read_bundle(folder).models["bright"]
    assert spec.normalisation == Normalisation("mean-std", (1.0, 2.0, 3.0), (4.0, 5.0, 6.5))
    assert spec.region == RegionRule(96, 0.2, 2.0, 12.0)
    assert spec.volume == VolumeRule("neighbours", "given", 1.0, 3.0)
    assert (spec.threshold, spec.boxes_at_once, spec.box_frame) == (-1.0, 8, "inclusive")


def test_an_encoder_may_give_several_tensors_and_a_decoder_take_drawn_prompts(folder):
    said = {"embedding_names": ["deep", "shallow"], "sam": {}, "drawn": {"seed": 7}}
    edit(folder, lambda content: content["models"]["bright"].update(said, published=PUBLISHED))
    spec = read_bundle(folder).models["bright"]
    assert spec.embedding_names == ("deep", "shallow")
    assert spec.drawn == DrawnPromptRule(7, "box", 0)
    published = read_bundle(folder, "published").models["bright"]
    assert published.drawn == DrawnPromptRule(7, "case", 9)


PUBLISHED = {"drawn": {"stream": "case", "skipped": 9}}


WHOLE = {"graph": "volume.onnx", "grid": [24, 64, 64], "margin": 0.2, "depth_margin": 0.15}


def test_a_model_may_answer_boxes_of_volumes_whole_by_a_graph_of_its_own(folder):
    before = read_bundle(folder).models["bright"]
    assert before.graphs(True) == before.graphs(False)
    encoder, decoder = GraphKey("encoder.onnx", 1, 2), GraphKey("decoder.onnx", 1, 1)
    assert before.graphs(True, slice_streams=2) == (encoder, decoder)  # the encoder's alone
    edit(folder, lambda content: content["models"]["bright"].update(volume_region=WHOLE))
    assert "files: expected the digest of volume.onnx" in refusal(folder)
    edit(folder, lambda content: content["files"].update({"volume.onnx": "0" * 64}))
    assert "volume.onnx: expected a graph, found no such file" in refusal(folder)
    (folder / "volume.onnx").touch()
    spec = read_bundle(folder).models["bright"]
    assert spec.volume_region == VolumeRegionRule("volume.onnx", (24, 64, 64), 0.2, 0.15, 1.0, 0.0)
    assert spec.graphs(True) == spec.graphs(True, 2) == (GraphKey("volume.onnx"),)
    assert spec.graphs(False) == (GraphKey("encoder.onnx"), GraphKey("decoder.onnx"))


MANY = {
    "prepare": "prepare.onnx",
    "decoder": "many.onnx",
    "names": ["keys", "values"],
    "boxes_at_once": 2,
    "least": 8,
}


def test_a_model_may_have_graphs_for_pictures_with_many_boxes(folder):
    edit(folder, lambda content: content["models"]["bright"].update(many_boxes=MANY))
    assert "many_boxes: expected a model with sam and without drawn" in refusal(folder)
    edit(folder, lambda content: content["models"]["bright"].update(sam={}))
    for file in ("prepare.onnx", "many.onnx"):
        assert f"files: expected the digest of {file}" in refusal(folder)
        edit(folder, lambda content, file=file: content["files"].update({file: "0" * 64}))
        assert f"{file}: expected a graph, found no such file" in refusal(folder)
        (folder / file).touch()
    spec = read_bundle(folder).models["bright"]
    assert spec.many_boxes == ManyBoxesRule("prepare.onnx", "many.onnx", ("keys", "values"), 2, 8)
    assert spec.graphs(True) == (GraphKey("encoder.onnx"), GraphKey("decoder.onnx"))
    assert spec.graphs(False) == (GraphKey("encoder.onnx"),)  # the decoder depends on the boxes
    edit(folder, lambda content: content["models"]["bright"].update(drawn={}))
    assert "many_boxes: expected a model with sam and without drawn" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("least", 0, "many_boxes.least: expected at least 1"),
        ("boxes_at_once", 0, "many_boxes.boxes_at_once: expected at least 1"),
        ("names", [], "many_boxes.names: expected a list of different names"),
        ("names", "keys", "many_boxes.names: expected a list of different names"),
        ("decoder", 3, "many_boxes.decoder: expected str"),
    ],
)
def test_a_wrong_rule_for_many_boxes_is_refused_by_name(folder, key, value, expected):
    rule = MANY | {key: value}
    edit(folder, lambda content: content["models"]["bright"].update(sam={}, many_boxes=rule))
    assert expected in refusal(folder)


def test_training_and_accuracy_are_not_read(folder):
    edit(folder, lambda content: content.update(training={"any": ["thing"]}, accuracy=None))
    assert read_bundle(folder).name == "bright"


def test_a_modality_goes_to_its_model_and_others_to_the_default(folder):
    def route(content):
        content["models"]["eyes"] = content["models"]["bright"]
        content["routing"]["OCT"] = "eyes"

    edit(folder, route)
    bundle = read_bundle(folder)
    assert [bundle.model_for(m) for m in ("OCT", "CT", "Unknown")] == ["eyes", "bright", "bright"]
    assert bundle.model_for() == "bright"


# --- refusals -----------------------------------------------------------------------------------


def test_a_folder_without_a_bundle_is_refused(tmp_path):
    assert "expected a model bundle" in refusal(tmp_path / "nowhere")
    assert "expected a model bundle" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"7", b"{}", b'{"schema": 2}'])
def test_what_is_no_bundle_json_is_refused(tmp_path, content):
    (tmp_path / "bundle.json").write_bytes(content)
    assert "bundle.json" in refusal(tmp_path)


@pytest.mark.parametrize("key", ["name", "version", "models", "routing", "files"])
def test_a_missing_key_is_named(folder, key):
    edit(folder, lambda content: content.pop(key))
    assert repr(key) in refusal(folder)


@pytest.mark.parametrize("key", ["models", "routing", "files"])
@pytest.mark.parametrize("value", [None, 3, "ab", ["x"], {"default": ["bright"]}])
def test_a_key_of_another_shape_is_refused(folder, key, value):
    edit(folder, lambda content: content.update({key: value}))
    assert "bundle.json: " in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("input_sise", 256, "input_sise: expected one of"),
        ("input_size", "256", "input_size: expected int"),
        ("input_size", 256.0, "input_size: expected int"),
        ("input_size", True, "input_size: expected int"),
        ("input_size", 0, "input_size: expected at least 1"),
        ("boxes_at_once", 0, "boxes_at_once: expected at least 1"),
        ("threshold", float("nan"), "threshold: expected float"),
        ("threshold", None, "threshold: expected float"),
        ("clip_to_box", 1, "clip_to_box: expected bool"),
        ("encoder", 3, "encoder: expected str"),
        ("resize", "crop", "resize: expected one of"),
        ("box_frame", ["edges"], "box_frame: expected one of"),
        ("normalisation", "none", "normalisation: expected an object"),
        ("normalisation", {"kind": "z-score"}, "normalisation.kind: expected one of"),
        ("normalisation", {"mean": [1, 2]}, "mean: expected three numbers"),
        ("normalisation", {"mean": ["a", 1, 2]}, "mean: expected three numbers"),
        ("normalisation", {"std": [1, 0, 1]}, "std: expected numbers other than 0"),
        ("region", {"side": 96}, "region.margin: expected this key"),
        ("region", [], "region: expected an object"),
        ("embedding_names", "embedding", "expected a list of different names"),
        ("embedding_names", [], "expected a list of different names"),
        ("embedding_names", ["a", "a"], "expected a list of different names"),
        ("drawn", {"stream": "slice"}, "drawn.stream: expected one of"),
        ("drawn", {"seed": -1}, "drawn.seed: expected at least 0"),
        ("drawn", {"seed": 1 << 32}, "drawn.seed: expected at most 4294967295"),
        ("drawn", {"skipped": 0.5}, "drawn.skipped: expected int"),
        ("drawn", {}, "drawn: expected a model with sam"),
        ("overlap", "larger-box", "overlap: expected one of"),
        ("overlap", "higher-logit", "overlap: expected a model with region"),
        ("region", {"side": 9, "margin": 0, "max_aspect": 1, "min_pixels": 0, "others": 1},
         "region.others: expected bool"),
        ("tight", {"told": "sometimes"}, "tight.told: expected one of"),
        ("tight", {"gap": -0.1}, "tight.gap: expected at least 0"),
        ("tight", {}, "tight: expected a model with region"),
        ("volume", {"channels": "three"}, "volume.channels: expected one of"),
        ("volume", {"box_growth": -1}, "volume.box_growth: expected at least 0"),
        ("volume_region", [], "volume_region: expected an object"),
        ("volume_region", {"graph": "v.onnx"}, "volume_region.grid: expected this key"),
        ("volume_region", WHOLE | {"grid": [24, 64]}, "grid: expected three whole numbers"),
        ("volume_region", WHOLE | {"grid": [24, 64, 63]}, "grid: expected three whole numbers"),
        ("volume_region", WHOLE | {"grid": [0, 64, 64]}, "grid: expected three whole numbers"),
        ("volume_region", WHOLE | {"grid": [24, 64, 64.0]}, "grid: expected three whole numbers"),
        ("volume_region", WHOLE | {"depth_margin": -0.1}, "depth_margin: expected at least 0"),
        ("volume_region", WHOLE | {"min_margin": "1"}, "min_margin: expected float"),
        ("volume_region", WHOLE | {"mirrored": 1}, "mirrored: expected bool"),
        ("volume_region", WHOLE | {"doubt_below": -1}, "doubt_below: expected at least 0"),
        ("volume_region", WHOLE | {"side": 64}, "volume_region.side: expected one of"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_path(folder, key, value, message):
    edit(folder, lambda content: content["models"]["bright"].update({key: value}))
    assert f"models.bright.{key}" in refusal(folder)
    assert message in refusal(folder)


def test_a_model_needs_its_graphs_in_the_folder_and_their_digests(folder):
    edit(folder, lambda content: content["files"].pop("decoder.onnx"))
    assert "files: expected the digest of decoder.onnx" in refusal(folder)
    write_bundle(folder)
    (folder / "encoder.onnx").unlink()
    assert "encoder.onnx: expected a graph, found no such file" in refusal(folder)


def test_a_route_must_lead_to_a_model(folder):
    edit(folder, lambda content: content["routing"].update(CT="nowhere"))
    assert "routing.CT: expected one of ['bright'], found nowhere" in refusal(folder)
    edit(folder, lambda content: content.update(routing={"CT": "bright"}))
    assert "routing: expected the key default" in refusal(folder)


def test_a_graph_that_differs_from_its_digest_is_found(folder):
    read_bundle(folder).verify()
    (folder / "encoder.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match="encoder.onnx: expected sha256"):
        read_bundle(folder).verify()


def test_a_listed_graph_that_is_not_there_is_found(folder):
    edit(folder, lambda content: content["files"].update({"spare.onnx": "0" * 64}))
    with pytest.raises(BundleError, match="spare.onnx: expected a graph"):
        read_bundle(folder).verify()
