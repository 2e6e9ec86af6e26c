"""Files that appear whole under their name or not at all."""

from collections.abc import Callable
from pathlib import Path

from data_splits.errors import SourceError
from inference.whole_file import replace_whole


def write_whole(path: Path, write: Callable[[Path], None], ending: str = ".partial") -> None:
    """Have ``write`` fill a file under a temporary name with ``ending``, and rename it.

    Some writers choose their format by the ending; otherwise no reader should take it for a case.

    Raises:
        SourceError: it cannot be written; nothing is left of it, and what was there before stays.
    """
    try:
        replace_whole(path, write, ending)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror or error}") from error
