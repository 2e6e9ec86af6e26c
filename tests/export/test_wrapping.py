"""Ready-made graphs into bundles, on small graphs with the inputs of the published ones.

Every decoder's logit is the smallest distance to the sides of the box, as a part of the input, plus
the mean of the positional encoding where it takes one: masks are the boxes, worked out by hand.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as op

import inference
from inference.bundle_file import read_bundle
from inference.engine import EngineSettings, compile_graph
from inference.errors import BundleError
from inference.export.__main__ import main
from tests.inference.builders import _constant, _node, _port, onnx_model

ROOT = Path(__file__).resolve().parents[2]

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def run(*words):
    return main(["wrap", *(str(word) for word in words)])


def save(path, results, inputs):
    openvino.save_model(openvino.Model(results, inputs, "published"), path, compress_to_fp16=False)
    return path


def parameter(name, shape):
    node = op.parameter(shape, np.float32, name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def named(node, name):
    result = op.result(node)
    result.output(0).get_tensor().set_names({name})
    return result


def encoder(path, side, last, seed=0):
    """(side, side, 3) or (1, 3, side, side) to (1, 256, 64, 64), with random weights."""
    image = parameter("image", [side, side, 3] if last else [1, 3, side, side])
    first = image
    if last:
        first = op.unsqueeze(op.transpose(image, np.array([2, 0, 1])), np.array(0))
    step = side // 64
    weights = np.random.default_rng(seed).standard_normal((256, 3, step, step)).astype(np.float32)
    answer = op.convolution(first, weights, [step] * 2, [0, 0], [0, 0], [1, 1])
    return save(path, [named(answer, "image_embeddings")], [image])


def distances(unit_boxes, side):
    """(1, 1, side, side) smallest distance to the sides of a box (1, 4), negative outside."""
    centres = ((np.arange(side) + 0.5) / side).astype(np.float32)
    x, y = centres.reshape(1, 1, 1, side), centres.reshape(1, 1, side, 1)
    edges = [op.reshape(part, np.array([1, 1, 1, 1]), False) for part in
             op.split(unit_boxes, np.array(1), 4).outputs()]  # fmt: skip
    across = op.minimum(op.subtract(x, edges[0]), op.subtract(edges[2], x))
    return op.minimum(across, op.minimum(op.subtract(y, edges[1]), op.subtract(edges[3], y)))


def whole_decoder(path, names=("image_embeddings", "boxes")):
    """MedficientSAM's: boxes (4,) from 0 to 1, masks (1, 1, 512, 512)."""
    embedding, boxes = parameter(names[0], [1, 256, 64, 64]), parameter(names[1], [4])
    zero = op.multiply(op.reduce_mean(embedding, np.array([1, 2, 3]), True), np.float32(0))
    logits = op.add(distances(op.reshape(boxes, np.array([1, 4]), False), 512), zero)
    return save(path, [named(logits, "masks")], [embedding, boxes])


def daft_folder(folder, experts, positions=0.0):
    """DAFT's: encoder, shared prompt encoder that adds half a pixel, mask decoder, positions."""
    folder.mkdir()
    boxes = parameter("boxes", [-1, 1, 1, 4])
    unit = op.divide(op.add(boxes, np.float32(0.5)), np.float32(256))
    flat = op.reshape(unit, np.array([-1, 2, 2]), False)
    sparse = op.tile(op.unsqueeze(flat, np.array(3)), np.array([1, 1, 1, 128]))
    sparse = op.reshape(sparse, np.array([-1, 2, 256]), False)
    dense = op.constant(np.zeros((1, 256, 64, 64), np.float32))
    answers = [named(sparse, "sparse_embeddings"), named(dense, "dense_embeddings")]
    save(folder / "prompt_encoder.xml", answers, [boxes])
    np.save(folder / "positional_encoding.npy", np.full((1, 256, 64, 64), positions, np.float32))
    for seed, expert in enumerate(experts):
        encoder(folder / f"{expert}_image_encoder.xml", 256, False, seed)
        shapes = {
            "image_embeddings": [1, 256, 64, 64],
            "image_pe": [1, 256, 64, 64],
            "sparse_prompt_embeddings": [1, 2, 256],
            "dense_prompt_embeddings": [1, 256, 64, 64],
        }
        inputs = {name: parameter(name, shape) for name, shape in shapes.items()}
        corners = op.gather(inputs["sparse_prompt_embeddings"], np.array([0, 128]), np.array(2))
        rest = op.add(inputs["image_embeddings"], inputs["dense_prompt_embeddings"])
        rest = op.add(op.multiply(rest, np.float32(0)), inputs["image_pe"])
        unit = op.reshape(corners, np.array([1, 4]), False)
        mean = op.reduce_mean(rest, np.array([1, 2, 3]), True)
        logits = named(op.add(distances(unit, 256), mean), "low_res_masks")
        scores = named(op.constant(np.ones((1, 1), np.float32)), "iou_predictions")
        save(folder / f"{expert}_mask_decoder.xml", [logits, scores], list(inputs.values()))
    return folder


DAFT = ("3D", "XRay", "US", "Fundus", "Endoscopy", "Dermoscopy", "Microscopy", "Mammography",
        "OCT", "general")  # fmt: skip


@pytest.fixture
def medficient(tmp_path):
    """--encoder and --decoder with their files."""
    made = (encoder(tmp_path / "e.xml", 512, True), whole_decoder(tmp_path / "d.xml"))
    return ["--encoder", made[0], "--decoder", made[1]]


def test_wrapped_graphs_give_what_the_published_ones_give(medficient, tmp_path):
    assert run("medficientsam-l0", *medficient, "--out", tmp_path / "b") == 0
    bundle = read_bundle(tmp_path / "b")
    bundle.verify()
    random = np.random.default_rng(1)
    image = random.random((1, 3, 512, 512), np.float32)
    as_given = np.ascontiguousarray(image[0].transpose(1, 2, 0))
    theirs = openvino.compile_model(medficient[1], "CPU", F32)(as_given)[0]
    ours = compile_graph(bundle, "encoder.xml", EngineSettings()).run({"image": image})[0]
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
    box = np.array([[100, 40.5, 300.25, 500]], np.float32)
    decoder = compile_graph(bundle, "decoder.xml", EngineSettings())
    found = decoder.run({"embedding": ours, "boxes": box})[0]
    expected = openvino.compile_model(medficient[3], "CPU", F32)([theirs, box[0] / 512])[0]
    assert found.shape == (1, 512, 512)
    assert np.allclose(found, expected[:, 0], atol=1e-6)


def test_masks_are_the_boxes_of_the_published_program(medficient, tmp_path):
    run("medficientsam-l0", *medficient, "--out", tmp_path / "b")
    picture = np.random.default_rng(0).integers(0, 256, (256, 512, 3)).astype(np.uint8)
    expected = np.zeros((256, 512), np.uint8)
    expected[20:60, 10:100] = 1  # box 10..100: centres 10.5 to 99.5, input and picture alike
    segmenter = inference.load(tmp_path / "b", fidelity="published")
    assert np.array_equal(segmenter.segment(picture, [[10, 20, 100, 60]]), expected)


def test_experts_with_one_prompt_encoder_become_a_routed_bundle(tmp_path):
    folder = daft_folder(tmp_path / "openvinomodels", DAFT)
    assert run("daft", "--folder", folder, "--out", tmp_path / "b") == 0
    segmenter = inference.load(tmp_path / "b")
    assert set(segmenter.bundle.models) == set(DAFT)
    assert segmenter.bundle.model_for("X-Ray") == "XRay"
    picture = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
    expected = np.zeros((256, 256), np.uint8)
    expected[21:60, 11:100] = 1  # the half pixel once: 10.5 to 100.5, centres on either left out
    assert np.array_equal(segmenter.segment(picture, [[10, 20, 100, 60]], "X-Ray"), expected)
    assert list(segmenter._models) == ["XRay"]


def test_the_positional_encoding_reaches_the_decoder(tmp_path):
    folder = daft_folder(tmp_path / "openvinomodels", DAFT, positions=2.0)
    assert run("daft", "--folder", folder, "--out", tmp_path / "b") == 0
    picture = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
    assert (inference.load(tmp_path / "b").segment(picture, [[10, 20, 100, 60]]) == 1).all()


def test_onnx_files_are_wrapped_too(tmp_path):
    index = np.arange(256, dtype=np.int64) % 48
    graph = onnx_model(
        _node("SpaceToDepth", ["image"], ["cells"], blocksize=4)
        + _node("Gather", ["cells", "index"], ["out"], axis=1)
        + _constant("index", index)
        + _port(11, "image", [1, 3, 256, 256])
        + _port(12, "out", [1, 256, 64, 64])
    )
    (tmp_path / "e.onnx").write_bytes(graph)
    daft_folder(tmp_path / "parts", ("a",))
    parts = ("--decoder", tmp_path / "parts" / "a_mask_decoder.xml", "--prompt-encoder",
             tmp_path / "parts" / "prompt_encoder.xml", "--positions",
             tmp_path / "parts" / "positional_encoding.npy")  # fmt: skip
    out = ("--out", tmp_path / "b")
    assert run("repmedsam", "--encoder", tmp_path / "e.onnx", *parts, *out) == 0
    assert read_bundle(tmp_path / "b").models["general"].sam.box_offset == 0


def test_weights_alone_tell_two_wrapped_graphs_apart(medficient, tmp_path):
    run("medficientsam-l0", *medficient, "--out", tmp_path / "b")
    encoder(tmp_path / "e.xml", 512, True, seed=7)
    run("medficientsam-l0", *medficient, "--out", tmp_path / "other")
    first, second = read_bundle(tmp_path / "b"), read_bundle(tmp_path / "other")
    assert first.sha256["encoder.xml"] != second.sha256["encoder.xml"]  # names compiled graphs
    (tmp_path / "b" / "encoder.bin").write_bytes(bytes(10))
    with pytest.raises(BundleError, match=r"encoder\.bin"):
        first.verify()


def test_wrapping_needs_no_torch(medficient, tmp_path):
    program = (
        "import sys; sys.modules.update(torch=None, kornia=None, safetensors=None);"
        "from inference.export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["wrap", "medficientsam-l0", *map(str, medficient), "--out", str(tmp_path / "b")]
    ended = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "b" / "bundle.json").is_file()


REFUSALS = (
    ("medsam", {}, r"e\.xml: expected one input, \(1, 3, 1024, 1024\) or .* found image"),
    ("medficientsam-l0", {"--decoder": "e.xml"}, r"expected the inputs embedding or"),
    ("medficientsam-l0", {"--decoder": "no.xml"}, r"no\.xml: expected a graph"),
    ("medficientsam-l0", {"--encoder": "d.xml"}, r"d\.xml: expected one input"),
    ("medficientsam-l0", {"--decoder": "bare.xml"}, r"expected bare\.bin beside it"),
    ("medficientsam-l0", {"--decoder": "text.onnx"}, r"text\.onnx: expected ONNX or OpenVINO"),
    ("medficientsam-l0", {"--decoder": "part.xml"}, r"part\.xml: a mask decoder alone"),
    ("daft", {}, r"daft: expected a folder of experts' graphs, found"),
)


@pytest.mark.parametrize(("system", "changes", "message"), REFUSALS)
def test_what_does_not_fit_is_refused_in_one_line(
    medficient, tmp_path, capsys, system, changes, message
):
    (tmp_path / "bare.xml").write_text("<net/>")
    (tmp_path / "text.onnx").write_text("no graph")
    parts = daft_folder(tmp_path / "parts", ("a",))
    for suffix in (".xml", ".bin"):
        (tmp_path / "part").with_suffix(suffix).symlink_to(parts / f"a_mask_decoder{suffix}")
    given = {"--encoder": "e.xml", "--decoder": "d.xml"} | changes
    words = [w for name, file in given.items() for w in (name, tmp_path / file)]
    assert run(system, *words, "--out", tmp_path / "b") == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and re.search(message, text), text
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob(".b*"))


def test_boxes_of_unknown_scale_are_refused(tmp_path, capsys):
    files = ("--encoder", encoder(tmp_path / "e.xml", 256, False), "--decoder",
             whole_decoder(tmp_path / "d.xml"))  # fmt: skip
    assert run("repmedsam", *files, "--out", tmp_path / "b") == 2
    assert "whose boxes' scale is known of MedficientSAM only" in capsys.readouterr().err


def test_a_missing_expert_is_named(tmp_path, capsys):
    folder = daft_folder(tmp_path / "openvinomodels", DAFT[:-1])
    assert run("daft", "--folder", folder, "--out", tmp_path / "b") == 2
    assert "general_image_encoder.xml: expected a graph" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--encoder", "e"), ("--folder", "f", "--decoder", "d")])
def test_a_call_without_the_right_files_is_wrong(words, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        run("daft", *words, "--out", tmp_path / "b")


def test_a_system_of_several_tensors_is_not_wrapped(tmp_path, capsys):
    words = ("--encoder", "e.onnx", "--decoder", "d.onnx", "--out", tmp_path / "b")
    assert run("swin-litemedsam", *words) == 2
    assert "expected a system whose graphs were published" in capsys.readouterr().err
