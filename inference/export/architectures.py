"""Every published system: its network, and the rules of its own program as a bundle states them.

``rules`` are the corrected ones; ``published`` what the released program does instead.  Sources and
the effect of each defect: ``docs/challenge_models.md``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kornia.models.sam.model import Sam, SamConfig
from torch import nn

from inference.export.networks.efficientvit_sam import NORM_EPS, EfficientVitSamEncoder
from inference.export.networks.repvit import RepMedSamEncoder
from inference.export.networks.sam_parts import SamModel, set_norm_eps
from inference.export.networks.tiny_vit import lite_medsam_encoder, mobile_sam_encoder

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


@dataclass(frozen=True)
class Architecture:
    """One published system."""

    system: str
    """As the paper and its repository name it."""
    network: Callable[[], SamModel]
    rules: Rules
    """Keys of a model in bundle.json."""
    published: Rules = field(default_factory=dict)
    """Those that the released program has otherwise."""
    routing: Mapping[str, str] | None = None
    """Set: a folder of experts is exported, and this says which modality goes where."""
    fallback: tuple[str, str] | None = None
    """Expert of another architecture: its name and the architecture."""
    accepts: Mapping[str, str] = field(default_factory=dict)
    """Prefix of a name in some checkpoints to the network's."""


def _sam(encoder: Callable[[], nn.Module], size: int) -> Callable[[], SamModel]:
    return lambda: SamModel(encoder(), size)


def _daft_network() -> SamModel:
    """DAFT builds everything by EfficientViT's builder, which also sets the decoder's epsilons."""
    model = SamModel(EfficientVitSamEncoder("l0"), 256)
    set_norm_eps(model.mask_decoder, NORM_EPS)
    return model


def _vit_b_encoder() -> nn.Module:
    encoder: nn.Module = Sam.from_config(SamConfig("vit_b")).image_encoder
    return encoder


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


def _medficient(size: str) -> Architecture:
    return Architecture(
        f"MedficientSAM {size.upper()}",
        _sam(lambda: EfficientVitSamEncoder(size), 512),
        _AT_512,
        _MEDFICIENT_DEFECTS,
        accepts={"student_encoder.": "image_encoder."},
    )


ARCHITECTURES: Mapping[str, Architecture] = {
    "litemedsam": Architecture(
        "LiteMedSAM", _sam(lite_medsam_encoder, 256), _AT_256, _BASELINE_DEFECTS
    ),
    "medficientsam-l0": _medficient("l0"),
    "medficientsam-l1": _medficient("l1"),
    "medficientsam-l2": _medficient("l2"),
    "daft-2024": Architecture(
        "DAFT, challenge submission",
        _daft_network,
        _DAFT_CLIPPED,
        {
            "sam": _BASELINE_DEFECTS["sam"],
            "clip_to_box": False,
            "volume": {"z_range": "without-last"},
        },
        routing=DAFT_EXPERTS | {"CT": "CT", "Ultrasound": "lite_medsam", "default": "lite_medsam"},
        fallback=("lite_medsam", "litemedsam"),
    ),
    "daft": Architecture(
        "DAFT, post-challenge",
        _daft_network,
        _AT_256,
        {
            "sam": {"box_scaling": "truncated", "box_limit": "edge"},
            "volume": {"z_range": "without-last"},
        },
        routing=DAFT_EXPERTS | {"3D": "3D"},
    ),
    "repmedsam": Architecture(
        "Rep-MedSAM", _sam(RepMedSamEncoder, 256), _AT_256, _BASELINE_DEFECTS
    ),
    "medsam": Architecture("MedSAM", _sam(_vit_b_encoder, 1024), _MEDSAM),
    "mobilesam": Architecture("MobileSAM", _sam(mobile_sam_encoder, 1024), _AT_1024),
    "sam-vit-b": Architecture("SAM ViT-B", _sam(_vit_b_encoder, 1024), _AT_1024),
}
