"""Matrix products. Source: Apple's MIL op reference, `linear`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·weightᵀ + bias, with `weight` (out, in) and `x` (..., in); an integer beside a float counts as a float."""
    kind = torch.promote_types(x.dtype, weight.dtype)
    return F.linear(x.to(kind), weight.to(kind), None if bias is None else bias.to(kind))


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """The matrix product of the last two axes, broadcasting the others; a transpose leaves a vector alone.

    An integer beside a float (allowed since iOS17) counts as a float.
    """
    left = x.transpose(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.transpose(-1, -2) if transpose_y and y.ndim > 1 else y
    kind = torch.promote_types(left.dtype, right.dtype)
    return torch.matmul(left.to(kind), right.to(kind))


def einsum(values: tuple[Tensor, ...], equation: str) -> Tensor:
    """The products of `values` summed as `equation` says, such as "nchw,nwhu->nchu"; axes of size 1 broadcast."""
    return torch.einsum(equation, *values)


KERNELS = (
    kernel(linear),
    kernel(matmul),
    kernel(einsum),
)
