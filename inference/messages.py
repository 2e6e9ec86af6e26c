"""What the program tells besides its results, through :mod:`logging`.

Importing logging takes 4 ms of a start; nobody who has not imported it waits for news.
"""

import contextlib
import sys


def tell_info(name: str, text: str, error: BaseException | None = None) -> None:
    """For those who asked for it (``--verbose``), with the traceback of an error."""
    if "logging" in sys.modules:
        import logging

        logging.getLogger(name).info("%s", text, exc_info=error)


def say(text: str) -> None:
    """A line on stderr for everybody; where nobody can read it (none is open, its reader has gone)
    it is lost, and nothing else."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)


def tell_warning(name: str, text: str) -> None:
    """For everybody."""
    import logging

    logging.getLogger(name).warning("%s", text)
