"""Files that appear whole under their names or not at all."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def replace_whole(path: Path, write: Callable[[Path], object], ending: str) -> None:
    """Have ``write`` fill a file beside ``path`` under a temporary name with ``ending``, and rename
    it.

    Raises:
        OSError: it cannot be written.  Then, as after any other error of ``write``, nothing is left
            of it, and what was there before stays.
    """
    partial = path.with_name(f".{os.urandom(8).hex()}{ending}")
    try:
        write(partial)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
