"""What a mask is worth: cross-entropy or focal loss plus soft Dice, and the error of the IoU head.

Shapes: N regions of R x R pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from training.recipe import LossConfig


def mask_loss(
    logits: Tensor, targets: Tensor, config: LossConfig, boxes: Tensor | None = None
) -> Tensor:
    """Mean over regions; every region counts alike unless ``boxes`` (N, 4, encoder-input pixels)
    and ``small_gain`` make small objects heavier."""
    pixels = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    if config.kind == "dice-focal":
        pixels = pixels * (p - targets).abs() ** config.focal_gamma
    overlap = (p * targets).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / ((p * p).sum((1, 2)) + (targets * targets).sum((1, 2)) + 1)
    each = pixels.mean((1, 2)) + config.dice_weight * dice  # (N,)
    if boxes is None or config.small_gain == 0:
        return each.mean()
    weights = object_weights(boxes, config)
    return (each * weights).sum() / weights.sum()


def volume_loss(logits: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of volumes (N, Z, Y, X), mean over boxes.

    ``inside`` (N, Z, Y, X) is 1 in the cells that count, those inside the box: no answer reaches
    over it.
    """
    axes = (1, 2, 3)
    cells = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p, wanted = logits.sigmoid() * inside, targets * inside
    overlap, mass = (p * wanted).sum(axes), (p * p).sum(axes) + (wanted * wanted).sum(axes)
    dice = 1 - (2 * overlap + 1) / (mass + 1)
    mean = (cells * inside).sum(axes) / inside.sum(axes).clamp(min=1)
    return (mean + dice).mean()


def object_weights(boxes: Tensor, config: LossConfig) -> Tensor:
    """(N,) 1 for boxes of ``small_side`` or more, rising linearly to 1 + ``small_gain``."""
    side = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=0)).prod(1).sqrt()
    return 1 + config.small_gain * (1 - side / config.small_side).clamp(min=0)


def iou_loss(expected: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the expected IoU (N,), as SAM's (Kirillov et al., arXiv 2304.02643).

    Truth: IoU of the mask at logit 0 and of the target at one half; two empty masks agree (1).
    """
    with torch.no_grad():
        found, wanted = logits > 0, targets > 0.5
        union = (found | wanted).sum((1, 2))
        iou = torch.where(union > 0, (found & wanted).sum((1, 2)) / union.clamp(min=1), 1.0)
    return functional.mse_loss(expected, iou.to(expected.dtype))
