"""Pools over one, two or three spatial axes. Source: Apple's MIL op reference, `pool`.

A window that `ceil_mode` lets run over the padded end counts only what lies inside it, as in PyTorch. Without padding
the reference also keeps a last window that lies wholly past the input, which PyTorch drops, and does not say what it
holds: here its mean and norm are 0 and its maximum is minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.kernels.padding import pad_spatial, window_padding
from swiftdeploy.mil.kernels.registry import kernel

_AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAXIMUM: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Windows:
    """Where the windows of one pool lie; `overhang` is how far the last one of each axis passes the padded end."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    overhang: tuple[int, ...]

    @property
    def native(self) -> bool:
        """Whether torch's own pools agree: padding symmetric and at most half a window, no window past the input."""
        fits = all(a == b and 2 * a <= k for (a, b), k in zip(self.padding, self.kernel, strict=True))
        return fits and all(over < k for over, k in zip(self.overhang, self.kernel, strict=True))

    @property
    def extended(self) -> tuple[tuple[int, int], ...]:
        """The padding with the overhang added behind."""
        return tuple((b, a + over) for (b, a), over in zip(self.padding, self.overhang, strict=True))


def avg_pool(
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    pad_type: str,
    strides: tuple[int, ...] | None = None,
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
    exclude_padding_from_average: bool = False,
) -> Tensor:
    """The mean of each window; padding counts as zeros, or with `exclude_padding_from_average` not at all."""
    windows = _windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode=ceil_mode)
    if windows.native:
        amounts = tuple(before for before, _ in windows.padding)
        pool = _AVERAGE[x.ndim - 2]
        return pool(x, kernel_sizes, windows.strides, amounts, ceil_mode, not exclude_padding_from_average)
    counted = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    if not exclude_padding_from_average:
        counted = pad_spatial(counted, windows.padding, 1.0)
        counted = pad_spatial(counted, tuple((0, over) for over in windows.overhang))
    else:
        counted = pad_spatial(counted, windows.extended)
    return _sums(pad_spatial(x, windows.extended), windows) / _sums(counted, windows).clamp(min=1.0)


def max_pool(
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    pad_type: str,
    strides: tuple[int, ...] | None = None,
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The greatest value of each window; padding never wins."""
    windows = _windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode=ceil_mode)
    pool = _MAXIMUM[x.ndim - 2]
    if windows.native:
        return pool(x, kernel_sizes, windows.strides, tuple(b for b, _ in windows.padding), 1, ceil_mode)
    return pool(pad_spatial(x, windows.extended, -math.inf), kernel_sizes, windows.strides)


def l2_pool(
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    pad_type: str,
    strides: tuple[int, ...] | None = None,
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The square root of each window's sum of squares."""
    windows = _windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode=ceil_mode)
    return torch.sqrt(_sums(pad_spatial(x * x, windows.extended), windows))


def _windows(
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None,
    pad_type: str,
    pad: tuple[int, ...] | None,
    *,
    ceil_mode: bool,
) -> _Windows:
    sizes = tuple(x.shape[2:])
    strides = strides or (1,) * len(sizes)
    if min(strides) < 1 or min(kernel_sizes) < 1:
        raise ValueError(f"windows of {kernel_sizes}, {strides} apart, make no sense")
    padding = window_padding(pad_type, pad, sizes=sizes, windows=kernel_sizes, strides=strides)
    overhang = []
    for n, k, s, (before, after) in zip(sizes, kernel_sizes, strides, padding, strict=True):
        left = n + before + after - k
        count = left // s + 1
        # One more window only where it starts on the input or the padding before it.
        if ceil_mode and left % s and (count * s < n + before or not before + after):
            overhang.append(count * s - left)
        else:
            overhang.append(0)
    return _Windows(kernel=kernel_sizes, strides=strides, padding=padding, overhang=tuple(overhang))


def _sums(x: Tensor, windows: _Windows) -> Tensor:
    """The sum of each window. A pool over one axis runs as one over two, since torch sums no other way."""
    if x.ndim == 3:
        kernel_sizes, strides = (1, *windows.kernel), (1, *windows.strides)
        return F.avg_pool2d(x.unsqueeze(2), kernel_sizes, strides, divisor_override=1).squeeze(2)
    pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return pool(x, windows.kernel, windows.strides, divisor_override=1)


KERNELS = (
    kernel(avg_pool),
    kernel(max_pool, exact=True),
    kernel(l2_pool),
)
