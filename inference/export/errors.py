"""What can go wrong while a checkpoint is exported."""

from inference.errors import InferenceError


class ExportError(InferenceError):
    """A checkpoint, or a ready-made graph, that cannot become a bundle."""
