"""How windows are padded: what `pad_type` means for convolutions and pools, and padding along any axis.

"same" puts the odd element after the input, "same_lower" before it; the total for an axis of size n with window k (its
dilated extent) and stride s is max(0, s·ceil(n / s) - n + k - s). Source: Apple's MIL op reference, `conv` and `pad`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.numerics import bounded


def window_padding(
    pad_type: str,
    pad: tuple[int, ...] | None,
    *,
    sizes: tuple[int, ...],
    windows: tuple[int, ...],
    strides: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis, from the op's `pad_type` and, for "custom", its `pad`."""
    if pad_type == "valid":
        return tuple((0, 0) for _ in sizes)
    if pad_type == "custom":
        given = pad or (0,) * (2 * len(sizes))
        if len(given) != 2 * len(sizes) or min(given) < 0:
            raise ValueError(f"pad {given} does not fit {len(sizes)} spatial axes")
        return tuple((given[2 * axis], given[2 * axis + 1]) for axis in range(len(sizes)))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"there is no pad_type {pad_type!r}")
    totals = [max(0, s * math.ceil(n / s) - n + k - s) for n, k, s in zip(sizes, windows, strides, strict=True)]
    lower = pad_type == "same_lower"
    return tuple((t - t // 2, t // 2) if lower else (t // 2, t - t // 2) for t in totals)


def padded_shape(x: Tensor, padding: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """The shape of `x` (batch, channels, spatial...) with that padding; a negative amount crops."""
    spatial = (size + before + after for size, (before, after) in zip(x.shape[2:], padding, strict=True))
    return (*x.shape[:2], *spatial)


def pad_spatial(x: Tensor, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Tensor:
    """`x` (batch, channels, spatial...) with each spatial axis padded by (before, after) elements of `value`."""
    bounded(padded_shape(x, padding))
    flat = [amount for pair in reversed(padding) for amount in pair]
    return F.pad(x, flat, value=value) if any(flat) else x


def pad_axis(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """`x` padded along one axis by its own values: mirrored without the edge ("reflect") or the edge ("replicate")."""
    size = x.shape[axis]
    if before == after == 0:
        return x
    index = torch.arange(-before, size + after)
    if mode == "replicate":
        index = index.clamp(0, size - 1)
    else:
        if max(before, after) >= size:
            raise ValueError(f"reflect needs more than {max(before, after)} elements, axis {axis} has {size}")
        index = (size - 1) - (index.abs() - (size - 1)).abs()
    return x.index_select(axis, index)
