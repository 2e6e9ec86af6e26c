"""Depthwise convolution whose gradients are quick on a CPU.

oneDNN's backward passes of 5 x 5 and of strided depthwise convolutions take most of a training
step there.  Here the gradient of the input is one more forward convolution, with the filters
turned round (of stride 2, on the gradient spread out with zeros between), and that of the filters
one product and sum a tap.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class Depthwise(torch.autograd.Function):
    """``conv2d(x, weight, None, stride, groups=C)`` of x (N, C, H, W), already padded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: D102
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv2d(x, weight, None, stride, 0, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: D102
        (grad,) = gradients
        x, weight = ctx.saved_tensors
        stride, kernel = ctx.stride, weight.shape[-1]
        n, c, height, width = x.shape
        rows, columns = grad.shape[2:]
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty(weight.shape, dtype=torch.float32)
            ones = grad.new_ones(n * rows * columns)
            for i in range(kernel):
                for j in range(kernel):
                    seen = x[:, :, i : i + stride * (rows - 1) + 1 : stride,
                             j : j + stride * (columns - 1) + 1 : stride]  # fmt: skip
                    product = (seen * grad).permute(0, 2, 3, 1).reshape(-1, c)
                    of_weight[:, 0, i, j] = (ones @ product).float()
            of_weight = of_weight.to(weight.dtype)
        spread = grad
        if stride > 1:
            spread = grad.new_zeros((n, c, height - kernel + 1, width - kernel + 1)).contiguous(
                memory_format=torch.channels_last
            )
            spread[:, :, ::stride, ::stride] = grad
        of_x = functional.conv2d(spread, weight.flip(2, 3), None, 1, kernel - 1, 1, weight.shape[0])
        return of_x, of_weight, None
