"""What a file name stands for: its modality, and a guess whether it is a picture or a volume."""

import re

UNKNOWN = "Unknown"

_TOKENS: tuple[tuple[str, str], ...] = (
    ("Dermoscopy", r"derm"),
    ("Endoscopy", r"endo"),
    ("Fundus", r"fundus"),
    ("Mammography", r"mamm"),
    ("Microscopy", r"micro"),
    ("OCT", r"oct"),
    ("Ultrasound", r"ultra|us(?![a-z])"),
    ("X-Ray", r"x-?ray|cxr|xr(?![a-z])"),
    ("PET", r"pet(?![a-z])"),
    ("MR", r"mri?(?![a-z])"),
    ("CT", r"ct(?![a-z])"),
)
"""Spellings seen in the challenge's file names (OCT before CT), matched where a part of the name
begins."""


MODALITIES = tuple(sorted(name for name, _ in _TOKENS))
"""Every modality that a name can tell."""


def modality_of(name: str) -> str:
    """Modality of a case by its file name, e.g. ``2DBox_XRay_0012.npz``; :data:`UNKNOWN` where no
    part names one.

    The first part (between underscores, the ``2DBox``/``3DBox`` prefix aside) that names a modality
    wins, so ``2DBox_US_CT-lookalike`` is an ultrasound.
    """
    for part in re.split(r"[_./\\]+", re.sub(r"\.npz$", "", name)):
        for modality, pattern in _TOKENS:
            if re.match(pattern, part, re.IGNORECASE):
                return modality
    return UNKNOWN


def dims_of(name: str) -> str | None:
    """``2D`` or ``3D`` where a name begins so, e.g. ``3DBox_CT_0012.npz``.

    A guess for what is better begun early: the arrays decide what a case is.
    """
    start = name[:2].upper()
    return start if start in ("2D", "3D") else None
