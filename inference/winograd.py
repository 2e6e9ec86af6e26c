"""Convolutions with fewer multiplications: Winograd's F(4 x 4, 3 x 3), as a rewriting of a graph
before OpenVINO compiles it.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.  Tiles of 6 x 6
pixels, four pixels apart, become 36 numbers a channel, each of which meets one matrix of weights;
16 numbers come back and are the 4 x 4 pixels of the tile.  A pixel then costs 2.25 multiplications
a pair of channels in the place of 9.  In exact arithmetic the answer is the convolution's; in
float32 it differs in the last digits (about 1e-5 of the largest value), in bf16 by too much.

OpenVINO's processor plugin has no such convolution.  Written as products of matrices it pays where
there are many channels, as in the necks of the SAM encoders (``docs/speed.md``): the turns of a
picture into tiles and back cost the same for every channel, the products what their number squared
is.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.rewriting import replace_nodes

Matrix = NDArray[np.float64]

LEAST_CHANNELS = 128
"""Of input and of output; with 64 it was slower on every size that was measured."""
LEAST_PIXELS = 1024
"""Of the picture: few tiles leave the weights, now four times as many, as what takes the time."""

_INPUT: Matrix = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=np.float64,
)
_WEIGHTS: Matrix = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=np.float64,
)
_OUTPUT: Matrix = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=np.float64,
)
"""B^T, G and A^T of the paper's section 4.3: points 0, 1, -1, 2, -2."""


def rewrite(model: Any) -> int:
    """Put products of matrices in the place of those convolutions of an ``openvino.Model`` for
    which they are faster; returns of how many.  The model's shapes have to be fixed."""
    return replace_nodes(model, _pays, _products)


def _pays(node: Any) -> bool:
    """Whether a node is a 3 x 3 convolution of one picture that keeps its size, in whole tiles,
    and large enough."""
    if node.get_type_name() != "Convolution":
        return False
    picture, weights = node.input_value(0), node.input_value(1)
    stored = _stored(weights.get_node())
    if stored.get_type_name() != "Constant" or not picture.get_partial_shape().is_static:
        return False
    shape, filters = list(picture.get_shape()), list(weights.get_shape())
    values = node.get_attributes()
    ones = [1, 1]
    same = values["auto_pad"] in ("same_upper", "same_lower") or (
        values["auto_pad"] == "explicit" and values["pads_begin"] == values["pads_end"] == ones
    )
    return (
        _type_of(stored) in ("f32", "f16")
        and picture.get_element_type().get_type_name() == "f32"
        and len(shape) == 4
        and shape[0] == 1
        and filters[2:] == [3, 3]
        and values["strides"] == values["dilations"] == ones
        and same
        and min(filters[:2]) >= LEAST_CHANNELS
        and shape[2] % 4 == shape[3] % 4 == 0
        and shape[2] * shape[3] >= LEAST_PIXELS
    )


def _stored(node: Any) -> Any:
    """The constant that a node is, or whose numbers, of 16 bits, it makes float32."""
    return node.input_value(0).get_node() if node.get_type_name() == "Convert" else node


def _type_of(node: Any) -> str:
    return str(node.get_output_element_type(0).get_type_name())


def _products(convolution: Any) -> Any:
    """(1, C, H, W) to (1, O, H, W), weights (O, C, 3, 3), one pixel of zeros around."""
    from openvino import opset8 as ops

    picture = convolution.input_value(0)
    weights = _stored(convolution.input_value(1).get_node()).get_data()

    def constant(values: NDArray[Any]) -> Any:
        return ops.constant(values.astype(np.float32))

    def shaped(node: Any, *extents: int) -> Any:
        return ops.reshape(node, ops.constant(np.array(extents, np.int64)), False)

    def turned(node: Any, *axes: int) -> Any:
        return ops.transpose(node, ops.constant(np.array(axes, np.int64)))

    _, channels, height, width = picture.get_shape()
    outputs, rows, columns = len(weights), height // 4, width // 4
    # 36 matrices (O, C)
    spread = np.einsum("ik,ockl,jl->ijoc", _WEIGHTS, weights.astype(np.float64), _WEIGHTS)
    across = ops.matmul(picture, constant(_tiles(columns)), False, True)
    tiles = ops.matmul(constant(_tiles(rows)), across, False, False)  # (1, C, 6 rows, 6 columns)
    tiles = turned(shaped(tiles, channels, 6, rows, 6, columns), 1, 3, 0, 2, 4)
    tiles = shaped(tiles, 36, channels, rows * columns)
    met = ops.matmul(constant(spread.reshape(36, outputs, channels)), tiles, False, False)
    met = shaped(met, 36, outputs * rows * columns)
    back = ops.matmul(constant(np.kron(_OUTPUT, _OUTPUT)), met, False, False)
    back = turned(shaped(back, 4, 4, outputs, rows, columns), 2, 3, 0, 4, 1)
    return shaped(back, 1, outputs, height, width)


def _tiles(count: int) -> Matrix:
    """(6 * count, 4 * count): a row (column) of pixels to what its tiles' input transform makes of
    them, the first number of every tile, then the second, ...; outside the picture are zeros."""
    padded = np.zeros((6, count, 4 * count + 2))
    for tile in range(count):
        padded[:, tile, 4 * tile : 4 * tile + 6] = _INPUT
    return padded[:, :, 1:-1].reshape(6 * count, 4 * count)
