"""Quantisation at run time: Apple's `quantization_ops` family (since iOS17).

In: float32 values or quantised int32 ones, a scale and a zero point, each a scalar or a vector along `axis`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel
from swiftdeploy.mil.numerics import TORCH_DTYPES, integer_range


def quantize(
    input: Tensor, scale: Tensor, output_dtype: str, zero_point: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """round(`input` / `scale`) + `zero_point`, to nearest even and clamped to the range of `output_dtype`."""
    low, high = integer_range(TORCH_DTYPES[output_dtype])
    levels = torch.round(input / along(scale, input.ndim, axis))
    if zero_point is not None:
        levels = levels + along(zero_point, input.ndim, axis)
    return levels.clamp(low, high).to(torch.int32)


def dequantize(input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int | None = None) -> Tensor:
    """`scale` · (`input` - `zero_point`)."""
    levels = input.to(torch.float32)
    if zero_point is not None:
        levels = levels - along(zero_point, input.ndim, axis)
    return levels * along(scale, input.ndim, axis)


def along(parameter: Tensor, rank: int, axis: int | None) -> Tensor:
    """A scalar or vector `parameter` as float32 that broadcasts along `axis` of a tensor of `rank`."""
    values = parameter.to(torch.float32)
    if values.numel() == 1 or axis is None:
        return values.reshape(()) if values.numel() == 1 else values
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


KERNELS = (kernel(quantize, since="CoreML7"), kernel(dequantize, since="CoreML7"))
