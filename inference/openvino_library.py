"""Compiled graphs run through OpenVINO's C library, by ctypes.

The Python package costs about 0.2 s at every start (it imports frontends, operator sets and the
model converter), and even its extension module alone needs numpy before it loads a graph.  The C
library (https://docs.openvino.ai, "OpenVINO Runtime C API") needs neither, and ctypes lets Python
go on during every call: graphs are loaded while numpy is imported and the case is read.  Only
compiled graphs are opened here; compiling stays with the package.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Callable, Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import lru_cache
from math import prod

from inference.errors import EngineError
from inference.signal_stack import signal_stack_kept

TYPE_CHECKING = False  # as typing's, which this module does without: it is imported first of all
if TYPE_CHECKING:
    from typing import Any

    from inference.engine import Array

_F32 = 4
"""``F32`` of ``ov_element_type_e``."""


class _Shape(ctypes.Structure):
    _fields_ = [("rank", c_int64), ("dims", POINTER(c_int64))]


class _Version(ctypes.Structure):
    _fields_ = [("build", c_char_p), ("description", c_char_p)]


_FUNCTIONS: Mapping[str, tuple[Any, ...]] = {
    "ov_get_openvino_version": (c_void_p,),
    "ov_core_create": (c_void_p,),
    "ov_core_import_model": (c_void_p, c_void_p, c_size_t, c_char_p, c_void_p),
    "ov_compiled_model_inputs_size": (c_void_p, c_void_p),
    "ov_compiled_model_outputs_size": (c_void_p, c_void_p),
    "ov_compiled_model_input_by_index": (c_void_p, c_size_t, c_void_p),
    "ov_port_get_any_name": (c_void_p, c_void_p),
    "ov_compiled_model_create_infer_request": (c_void_p, c_void_p),
    "ov_infer_request_set_tensor": (c_void_p, c_char_p, c_void_p),
    "ov_infer_request_set_output_tensor_by_index": (c_void_p, c_size_t, c_void_p),
    "ov_infer_request_infer": (c_void_p,),
    "ov_infer_request_get_output_tensor_by_index": (c_void_p, c_size_t, c_void_p),
    "ov_tensor_create_from_host_ptr": (c_int, _Shape, c_void_p, c_void_p),
    "ov_tensor_get_element_type": (c_void_p, c_void_p),
    "ov_tensor_get_shape": (c_void_p, c_void_p),
    "ov_tensor_data": (c_void_p, c_void_p),
    "ov_shape_free": (c_void_p,),
}
"""Arguments of every function that gives a status, 0 where all went well."""

_RELEASES = (
    "ov_infer_request_free",
    "ov_compiled_model_free",
    "ov_tensor_free",
    "ov_output_const_port_free",
    "ov_version_free",
    "ov_free",
)


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
        self._requests = Requests(lambda: _made(make, compiled))
        self._names = _input_names(library, compiled)
        count = c_size_t()
        _check(library.ov_compiled_model_outputs_size(compiled, byref(count)))
        first = self._requests.idle[0]
        self._shapes = [self._output(first, i)[0] for i in range(count.value)]

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run once; outputs whose shape is known beforehand are written where the caller has them,
        others are copied out of the engine's buffers."""
        import numpy as np  # imported by whoever made the inputs

        from inference.engine import wanted_inputs  # here: this module is imported before that one

        library, held = self._library, []
        request = self._requests.take()
        try:
            for name, given in zip(self._names, wanted_inputs(self._names, inputs), strict=True):
                array = given.astype("float32", order="C", copy=False)
                held.append((_tensor(library, array), array))
                _check(library.ov_infer_request_set_tensor(request, name.encode(), held[-1][0]))
            written = {}
            for i, shape in enumerate(self._shapes):
                if 0 not in shape:
                    written[i] = np.empty(shape, dtype=np.float32)
                    held.append((_tensor(library, written[i]), written[i]))
                    put = library.ov_infer_request_set_output_tensor_by_index
                    _check(put(request, i, held[-1][0]))
            _check(library.ov_infer_request_infer(request))
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

        shape, address = self._output(request, index)
        values = (ctypes.c_float * prod(shape)).from_address(address)
        return np.array(values, dtype=np.float32).reshape(shape)

    def _output(self, request: c_void_p, index: int) -> tuple[list[int], int]:
        """Shape and address of an output of a request; before the first run an axis whose length
        depends on the inputs is 0."""
        library = self._library
        tensor = _made(library.ov_infer_request_get_output_tensor_by_index, request, index)
        kind, shape, data = c_int(), _Shape(), c_void_p()
        try:
            _check(library.ov_tensor_get_element_type(tensor, byref(kind)))
            _check(library.ov_tensor_get_shape(tensor, byref(shape)))
            _check(library.ov_tensor_data(tensor, byref(data)))
            if kind.value != _F32:
                raise EngineError(f"openvino: expected float32 from a graph, found {kind.value}")
            return [shape.dims[i] for i in range(shape.rank)], data.value or 0
        finally:
            library.ov_shape_free(byref(shape))
            library.ov_tensor_free(tensor)

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
    core = _core(tuple(config.items()))
    size = len(content) - start
    address = ctypes.addressof((ctypes.c_char * size).from_buffer(content, start))
    with signal_stack_kept():
        compiled = _made(library.ov_core_import_model, core, address, size, b"CPU")
    return LibraryGraph(library, compiled, content)


def open_device(config: Mapping[str, str]) -> None:
    """Load the processor's device with these properties, which the first graph would have to.

    Raises:
        OSError, EngineError: as :func:`import_graph`.
    """
    _core(tuple(config.items()))


def library_version() -> str:
    """Version of the library, as the package's ``get_version`` gives it.

    Raises:
        OSError: the library is not there.
    """
    library, version = load_library(), _Version()
    _check(library.ov_get_openvino_version(byref(version)))
    text = (version.build or b"").decode()
    library.ov_version_free(byref(version))
    return text


@lru_cache(maxsize=1)
def load_library() -> Any:
    """The C library beside the installed package.

    Raises:
        OSError: there is none, or it does not load.
    """
    try:
        found = importlib.util.find_spec("openvino")
    except ValueError:  # something else stands under this name
        found = None
    folders = [] if found is None else list(found.submodule_search_locations or ())
    paths = [
        os.path.join(folder, "libs", name)
        for folder in folders
        for name in os.listdir(os.path.join(folder, "libs"))
        if name.startswith("libopenvino_c.so")
    ]
    if not paths:
        raise OSError("libopenvino_c.so: expected in the package openvino, found none")
    library = ctypes.CDLL(min(paths))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int
    for name in _RELEASES:
        function = getattr(library, name)
        function.argtypes, function.restype = (c_void_p,), None
    return library


@lru_cache(maxsize=8)
def _core(config: tuple[tuple[str, str], ...]) -> c_void_p:
    """OpenVINO with these properties of the processor; kept for the rest of the process."""
    with signal_stack_kept():
        return _new_core(load_library(), config)


def _new_core(library: Any, config: tuple[tuple[str, str], ...]) -> c_void_p:
    core = _made(library.ov_core_create)
    for key, value in config:  # of variable length, ended by NULL
        words = (c_char_p(word) for word in (b"CPU", key.encode(), value.encode()))
        _check(library.ov_core_set_property(core, *words, c_void_p()))
    return core


def _input_names(library: Any, compiled: c_void_p) -> list[str]:
    count = c_size_t()
    _check(library.ov_compiled_model_inputs_size(compiled, byref(count)))
    names = []
    for i in range(count.value):
        port = _made(library.ov_compiled_model_input_by_index, compiled, i)
        text = _made(library.ov_port_get_any_name, port)
        names.append(ctypes.string_at(text.value or 0).decode())
        library.ov_free(text)
        library.ov_output_const_port_free(port)
    return names


def _tensor(library: Any, array: Array) -> c_void_p:
    """A tensor that lies on the memory of a C-ordered float32 array."""
    dims = (c_int64 * array.ndim)(*array.shape)
    shape = _Shape(array.ndim, ctypes.cast(dims, POINTER(c_int64)))
    return _made(library.ov_tensor_create_from_host_ptr, _F32, shape, array.ctypes.data)


def _made(function: Any, *arguments: Any) -> c_void_p:
    """What ``function`` puts where its last argument points."""
    result = c_void_p()
    _check(function(*arguments, byref(result)))
    return result


def _check(status: int) -> None:
    if status == 0:
        return
    tell = load_library().ov_get_last_err_msg
    tell.restype = c_char_p
    message = " ".join((tell() or b"").decode(errors="replace").split())[:200]
    raise EngineError(f"openvino: status {status}: {message}")
