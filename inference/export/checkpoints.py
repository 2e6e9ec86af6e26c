"""Checkpoints as they are found: plain, wrapped, prefixed, safetensors; never unpickled code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from inference.export.errors import ExportError

Tensors = dict[str, torch.Tensor]

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which a training script keeps the weights beside its optimiser; looked into one
inside another."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning modules put before every name."""

PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
"""Names of a whole model begin with one of these."""


def read_checkpoint(path: Path) -> Tensors:
    """Every tensor of a checkpoint by its published name.

    Raises:
        ExportError: not a file, not a checkpoint, or one that holds Python objects.
    """
    if not path.is_file():
        raise ExportError(f"{path}: expected a checkpoint file, found none")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    return strip_prefixes(unwrap(content, path))


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ExportError(f"{path}: expected safetensors, found: {_first_line(error)}") from error


def _torch_file(path: Path) -> Any:
    """The content of a file of torch.save; never anything but tensors, numbers and words."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no type of its own for a file that it refuses
        text = str(error)
        if not ("weights_only" in text or "Unsupported" in text or "GLOBAL" in text):
            raise ExportError(
                f"{path}: expected a checkpoint, found: {_first_line(error)}"
            ) from None
    try:
        content = _without_objects(path)
    except Exception:
        content = None
    if not _has_wrapped_tensors(content):
        raise ExportError(
            f"{path}: expected tensors only, found pickled Python objects (a whole module?),"
            " which could run any code when loaded; in its own project's environment run"
            " torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW) and give NEW; of a"
            ' dict save its ["state_dict"] or ["model"]'
        )
    return content


class _Ignored:
    """What stands in the file for a Python object; nothing of the object is imported or run."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _IgnoredMapping:
    """The same for one that the file fills as it fills a dict (Lightning's AttributeDict)."""

    def __new__(cls, *_: Any) -> Any:
        return {}


def _without_objects(path: Path) -> Any:
    """Training scripts keep Python objects beside the weights (Lightning its optimiser's settings,
    the baseline's a loss of numpy): those are left out, the rest is read with ``weights_only`` as
    ever."""
    names = get_unsafe_globals_in_checkpoint(path)
    known: list[Any] = [
        (_IgnoredMapping if name.lower().endswith("dict") else _Ignored, name) for name in names
    ]
    with safe_globals(known):
        return torch.load(path, map_location="cpu", weights_only=True)


def _has_wrapped_tensors(content: Any) -> bool:
    """Whether a wrapper's key holds tensors by name and nothing else."""
    inner = [content.get(key) for key in WRAPPERS] if isinstance(content, dict) else []
    return any(
        isinstance(held, Mapping)
        and len(held) > 0
        and all(isinstance(value, torch.Tensor) for value in held.values())
        for held in inner
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def unwrap(content: Any, path: Path) -> Tensors:
    """The mapping of tensors inside the wrappers that training scripts put around it."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, torch.Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items()}
        inner = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = content[inner[0]]
    found = type(content).__name__
    if isinstance(content, Mapping):
        found = f"the keys {', '.join(sorted(map(str, content))[:6]) or 'none'}"
    raise ExportError(
        f"{path}: expected tensors by name, alone or under {', '.join(WRAPPERS)}, found {found}"
    )


def strip_prefixes(tensors: Tensors) -> Tensors:
    """Names without what wrapping modules put before all of them."""
    changed = True
    while changed and tensors:
        changed = False
        for prefix in PREFIXES:
            # Lightning keeps losses beside the model: what has the prefix and a part is the model
            chosen = [n for n in tensors if n.startswith(tuple(prefix + part for part in PARTS))]
            every = all(name.startswith(prefix) for name in tensors)
            if chosen or every:
                names = list(tensors) if every else chosen
                tensors = {name.removeprefix(prefix): tensors[name] for name in names}
                changed = True
    return tensors
