"""DSC, NSD and their kin on arrays; knows no files, no teams and no containers.

- :func:`dice`, :func:`surface_dice`: two boolean arrays of two or three dimensions;
- :func:`score_case`: two label maps, with the raw counts of every label.
"""

from evaluation.metrics.label_scores import dice, score_case, surface_dice

__all__ = ["dice", "score_case", "surface_dice"]
