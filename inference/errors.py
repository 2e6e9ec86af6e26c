"""What can go wrong, as exceptions that say what, where, expected and found.

InferenceError
├── UsageError      exit code 2: the command line asks for something impossible
├── BundleError     exit code 2: the model bundle is missing, incomplete or contradictory
├── EngineError     exit code 2: the engine is not installed or refuses a graph
└── CaseError       exit code 1: one case cannot be read or written; the others go on
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
