"""Reductions along some axes, or all where none are named. Source: Apple's MIL op reference, `reduction`.

Floats are reduced in float32. An int32 mean, norm or logarithm is computed in float64 and truncated towards zero; the
reference does not say how it rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """The index of the greatest value along `axis`; which one of equals is open."""
    del output_dtype  # the declared type of the output repeats it
    return torch.argmax(x, axis, keep_dims)


def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """The index of the least value along `axis`; which one of equals is open."""
    del output_dtype  # the declared type of the output repeats it
    return torch.argmin(x, axis, keep_dims)


def reduce_l1_norm(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum of |x|."""
    return torch.sum(x.abs(), _axes(x, axes), keep_dims)


def reduce_l2_norm(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The square root of the sum of squares."""
    return _in_float(lambda v: torch.sqrt(torch.sum(v * v, _axes(x, axes), keep_dims)), x)


def reduce_log_sum(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The natural logarithm of the sum."""
    return _in_float(lambda v: torch.log(torch.sum(v, _axes(x, axes), keep_dims)), x)


def reduce_log_sum_exp(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """log(sum(e^x)), shifted by the maximum so that it does not overflow."""
    return _in_float(lambda v: torch.logsumexp(v, _axes(x, axes), keep_dims), x)


def reduce_max(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The greatest value."""
    return torch.amax(x, _axes(x, axes), keep_dims)


def reduce_mean(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The mean."""
    return _in_float(lambda v: torch.mean(v, _axes(x, axes), keep_dims), x)


def reduce_min(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The least value."""
    return torch.amin(x, _axes(x, axes), keep_dims)


def reduce_prod(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The product."""
    result = x
    for axis in sorted(_axes(x, axes), reverse=True):
        result = torch.prod(result, axis, keep_dims)
    return result


def reduce_sum(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum."""
    return torch.sum(x, _axes(x, axes), keep_dims)


def reduce_sum_square(x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum of squares."""
    return torch.sum(x * x, _axes(x, axes), keep_dims)


def _axes(x: Tensor, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if not axes else tuple(sorted({axis % x.ndim for axis in axes}))


def _in_float(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x) if x.is_floating_point() else function(x.double()).to(torch.int32)


KERNELS = (
    kernel(reduce_argmax),
    kernel(reduce_argmin),
    kernel(reduce_l1_norm),
    kernel(reduce_l2_norm),
    kernel(reduce_log_sum),
    kernel(reduce_log_sum_exp),
    kernel(reduce_max, exact=True),
    kernel(reduce_mean),
    kernel(reduce_min, exact=True),
    kernel(reduce_prod),
    kernel(reduce_sum),
    kernel(reduce_sum_square),
)
