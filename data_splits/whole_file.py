"""Files that appear whole under their name or not at all."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from data_splits.errors import SourceError


def write_whole(path: Path, write: Callable[[Path], None], ending: str = ".partial") -> None:
    """Have ``write`` fill a file under a temporary name with ``ending``, and rename it.

    Some writers choose their format by the ending; otherwise no reader should take it for a case.

    Raises:
        SourceError: it cannot be written; nothing is left of it, and what was there before stays.
    """
    partial = path.with_name(f".{os.urandom(8).hex()}{ending}")
    try:
        write(partial)
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SourceError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise
