"""What can go wrong, as exceptions whose message is one line: what, where, expected, found.

DataError
├── UsageError      the call itself is wrong; nothing is done
└── SourceError     one file or case is refused; the others go on
"""


class DataError(Exception):
    """Base of every expected error of this package."""


class UsageError(DataError):
    """A folder that does not exist, an option out of range, a table without a column."""


class SourceError(DataError):
    """A file cannot be read, or what it holds cannot be converted or restored."""


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
