"""Hyperbolic tangents by the logistic function, as a rewriting of a graph before OpenVINO compiles
it: for GELU in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415), which the EfficientViT
encoders have.

Without AVX-512 OpenVINO's kernel of tanh gathers its coefficients from a table, 2.7 ns a number on
two cores, a quarter of an encoder's time; its logistic function is computed in a tenth of that
(``docs/speed.md``).  In exact arithmetic the answer is the same; in float32 it differs in the last
digits.
"""

from typing import Any

import numpy as np

from inference.processor import processor
from inference.rewriting import replace_nodes

LEAST_NUMBERS = 1 << 20
"""Numbers from which on a step is rewritten.  Each costs 3 ms more when the compiled graph is
opened: with this many it has them back with the first picture."""


def is_slow() -> bool:
    """Whether OpenVINO's tanh is slow on this processor: x86 without AVX-512."""
    words = processor().split()
    return "avx2" in words and "avx512f" not in words


def rewrite(model: Any) -> int:
    """Put logistic functions in the place of the large tanh of an ``openvino.Model``, those inside
    GELU too; returns of how many.

    They are chains of small steps now and fast only as one kernel (``SNIPPETS_MODE``).
    """
    return replace_nodes(model, _is_large_tanh, _logistic)


def _is_large_tanh(node: Any) -> bool:
    kind = node.get_type_name()
    if kind != "Tanh" and not (
        kind == "Gelu" and node.get_attributes().get("approximation_mode", "").lower() == "tanh"
    ):
        return False
    shape = node.get_output_partial_shape(0)
    is_f32 = node.get_output_element_type(0).get_type_name() == "f32"
    return is_f32 and shape.is_static and int(np.prod(list(shape.to_shape()))) >= LEAST_NUMBERS


def _logistic(node: Any) -> Any:
    make = _logistic_gelu if node.get_type_name() == "Gelu" else _logistic_tanh
    return make(node.input_value(0))


def _logistic_tanh(x: Any) -> Any:
    """tanh x = 2 / (1 + exp(-2 x)) - 1."""
    from openvino import opset8 as ops

    doubled = ops.sigmoid(ops.multiply(x, _number(2)))
    return ops.subtract(ops.multiply(doubled, _number(2)), _number(1))


def _logistic_gelu(x: Any) -> Any:
    """x / 2 (1 + tanh(a (x + b x^3))) = x / (1 + exp(-2 a x (1 + b x^2))), a = sqrt(2 / pi),
    b = 0.044715."""
    from openvino import opset8 as ops

    twice = 2 * np.sqrt(2 / np.pi)
    slope = ops.add(ops.multiply(ops.multiply(x, x), _number(twice * 0.044715)), _number(twice))
    return ops.multiply(ops.sigmoid(ops.multiply(slope, x)), x)


def _number(value: float) -> Any:
    from openvino import opset8 as ops

    return ops.constant(np.array(value, np.float32))
