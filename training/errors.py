"""What can go wrong for a reason the user can mend; ``__main__`` prints it in one line."""


class TrainingError(Exception):
    """Base of everything that this package raises on purpose."""


class ConfigError(TrainingError):
    """A configuration file or flag: which key, what was expected, what was found."""


class CheckpointError(TrainingError):
    """A checkpoint or run folder that cannot be used."""


class RecordError(TrainingError):
    """A record that the model card needs, missing or malformed."""


def reason_of(error: BaseException) -> str:
    """The first 160 characters of what torch says in several lines, in one."""
    return " ".join(str(error).split())[:160]
