"""A model that anyone can compute by hand, as a fake and as ONNX files; hostile npz members.

The model marks what is brighter than 128 inside the box: its embedding is the picture itself, and
its logit is the smallest of brightness - 128 and the distances to the four sides of the box.
"""

import hashlib
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.bundle import Bundle, ModelSpec
from inference.engine import Array, EngineSettings
from inference.postprocess import Mask

SHIPPED = Path(__file__).resolve().parents[2] / "inference" / "bundle"

# --- the fake -----------------------------------------------------------------------------------


def spec_of(side: int = 16, **changes: Any) -> ModelSpec:
    """The bright-pixel model for an input of ``side`` pixels."""
    return ModelSpec(
        **({"encoder": "encoder.onnx", "decoder": "decoder.onnx"} | changes), input_size=side
    )


def bundle_of(spec: ModelSpec, folder: Path = Path("nowhere")) -> Bundle:
    """A bundle of one model."""
    files = {spec.encoder: "0", spec.decoder: "1"}
    return Bundle(folder, "bright", "1", {"bright": spec}, {"default": "bright"}, files)


def bright_logits(grey: Array, boxes: Array, regions: Array) -> Array:
    """(N, side, side) logits of pictures (N, side, side) that lie in ``regions``."""
    side = grey.shape[-1]
    cells = (np.arange(side) + 0.5) / side
    x = regions[:, 0, None, None] + (regions[:, 2] - regions[:, 0])[:, None, None] * cells
    y = regions[:, 1, None, None] + (regions[:, 3] - regions[:, 1])[:, None, None] * cells[:, None]
    x0, y0, x1, y1 = (boxes[:, i, None, None] for i in range(4))
    inside = np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))
    return np.minimum(grey - 128, inside).astype(np.float32)


class FakeEngine:
    """Compiles nothing, answers as the bright-pixel model does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, int]] = []
        self.pictures: list[Array] = []
        """Every encoder input, (1, 3, side, side)."""
        self.questions: list[dict[str, Array]] = []
        """The inputs of every run of the decoder."""

    def compile_graph(
        self, bundle: Bundle, file: str, settings: EngineSettings, batch: int = 1
    ) -> "FakeGraph":
        self.compiled.append((file, batch))
        answer = self.encode if file == "encoder.onnx" else self.decode
        return FakeGraph(lambda inputs: (answer(inputs),))

    def encode(self, inputs: Mapping[str, Array]) -> Array:
        assert set(inputs) == {"image"}
        self.pictures.append(inputs["image"].copy())
        return inputs["image"][:, 1:2].copy()

    def decode(self, inputs: Mapping[str, Array]) -> Array:
        assert all(value.dtype == np.float32 for value in inputs.values())
        self.questions.append({name: value.copy() for name, value in inputs.items()})
        boxes = inputs["boxes"]
        if "crops" in inputs:
            return bright_logits(inputs["crops"][:, 1], boxes, inputs["regions"])
        side = inputs["embedding"].shape[-1]
        whole = np.broadcast_to(np.array([0, 0, side, side], np.float32), boxes.shape)
        return bright_logits(np.repeat(inputs["embedding"][:, 0], len(boxes), 0), boxes, whole)

    @property
    def boxes_asked(self) -> list[tuple[float, ...]]:
        """Every box that the decoder was given, in order."""
        return [tuple(map(float, row)) for asked in self.questions for row in asked["boxes"]]


class FakeGraph:
    def __init__(self, run: Any) -> None:
        self.run = run


def whole(mask: Mask, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask with its window put back into the picture."""
    picture = np.zeros(shape, bool)
    height, width = mask.inside.shape
    picture[mask.top : mask.top + height, mask.left : mask.left + width] = mask.inside
    return picture


# --- the same as files --------------------------------------------------------------------------
# ONNX is protobuf; these few lines write the part of it that the model needs, so that no test
# depends on the onnx package.


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **ints: int) -> bytes:
    body = b"".join(_field(1, name) for name in inputs)
    body += b"".join(_field(2, name) for name in outputs) + _field(4, kind)
    for name, value in ints.items():
        body += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
    return _field(1, body)


def _constant(name: str, values: NDArray[Any]) -> bytes:
    kind = {"float32": 1, "int64": 7}[values.dtype.name]
    dims = b"".join(_field(1, extent) for extent in values.shape)
    return _field(5, dims + _field(2, kind) + _field(8, name) + _field(9, values.tobytes()))


def _port(number: int, name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(2 if isinstance(n, str) else 1, n)) for n in shape)
    tensor = _field(1, 1) + _field(2, dims)
    return _field(number, _field(1, name) + _field(2, _field(1, tensor)))


def onnx_model(graph: bytes) -> bytes:
    """A whole file, opset 17."""
    return _field(1, 8) + _field(7, graph + _field(2, "g")) + _field(8, _field(2, 17))


def encoder_onnx(side: int) -> bytes:
    """(1, 3, side, side) -> its middle channel, (1, 1, side, side)."""
    return onnx_model(
        _node("Split", ["image"], ["red", "embedding", "blue"], axis=1)
        + _port(11, "image", [1, 3, side, side])
        + _port(12, "embedding", [1, 1, side, side])
    )


def two_tensors_onnx(side: int) -> bytes:
    """(1, 3, side, side) -> its middle channel and its last, in this order."""
    return onnx_model(
        _node("Split", ["image"], ["red", "green", "blue"], axis=1)
        + _port(11, "image", [1, 3, side, side])
        + _port(12, "green", [1, 1, side, side])
        + _port(12, "blue", [1, 1, side, side])
    )


def decoder_onnx(side: int) -> bytes:
    """The bright-pixel model over the encoder's whole input, any number of boxes."""
    centres = (np.arange(side) + 0.5).astype(np.float32)
    return onnx_model(
        _node("Squeeze", ["embedding", "first"], ["grey"])
        + _node("Sub", ["grey", "limit"], ["bright"])
        + _node("Unsqueeze", ["boxes", "last"], ["cubes"])  # (N, 4, 1)
        + _node("Split", ["cubes"], ["x0", "y0", "x1", "y1"], axis=1)  # (N, 1, 1) each
        + _node("Sub", ["x", "x0"], ["right"])
        + _node("Sub", ["x1", "x"], ["left"])
        + _node("Sub", ["y", "y0"], ["below"])
        + _node("Sub", ["y1", "y"], ["above"])
        + _node("Min", ["bright", "right", "left", "below", "above"], ["logits"])
        + _constant("first", np.array([0], np.int64))
        + _constant("last", np.array([2], np.int64))
        + _constant("limit", np.array([128], np.float32))
        + _constant("x", centres.reshape(1, 1, side))
        + _constant("y", centres.reshape(1, side, 1))
        + _port(11, "embedding", [1, 1, side, side])
        + _port(11, "boxes", ["n", 4])
        + _port(12, "logits", ["n", side, side])
    )


def volume_onnx(grid: Sequence[int]) -> bytes:
    """Whole boxes of volumes: a cell belongs to the object where it is brighter than 127.5."""
    z, y, x = grid
    return onnx_model(
        _node("Split", ["crops"], ["grey", "known"], axis=1)
        + _node("Squeeze", ["grey", "second"], ["logits"])
        + _constant("second", np.array([1], np.int64))
        + _port(11, "crops", [1, 2, z, y, x])
        + _port(11, "place", [1, 6, z, y // 2, x // 2])
        + _port(12, "logits", [1, z, y, x])
    )


def write_bundle(folder: Path, spec: ModelSpec | None = None, **changes: Any) -> Path:
    """The bright-pixel model as a bundle; ``changes`` replace keys of bundle.json."""
    spec = spec or spec_of()
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {
        "encoder.onnx": encoder_onnx(spec.input_size),
        "decoder.onnx": decoder_onnx(spec.input_size),
    }
    if spec.volume_region is not None:
        graphs[spec.volume_region.graph] = volume_onnx(spec.volume_region.grid)
    for name, content in graphs.items():
        (folder / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in graphs.items()}
    described = {
        "schema": 1,
        "name": "bright",
        "version": "1",
        "models": {"bright": asdict(spec)},
        "routing": {"default": "bright"},
        "files": digests,
    }
    (folder / "bundle.json").write_text(json.dumps(described | changes))
    return folder


# --- npz files that numpy would not write -------------------------------------------------------


def npy_bytes(descr: str, shape: tuple[int, ...], data: bytes = b"", version: int = 1) -> bytes:
    """An npy member whose header says whatever it is told to."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def write_members(path: Path, **members: bytes) -> Path:
    """An npz of raw members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
    return path


PICTURE = npy_bytes("|u1", (4, 4), bytes(16))
"""An honest ``imgs`` member."""

BOX = npy_bytes("<i8", (1, 4), np.array([0, 0, 3, 3]).tobytes())
"""An honest ``boxes`` member."""
