"""Weights of sixteen bits in a file of half the size; the arithmetic stays float32.

Weights are rounded in torch, after the batch norms are folded into them, and the graphs are then
compared with that network as ever: what is stored is exactly what is computed.  The engines turn
the weights back into float32 when they load a graph, so a case takes no longer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.whole_file import replace_whole

STORED_WHOLE = 256
"""Tensors of fewer numbers stay float32: biases and constants, which weigh nothing."""


def fold_batch_norms(module: nn.Module) -> None:
    """Fold every batch norm behind a convolution of the same sequence into it, in place; the module
    must be in use mode."""
    for child in module.children():
        fold_batch_norms(child)
    if not isinstance(module, nn.Sequential):
        return
    for i in range(len(module) - 1):
        first, second = module[i], module[i + 1]
        if isinstance(first, nn.Conv2d | nn.Conv3d) and isinstance(
            second, nn.BatchNorm2d | nn.BatchNorm3d
        ):
            module[i] = torch.nn.utils.fuse_conv_bn_eval(first, second)
            module[i + 1] = nn.Identity()


def round_to_half(module: nn.Module) -> None:
    """Round every weight that :func:`store_half` stores in sixteen bits to such a number."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= STORED_WHOLE:
                parameter.copy_(parameter.half().float())


def store_half(path: Path) -> None:
    """Store the float32 weights of an ONNX file in sixteen bits, each turned back by a Cast, which
    both engines carry out once, when they load the file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < STORED_WHOLE:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    _save(model, [*casts, *graph.node], path)


def store_whole(path: Path) -> None:
    """Undo :func:`store_half`: weights of 32 bits, rounded as they are, and no Cast."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    halves = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    kept = []
    for node in graph.node:
        if node.op_type != "Cast" or node.input[0] not in halves:
            kept.append(node)
            continue
        tensor = halves[node.input[0]]
        values = numpy_helper.to_array(tensor).astype("float32")
        tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    _save(model, kept, path)


def _save(model: Any, nodes: Sequence[Any], path: Path) -> None:
    """Write ``model`` with these nodes in the place of its own."""
    import onnx

    del model.graph.node[:]
    model.graph.node.extend(nodes)
    replace_whole(path, lambda partial: onnx.save(model, partial), ".partial")
