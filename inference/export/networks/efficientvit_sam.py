"""The image encoder of EfficientViT-SAM: kornia's backbone with SAM's neck.

Zhang, Cai, Han, EfficientViT-SAM, arXiv 2402.05008.  The neck: three stages projected to 256
channels, enlarged (bicubic) to 64 x 64, added, refined by fused inverted bottlenecks.
"""

from collections.abc import Callable

import torch
from kornia.models.common import LayerNorm2d
from kornia.models.efficient_vit.backbone import (
    efficientvit_backbone_l0,
    efficientvit_backbone_l1,
    efficientvit_backbone_l2,
)
from kornia.models.efficient_vit.nn.ops import (
    ConvLayer,
    FusedMBConv,
    IdentityLayer,
    OpSequential,
    ResidualBlock,
)
from torch import nn

from inference.export.networks.sam_parts import CHANNELS, GRID, set_norm_eps

_BACKBONES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "l0": (efficientvit_backbone_l0, 4),
    "l1": (efficientvit_backbone_l1, 8),
    "l2": (efficientvit_backbone_l2, 12),
}
"""By size: the backbone and the number of blocks in the neck."""

NORM_EPS = 1e-6
"""Of every norm that the published builder has touched."""


class Neck(nn.Module):
    """Stages 4, 3 and 2, in this order, to one embedding (1, 256, 64, 64)."""

    stages = (("stage4", 512), ("stage3", 256), ("stage2", 128))

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.input_ops = nn.ModuleList(
            OpSequential([ConvLayer(channels, CHANNELS, 1, act_func=None)])
            for _, channels in self.stages
        )
        self.middle = OpSequential([_refinement() for _ in range(depth)])
        last = ConvLayer(CHANNELS, CHANNELS, 1, use_bias=True, norm=None, act_func=None)
        self.output_ops = nn.ModuleList([OpSequential([last])])

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """The sum of all stages, refined."""
        total = torch.zeros(())
        for (name, _), project in zip(self.stages, self.input_ops, strict=True):
            stage = project(features[name])
            if stage.shape[-1] != GRID:
                stage = nn.functional.interpolate(
                    stage, (GRID, GRID), mode="bicubic", align_corners=False
                )
            total = stage if total.ndim == 0 else total + stage
        refined: torch.Tensor = self.output_ops[0](self.middle(total))
        return refined


def _refinement() -> nn.Module:
    block = FusedMBConv(CHANNELS, CHANNELS, expand_ratio=1, act_func=("gelu", None))
    return ResidualBlock(block, IdentityLayer())


class EfficientVitSamEncoder(nn.Module):
    """``size`` l0, l1 or l2; any square input whose side is a multiple of 32."""

    def __init__(self, size: str) -> None:
        super().__init__()
        make_backbone, depth = _BACKBONES[size]
        self.backbone = make_backbone()
        self.neck = Neck(depth)
        self.norm = LayerNorm2d(CHANNELS, eps=NORM_EPS)
        set_norm_eps(self, NORM_EPS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(1, 3, S, S) to (1, 256, 64, 64)."""
        embedding: torch.Tensor = self.norm(self.neck(self.backbone(image)))
        return embedding
