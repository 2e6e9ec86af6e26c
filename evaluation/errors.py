"""Everything that the harness raises on purpose.

::

    EvaluationError            caught by the command line: one line on stderr, exit code 1
    ├── UsageError             the command cannot mean what it says: exit code 2
    ├── DatasetError           a folder of cases, or a case or truth file in it, cannot be used
    ├── TeamError              a team cannot be made runnable
    │   └── BuildError         its Dockerfile does not build; ends with the end of the build log
    ├── EngineError            Docker Engine is missing, silent or refuses
    ├── LimitError             a limit was asked for and is not in force: nothing may be timed
    ├── HarnessFault           a case could not be run, and that is not the submission's doing
    ├── OutputError            a submission's output file cannot be accepted
    │   ├── MissingOutputError there is none
    │   ├── TooLargeError      there is more than the quota
    │   ├── WrongShapeError    the mask is not of the image's shape
    │   ├── WrongTypeError     its values are no labels
    │   └── UnknownLabelsError it has labels that no box has
    ├── RecordError            a run folder is in use, or not what this version writes
    ├── ScoreError             masks cannot be scored against the truth
    ├── RankError              scores cannot be turned into a leaderboard
    ├── ComparisonError        two results cannot be compared, or a run not verified
    ├── ExportError            results cannot be written for another platform
    └── ReportError            stored results cannot be turned into a report

A submission that fails is never an exception of the command: it is a record with a status and a
reason.
"""

from pathlib import Path


class EvaluationError(Exception):
    """Base of all expected errors; the message says what, where, expected and found."""

    exit_code = 1
    """The process's exit code when the error reaches the command line."""


class UsageError(EvaluationError):
    """The arguments contradict themselves or name something that does not exist."""

    exit_code = 2


class DatasetError(EvaluationError):
    """A folder of cases, or a file in it, cannot be used."""


class TeamError(EvaluationError):
    """A team's image, archive or folder cannot be made runnable."""


class BuildError(TeamError):
    """A team's Dockerfile does not build."""


class EngineError(EvaluationError):
    """Docker Engine is missing, does not answer, or refuses the request."""


class LimitError(EvaluationError):
    """A container ran under other limits than the protocol's."""


class HarnessFault(EvaluationError):
    """A case could not be run, and not through the submission; it is run again on resume."""


class OutputError(EvaluationError):
    """The output file of a case cannot be accepted."""


class MissingOutputError(OutputError):
    """There is no output file of that name."""


class TooLargeError(OutputError):
    """More was written than the protocol's quota allows."""


class WrongShapeError(OutputError):
    """The mask does not have the shape of the image."""


class WrongTypeError(OutputError):
    """The mask's values are no labels: not integers, or below 0."""


class UnknownLabelsError(OutputError):
    """The mask has labels above the number of boxes."""


class RecordError(EvaluationError):
    """A run folder is in use by another harness, or was written by something else."""


class ScoreError(EvaluationError):
    """Masks cannot be scored against the truth."""


class RankError(EvaluationError):
    """Scores cannot be turned into a leaderboard."""


class ComparisonError(EvaluationError):
    """Two results cannot be compared, or a run cannot be verified."""


class ExportError(EvaluationError):
    """Results cannot be written for another platform."""


class ReportError(EvaluationError):
    """Stored results cannot be turned into a report."""


def instead_of_folder(path: Path) -> str:
    """What stands where a folder was expected, for a message."""
    return "a file" if path.exists() else "no such folder"
