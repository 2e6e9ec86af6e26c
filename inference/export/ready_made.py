"""Ready-made graphs of the teams (ONNX or OpenVINO IR) as the two graphs of a bundle.

Their inputs are adapted inside the graph, so the run time knows nothing of them: OpenVINO reads
either format, the adapted graph is written as IR.  Weights stay as they are, 16 bits where they
were 16 bits.  Known are

- MedficientSAM (``cpp/src/main.cpp``, ``src/models/onnx/``): an encoder that takes (512, 512, 3),
  and a decoder of ``image_embeddings`` and ``boxes`` (4,), divided by the longest side, that
  answers on 512 x 512;
- DAFT (``cpp/src/main.cpp``, ``export_onnx.py``): image encoder, prompt encoder, mask decoder and
  the positional encoding as an npy file; the prompt encoder adds half a pixel itself;
- bundles of our own (``embedding`` and ``boxes`` in pixels of the input).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as op

from inference.export.errors import ExportError

EMBEDDING = (1, 256, 64, 64)

ENCODED = ("embedding", "image_embeddings")
"""Names of a decoder's first input, ours first."""

LOGITS = ("logits", "masks", "low_res_masks")
"""Names of a decoder's answer where it has further outputs."""


@dataclass(frozen=True)
class GraphFiles:
    """The ready-made files of one model."""

    encoder: Path
    decoder: Path
    prompt_encoder: Path | None = None
    """Set: ``decoder`` is a mask decoder alone."""
    positions: Path | None = None
    """npy of the dense positional encoding, (1, 256, 64, 64), which such a decoder is given."""


def encoder_graph(path: Path, side: int) -> Any:
    """An encoder of ``image`` (1, 3, side, side).

    Raises:
        ExportError: no graph, or one that takes something else.
    """
    model = read_graph(path)
    image = op.parameter([1, 3, side, side], np.float32, name="image")
    first, last = (1, 3, side, side), (side, side, 3)
    if len(model.inputs) == 1 and _takes(model.inputs[0], first):
        _feed(model.inputs[0], image)
    elif len(model.inputs) == 1 and (_takes(model.inputs[0], last)):
        turned = op.transpose(image, np.array([0, 2, 3, 1]))
        _feed(model.inputs[0], op.reshape(turned, np.array(last), False))
    else:
        raise ExportError(
            f"{path}: expected one input, {first} or {last}, found {_listed(model.inputs)}"
        )
    return _model(path, _result(path, model, ("embedding",)), EMBEDDING, [image], "embedding")


def decoder_graph(files: GraphFiles, side: int, unit_boxes: bool) -> Any:
    """A decoder of ``embedding`` (1, 256, 64, 64) and ``boxes`` (1, 4), input pixels.

    Raises:
        ExportError: no graph, one that takes something else, or a part is missing.
    """
    model = read_graph(files.decoder)
    embedding = op.parameter(list(EMBEDDING), np.float32, name="embedding")
    boxes = op.parameter([1, 4], np.float32, name="boxes")
    names = {name: port for port in model.inputs for name in port.get_names()}
    encoded = next((name for name in ENCODED if name in names), None)
    if encoded and "sparse_prompt_embeddings" in names:
        _feed_prompts(files, names, boxes)
    elif encoded and "boxes" in names and len(model.inputs) == 2:
        if encoded != "embedding" and not unit_boxes:
            raise ExportError(
                f"{files.decoder}: expected a mask decoder or embedding and boxes, found"
                f" {_listed(model.inputs)}, whose boxes' scale is known of MedficientSAM only"
            )
        in_unit = encoded != "embedding"
        scaled = op.divide(boxes, np.float32(side)) if in_unit else boxes
        _feed(names["boxes"], _shaped(scaled, names["boxes"]))
    else:
        raise ExportError(
            f"{files.decoder}: expected the inputs {' or '.join(ENCODED)} and boxes, or those of a"
            f" mask decoder (sparse_prompt_embeddings, ...), found {_listed(model.inputs)}"
        )
    if not _takes(names[encoded], EMBEDDING):
        raise ExportError(
            f"{files.decoder}: expected {encoded} {EMBEDDING}, found {_listed([names[encoded]])}"
        )
    _feed(names[encoded], embedding)
    logits = _result(files.decoder, model, LOGITS)
    return _model(files.decoder, logits, (1, -1, -1), [embedding, boxes], "logits")


def _feed_prompts(files: GraphFiles, names: dict[str, Any], boxes: Any) -> None:
    """Put the prompt encoder and the positional encoding before a mask decoder."""
    wanted = ("image_pe", "sparse_prompt_embeddings", "dense_prompt_embeddings")
    if missing := [name for name in wanted if name not in names]:
        raise ExportError(f"{files.decoder}: expected the inputs {wanted}, missing {missing}")
    if files.prompt_encoder is None or files.positions is None:
        raise ExportError(
            f"{files.decoder}: a mask decoder alone; expected a prompt encoder and a positional"
            " encoding with it, found none"
        )
    prompts = read_graph(files.prompt_encoder)
    asked = [port for port in prompts.inputs if "boxes" in port.get_names()]
    if len(asked) != 1 or len(prompts.inputs) != 1:
        found = _listed(prompts.inputs)
        raise ExportError(f"{files.prompt_encoder}: expected the one input boxes, found {found}")
    _feed(asked[0], _shaped(boxes, asked[0]))
    for target, name in (
        ("sparse_prompt_embeddings", "sparse"),
        ("dense_prompt_embeddings", "dense"),
    ):
        answer = _result(files.prompt_encoder, prompts, (f"{name}_embeddings",))
        _feed(names[target], answer)
    _feed(names["image_pe"], op.constant(_positions(files.positions)))


def _positions(path: Path) -> np.ndarray[Any, Any]:
    """The dense positional encoding."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ExportError(f"{path}: expected an npy file, found: {error}") from error
    if getattr(values, "shape", None) != EMBEDDING or values.dtype.kind != "f":
        found = f"{getattr(values, 'dtype', type(values).__name__)} {getattr(values, 'shape', '')}"
        raise ExportError(f"{path}: expected real numbers {EMBEDDING}, found {found}")
    return np.asarray(values, np.float32)


def read_graph(path: Path) -> Any:
    """A graph of a file, ONNX or OpenVINO IR.

    Raises:
        ExportError: no such file, or none that OpenVINO reads.
    """
    if not path.is_file():
        raise ExportError(f"{path}: expected a graph, .onnx or .xml, found no such file")
    if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
        raise ExportError(f"{path}: expected {path.stem}.bin beside it, found no such file")
    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise ExportError(f"{path}: expected ONNX or OpenVINO IR, found: {first}") from error


def save_graph(model: Any, path: Path) -> None:
    """Write ``path`` (.xml) and its .bin; the .xml names the digest of its weights, so the digest
    of the .xml alone tells two graphs apart."""
    weights = path.with_suffix(".bin")
    openvino.save_model(model, path, compress_to_fp16=False)
    model.set_rt_info(hashlib.sha256(weights.read_bytes()).hexdigest(), "weights_sha256")
    openvino.save_model(model, path, compress_to_fp16=False)


def _takes(port: Any, shape: tuple[int, ...]) -> bool:
    return bool(port.partial_shape.compatible(openvino.PartialShape(list(shape))))


def _shaped(boxes: Any, port: Any) -> Any:
    """Boxes (1, 4) in as many dimensions as a graph's input has."""
    rank = port.partial_shape.rank.get_length() if port.partial_shape.rank.is_static else 2
    return op.reshape(boxes, np.array([1] * (rank - 1) + [4]), False)


def _feed(port: Any, node: Any) -> None:
    """What an input fed is fed by ``node`` instead."""
    source = node if isinstance(node, openvino.Output) else node.output(0)
    if port.element_type != openvino.Type.f32:
        source = op.convert(source, port.element_type.to_string()).output(0)
    for target in port.get_target_inputs():
        target.replace_source_output(source)


def _result(path: Path, model: Any, names: tuple[str, ...]) -> Any:
    """What a graph answers: its only output, or the one of these names."""
    ports = model.outputs
    if len(ports) > 1:
        ports = [port for port in ports if port.get_names() & set(names)]
    if len(ports) != 1:
        expected = " or ".join(names)
        raise ExportError(f"{path}: expected an output {expected}, found {_listed(model.outputs)}")
    return ports[0].get_node().input_value(0)


def _model(path: Path, answer: Any, shape: tuple[int, ...], inputs: list[Any], name: str) -> Any:
    """The graph from ``inputs`` to ``answer`` in ``shape``; -1 stands for the sizes it has."""
    try:
        inner = openvino.Model([op.result(answer)], inputs, name)  # settles every shape
        for node in inner.get_ops():  # a step that OpenVINO leaves out gives its names to its input
            for port in node.outputs():
                port.get_tensor().set_names(set())
        for node in inputs:
            node.output(0).get_tensor().set_names({node.get_friendly_name()})
        found = tuple(answer.partial_shape.to_shape())
        if -1 in shape:
            shape = (1, *found[-2:])
        if len(found) < 2 or int(np.prod(found)) != int(np.prod(shape)):
            raise ExportError(f"{path}: expected an answer {shape}, found {found}")
        result = op.result(op.reshape(answer, np.array(shape), False))
        result.output(0).get_tensor().set_names({name})
        return openvino.Model([result], inputs, name)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise ExportError(f"{path}: expected a graph for these shapes, found: {first}") from error


def _listed(ports: Any) -> str:
    """Names and shapes, for a message."""
    return ", ".join(
        f"{'/'.join(sorted(port.get_names())) or '?'} {port.partial_shape}" for port in ports
    )
