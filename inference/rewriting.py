"""How steps of a graph are replaced before OpenVINO compiles it (winograd.py, tanh.py)."""

from collections.abc import Callable
from typing import Any


def replace_nodes(model: Any, is_wanted: Callable[[Any], bool], make: Callable[[Any], Any]) -> int:
    """Put what ``make`` gives for a node of an ``openvino.Model`` in the place of each that
    ``is_wanted``, under its names; returns of how many."""
    found = [node for node in model.get_ordered_ops() if is_wanted(node)]
    for node in found:
        new = make(node)
        new.set_friendly_name(node.get_friendly_name())
        new.output(0).add_names(node.output(0).get_names())
        node.output(0).replace(new.output(0))
    return len(found)
