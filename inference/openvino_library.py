"""Compiled graphs run through OpenVINO's C library, by ctypes.

The Python package costs about 0.2 s at every start (it imports frontends, operator sets and the
model converter), and even its extension module alone needs numpy before it loads a graph.  The C
library (https://docs.openvino.ai, "OpenVINO Runtime C API") needs neither, and ctypes lets Python
go on during every call: graphs are loaded while numpy is imported and the case is read.  Only
compiled graphs are opened with it (:mod:`inference.library_graph`); compiling stays with the
package.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import lru_cache

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
    "ov_compiled_model_output_by_index": (c_void_p, c_size_t, c_void_p),
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


def open_device(config: Mapping[str, str]) -> None:
    """Load the processor's device with these properties, which the first graph would have to.

    Raises:
        OSError, EngineError: the library is not there, or refuses them.
    """
    core_with(tuple(config.items()))


def library_version() -> str:
    """Version of the library, as the package's ``get_version`` gives it.

    Raises:
        OSError: the library is not there.
    """
    library, version = load_library(), _Version()
    check(library.ov_get_openvino_version(byref(version)))
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
def core_with(config: tuple[tuple[str, str], ...]) -> c_void_p:
    """OpenVINO with these properties of the processor; kept for the rest of the process."""
    with signal_stack_kept():
        return _new_core(load_library(), config)


def _new_core(library: Any, config: tuple[tuple[str, str], ...]) -> c_void_p:
    core = made(library.ov_core_create)
    for key, value in config:  # of variable length, ended by NULL
        words = (c_char_p(word) for word in (b"CPU", key.encode(), value.encode()))
        check(library.ov_core_set_property(core, *words, c_void_p()))
    return core


def port_names(library: Any, compiled: c_void_p, kind: str) -> list[str]:
    """What a compiled graph calls its inputs or outputs (``kind``: input, output), in its order."""
    count = c_size_t()
    check(getattr(library, f"ov_compiled_model_{kind}s_size")(compiled, byref(count)))
    port_at, names = getattr(library, f"ov_compiled_model_{kind}_by_index"), []
    for i in range(count.value):
        port = made(port_at, compiled, i)
        text = made(library.ov_port_get_any_name, port)
        names.append(ctypes.string_at(text.value or 0).decode())
        library.ov_free(text)
        library.ov_output_const_port_free(port)
    return names


def output_of(library: Any, request: c_void_p, index: int) -> tuple[list[int], int]:
    """Shape and address of an output of a request; before the first run an axis whose length
    depends on the inputs is 0."""
    tensor = made(library.ov_infer_request_get_output_tensor_by_index, request, index)
    kind, shape, data = c_int(), _Shape(), c_void_p()
    try:
        check(library.ov_tensor_get_element_type(tensor, byref(kind)))
        check(library.ov_tensor_get_shape(tensor, byref(shape)))
        check(library.ov_tensor_data(tensor, byref(data)))
        if kind.value != _F32:
            raise EngineError(f"openvino: expected float32 from a graph, found {kind.value}")
        return [shape.dims[i] for i in range(shape.rank)], data.value or 0
    finally:
        library.ov_shape_free(byref(shape))
        library.ov_tensor_free(tensor)


def tensor_on(library: Any, array: Array) -> c_void_p:
    """A tensor that lies on the memory of a C-ordered float32 array."""
    dims = (c_int64 * array.ndim)(*array.shape)
    shape = _Shape(array.ndim, ctypes.cast(dims, POINTER(c_int64)))
    return made(library.ov_tensor_create_from_host_ptr, _F32, shape, array.ctypes.data)


def made(function: Any, *arguments: Any) -> c_void_p:
    """What ``function`` puts where its last argument points."""
    result = c_void_p()
    check(function(*arguments, byref(result)))
    return result


def check(status: int) -> None:
    """Raise what the library says, unless all went well.

    Raises:
        EngineError: its message, on one line.
    """
    if status == 0:
        return
    tell = load_library().ov_get_last_err_msg
    tell.restype = c_char_p
    message = " ".join((tell() or b"").decode(errors="replace").split())[:200]
    raise EngineError(f"openvino: status {status}: {message}")
