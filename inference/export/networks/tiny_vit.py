"""TinyViT-5M as LiteMedSAM and MobileSAM use it.

Wu et al., TinyViT, arXiv 2207.10666; Zhang et al., Faster Segment Anything, arXiv 2306.14289.
"""

from kornia.models.tiny_vit import ConvBN, TinyViT
from torch import nn


def mobile_sam_encoder() -> nn.Module:
    """1024 pixels; the classifier's head stays, as in MobileSAM's file."""
    encoder: nn.Module = TinyViT.from_config("5m", img_size=1024, mobile_sam=True)
    return encoder


def lite_medsam_encoder() -> nn.Module:
    """256 pixels: the patch embedding keeps the resolution, so all later sizes are as at 1024."""
    encoder = TinyViT(
        img_size=1024,
        embed_dims=(64, 128, 160, 320),
        num_heads=(2, 4, 5, 10),
        mobile_sam=True,
    )
    encoder.patch_embed.seq[0] = ConvBN(3, 32, 1, 1, 0)
    encoder.patch_embed.seq[2] = ConvBN(32, 64, 1, 1, 0)
    whole: nn.Module = encoder
    for name in ("norm_head", "head"):
        setattr(whole, name, nn.Identity())
    return whole
