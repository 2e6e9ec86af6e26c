"""Every published system with its network, for checkpoints; its rules: :mod:`.systems`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kornia.models.sam.model import Sam, SamConfig
from torch import nn

from inference.export.networks.efficientvit_sam import NORM_EPS, EfficientVitSamEncoder
from inference.export.networks.repvit import RepMedSamEncoder
from inference.export.networks.sam_model import SamModel
from inference.export.networks.sam_parts import set_norm_eps
from inference.export.networks.swin_sam import SwinSamModel
from inference.export.networks.tiny_vit import lite_medsam_encoder, mobile_sam_encoder
from inference.export.systems import SYSTEMS, System


@dataclass(frozen=True, kw_only=True)
class Architecture(System):
    """One published system and its network."""

    network: Callable[[], SamModel]
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


def _of(
    name: str, network: Callable[[], SamModel], accepts: Mapping[str, str] | None = None
) -> Architecture:
    return Architecture(**vars(SYSTEMS[name]), network=network, accepts=accepts or {})


def _medficient(size: str) -> Architecture:
    network = _sam(lambda: EfficientVitSamEncoder(size), 512)
    return _of(f"medficientsam-{size}", network, {"student_encoder.": "image_encoder."})


ARCHITECTURES: Mapping[str, Architecture] = {
    "litemedsam": _of("litemedsam", _sam(lite_medsam_encoder, 256)),
    "medficientsam-l0": _medficient("l0"),
    "medficientsam-l1": _medficient("l1"),
    "medficientsam-l2": _medficient("l2"),
    "daft-2024": _of("daft-2024", _daft_network),
    "daft": _of("daft", _daft_network),
    "swin-litemedsam": _of("swin-litemedsam", SwinSamModel),
    "repmedsam": _of("repmedsam", _sam(RepMedSamEncoder, 256)),
    "medsam": _of("medsam", _sam(_vit_b_encoder, 1024)),
    "mobilesam": _of("mobilesam", _sam(mobile_sam_encoder, 1024)),
    "sam-vit-b": _of("sam-vit-b", _sam(_vit_b_encoder, 1024)),
}
