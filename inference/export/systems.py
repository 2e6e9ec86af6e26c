"""Every published system: the rules of its own program as a bundle states them.

``rules`` are the corrected ones; ``published`` what the released program does instead.  Sources and
the effect of each defect: ``docs/challenge_models.md``.  Nothing here needs torch: ready-made
graphs are wrapped by these rules alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Rules = Mapping[str, Any]

DAFT_EXPERTS = {
    "CT": "3D",
    "MR": "3D",
    "PET": "3D",
    "X-Ray": "XRay",
    "Ultrasound": "US",
    "Fundus": "Fundus",
    "Endoscopy": "Endoscopy",
    "Dermoscopy": "Dermoscopy",
    "Microscopy": "Microscopy",
    "Mammography": "Mammography",
    "OCT": "OCT",
    "default": "general",
}
"""Modality to expert (automl/CVPR24-MedSAM-on-Laptop, main, ``filename_to_modelname``)."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One published system."""

    system: str
    """As the paper and its repository name it."""
    rules: Rules
    """Keys of a model in bundle.json."""
    published: Rules = field(default_factory=dict)
    """Those that the released program has otherwise."""
    routing: Mapping[str, str] | None = None
    """Set: a folder of experts is exported, and this says which modality goes where."""
    fallback: tuple[str, str] | None = None
    """Expert of another system: its name and the system."""
    prompt_graph: str = ""
    """Ready-made graphs in parts: the file, without its ending, of the prompt encoder that the
    released program asks for all experts."""
    unit_boxes: bool = False
    """The ready-made decoder takes boxes divided by the longest side, and no half pixel."""


_AT_256: Rules = {
    "input_size": 256,
    "resize": "longest-side",
    "interpolation": "area",
    "normalisation": {"kind": "min-max"},
    "sam": {"upsampling": "direct"},
    "volume": {"box_growth": 3.0},
}
"""The organisers' program, which most teams started from."""

_BASELINE_DEFECTS: Rules = {
    "sam": {"box_scaling": "truncated", "next_box": "resized-label", "box_limit": "edge"},
    "label_type": "uint8",
}

_AT_512: Rules = {
    "input_size": 512,
    "resize": "longest-side",
    "interpolation": "linear",
    "normalisation": {"kind": "min-max"},
    "sam": {"upsampling": "through-input", "box_offset": 0.25},
    "volume": {},
}
"""MedficientSAM; it was trained with boxes at 1024 pixels and half a pixel there."""

_MEDFICIENT_DEFECTS: Rules = {
    "sam": {"box_offset": 0.0},
    "volume": {"z_range": "without-last", "embeddings": "last-encoded"},
}

_AT_1024: Rules = {
    "input_size": 1024,
    "resize": "longest-side",
    "interpolation": "pillow",
    "normalisation": {
        "kind": "mean-std",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
    },
    "sam": {"upsampling": "through-input", "box_scaling": "resized"},
    "volume": {},
}
"""SAM's own predictor."""

_MEDSAM: Rules = {
    "input_size": 1024,
    "resize": "stretch",
    "interpolation": "spline",
    "normalisation": {"kind": "min-max"},
    "sam": {"upsampling": "direct", "interpolate": "probabilities"},
    "volume": {},
}

_DAFT_CLIPPED: Rules = {**_AT_256, "clip_to_box": True}

_SWIN_FILLING = 46_463_806
"""Random numbers with which torch 2.13.0 fills the published network before its checkpoint is
loaded; the first stroke begins after these."""


def _medficient(size: str) -> System:
    return System(
        system=f"MedficientSAM {size.upper()}",
        rules=_AT_512,
        published=_MEDFICIENT_DEFECTS,
        unit_boxes=True,
    )


SYSTEMS: Mapping[str, System] = {
    "litemedsam": System(system="LiteMedSAM", rules=_AT_256, published=_BASELINE_DEFECTS),
    "medficientsam-l0": _medficient("l0"),
    "medficientsam-l1": _medficient("l1"),
    "medficientsam-l2": _medficient("l2"),
    "daft-2024": System(
        system="DAFT, challenge submission",
        rules=_DAFT_CLIPPED,
        published={
            "sam": _BASELINE_DEFECTS["sam"],
            "clip_to_box": False,
            "volume": {"z_range": "without-last"},
        },
        routing=DAFT_EXPERTS | {"CT": "CT", "Ultrasound": "lite_medsam", "default": "lite_medsam"},
        fallback=("lite_medsam", "litemedsam"),
        prompt_graph="lite_medsam_prompt_encoder",
    ),
    "daft": System(
        system="DAFT, post-challenge",
        rules=_AT_256,
        published={
            "sam": {"box_scaling": "truncated", "box_limit": "edge"},
            "volume": {"z_range": "without-last"},
        },
        routing=DAFT_EXPERTS | {"3D": "3D"},
        prompt_graph="prompt_encoder",
    ),
    "swin-litemedsam": System(
        system="Swin-LiteMedSAM",
        rules={
            **_AT_256,
            "embedding_names": ["embedding", "deep", "shallow"],
            "drawn": {"seed": 42, "stream": "box"},
        },
        published={
            "sam": {**_BASELINE_DEFECTS["sam"], "lost_below": "float"},
            "drawn": {"stream": "case", "skipped": _SWIN_FILLING},
            "volume": {"z_range": "inner"},
            "label_type": "uint8",
        },
    ),
    "repmedsam": System(system="Rep-MedSAM", rules=_AT_256, published=_BASELINE_DEFECTS),
    "medsam": System(system="MedSAM", rules=_MEDSAM),
    "mobilesam": System(system="MobileSAM", rules=_AT_1024),
    "sam-vit-b": System(system="SAM ViT-B", rules=_AT_1024),
}
