"""What can go wrong, as exceptions that say what, where, expected and found.

InferenceError
├── UsageError      the command line asks for something impossible            (exit code 2)
├── BundleError     the model bundle is missing, incomplete or contradictory  (exit code 2)
├── EngineError     the engine is not installed or refuses a graph            (exit code 2)
└── CaseError       one case cannot be read, segmented or written             (exit code 1, the
other cases go on)
"""


class InferenceError(Exception):
    """Base of every expected error of this package."""


class UsageError(InferenceError):
    """The call itself is wrong: a folder that does not exist, an option out of range."""


class BundleError(InferenceError):
    """A model bundle cannot be used."""


class EngineError(InferenceError):
    """No engine, or one that refuses a graph."""


class CaseError(InferenceError):
    """One case is refused; its message is one line: file, key, expected, found."""
