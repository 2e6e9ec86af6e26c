"""Compiled graphs, opened and run through OpenVINO's C library (:mod:`openvino_library`)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from ctypes import c_void_p
from math import prod

from inference.errors import EngineError
from inference.openvino_library import (
    check,
    core_with,
    load_library,
    made,
    output_of,
    port_names,
    tensor_on,
)
from inference.signal_stack import signal_stack_kept

TYPE_CHECKING = False  # as typing's, which this module does without: it is imported first of all
if TYPE_CHECKING:
    from typing import Any

    from inference.engine import Array


class Requests:
    """A compiled graph's requests, each for one thread at a time."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.idle = [make()]

    def take(self) -> Any:
        """One that no thread is using."""
        try:
            return self.idle.pop()  # one step for Python, so no thread gets another's
        except IndexError:
            return self._make()

    def give(self, request: Any) -> None:
        """Take it back."""
        self.idle.append(request)


class LibraryGraph:
    """A compiled graph; may be run by several threads at a time, which is of use with as many
    streams."""

    def __init__(self, library: Any, compiled: c_void_p, content: Any) -> None:
        self._library, self._compiled = library, compiled
        self._content = content  # the weights stay where they are
        make = library.ov_compiled_model_create_infer_request
        self._requests = Requests(lambda: made(make, compiled))
        self._names = port_names(library, compiled, "input")
        outputs, first = port_names(library, compiled, "output"), self._requests.idle[0]
        self._shapes = [output_of(library, first, i)[0] for i in range(len(outputs))]
        # an output that is an input is the same tensor to the library: to set it sets the input
        self._in_place = [
            0 not in shape and name not in self._names
            for name, shape in zip(outputs, self._shapes, strict=True)
        ]

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run once; outputs whose shape is known beforehand are written where the caller has them,
        others, and inputs among them, are copied out of the engine's buffers."""
        import numpy as np  # imported by whoever made the inputs

        from inference.engine import wanted_inputs  # here: this module is imported before that one

        library, held = self._library, []
        request = self._requests.take()
        try:
            for name, given in zip(self._names, wanted_inputs(self._names, inputs), strict=True):
                array = given.astype("float32", order="C", copy=False)
                held.append((tensor_on(library, array), array))
                check(library.ov_infer_request_set_tensor(request, name.encode(), held[-1][0]))
            written = {}
            for i, shape in enumerate(self._shapes):
                if self._in_place[i]:
                    written[i] = np.empty(shape, dtype=np.float32)
                    held.append((tensor_on(library, written[i]), written[i]))
                    put = library.ov_infer_request_set_output_tensor_by_index
                    check(put(request, i, held[-1][0]))
            check(library.ov_infer_request_infer(request))
            return tuple(
                written[i] if i in written else self._copied(request, i)
                for i in range(len(self._shapes))
            )
        finally:
            for tensor, _ in held:
                library.ov_tensor_free(tensor)
            self._requests.give(request)

    def _copied(self, request: c_void_p, index: int) -> Array:
        import numpy as np

        shape, address = output_of(self._library, request, index)
        if 0 in shape:
            return np.empty(shape, dtype=np.float32)
        if not address:
            raise EngineError(f"openvino: expected output {index} of a graph, found no memory")
        values = (ctypes.c_float * prod(shape)).from_address(address)
        return np.array(values, dtype=np.float32).reshape(shape)

    def __del__(self) -> None:
        for request in self._requests.idle:
            self._library.ov_infer_request_free(request)
        self._library.ov_compiled_model_free(self._compiled)


def import_graph(content: Any, start: int, config: Mapping[str, str]) -> LibraryGraph:
    """The compiled graph that a writable buffer holds from byte ``start`` on; its weights are used
    where they lie.

    Raises:
        OSError: the library is not there.
        EngineError: it refuses the content.
    """
    library = load_library()
    core = core_with(tuple(config.items()))
    size = len(content) - start
    address = ctypes.addressof((ctypes.c_char * size).from_buffer(content, start))
    with signal_stack_kept():
        compiled = made(library.ov_core_import_model, core, address, size, b"CPU")
    return LibraryGraph(library, compiled, content)
