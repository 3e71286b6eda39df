"""Moving elements without changing them. Source: Apple's MIL op reference, `tensor_transformation`.

Slices are in `slicing`, blocks and pixels in `blocks`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def expand_dims(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`x` with an axis of size 1 at each of `axes`, counted in the result."""
    rank = x.ndim + len(axes)
    sizes = list(x.shape)
    for axis in sorted(axis % rank for axis in axes):
        sizes.insert(axis, 1)
    return x.reshape(sizes)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` in `shape`, where 0 takes over the size of the same axis and one -1 is what is left."""
    if 0 in shape and len(shape) != x.ndim and x.numel():
        raise ValueError(f"a 0 in shape {shape} needs as many axes as x has, which are {x.ndim}")
    return _reshaped(x, [x.shape[axis] if size == 0 and axis < x.ndim else size for axis, size in enumerate(shape)])


def reshape_ios17(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """As `reshape`, but 0 takes over the size of the axis as far from the end; 1 where there is none."""
    offset = x.ndim - len(shape)
    sizes = [
        size if size != 0 else (x.shape[axis + offset] if axis + offset >= 0 else 1) for axis, size in enumerate(shape)
    ]
    return _reshaped(x, sizes)


def reshape_like(
    x: Tensor,
    ref_tensors: tuple[Tensor, ...],
    begins: tuple[Tensor, ...],
    ends: tuple[Tensor, ...],
    end_masks: tuple[Tensor, ...],
) -> Tensor:
    """`x` in the shape that joins each reference's sizes from `begins` to `ends` (if masked, to the last)."""
    sizes: list[int] = []
    for reference, begin, end, masked in zip(ref_tensors, begins, ends, end_masks, strict=True):
        sizes.extend(reference.shape[int(begin) : None if bool(masked) else int(end)])
    return x.reshape(sizes)


def reverse(x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """`x` backwards along `axes`, or along all."""
    return x.flip(tuple(range(x.ndim)) if axes is None else axes)


def reverse_sequence(x: Tensor, lengths: Tensor, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """`x` with the first `lengths[i]` elements along `seq_axis` backwards, for each i along `batch_axis`."""
    moved = x.movedim((batch_axis, seq_axis), (0, 1))
    steps = torch.arange(moved.shape[1]).unsqueeze(0)
    limits = lengths.to(torch.int64).unsqueeze(1)
    index = torch.where(steps < limits, limits - 1 - steps, steps)
    index = index.reshape(*index.shape, *(1,) * (moved.ndim - 2)).expand(moved.shape)
    return moved.gather(1, index).movedim((0, 1), (batch_axis, seq_axis))


def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """All windows of `size` elements, `stride` apart, along `axis`; a window's elements are the axis behind it."""
    place = axis % x.ndim
    return x.unfold(place, size, stride).movedim(-1, place + 1)


def squeeze(x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """`x` without those of `axes` (or of all) that have size 1; as in PyTorch, another size is left alone."""
    return x.squeeze() if axes is None else x.squeeze(axes)


def transpose(x: Tensor, perm: tuple[int, ...]) -> Tensor:
    """`x` with its axes in the order `perm`."""
    return x.permute(perm)


def _reshaped(x: Tensor, sizes: list[int]) -> Tensor:
    if -1 in sizes and x.numel() == 0:
        known = math.prod(size for size in sizes if size != -1)
        sizes = [0 if size == -1 and known else size for size in sizes]
    return x.reshape(sizes)


KERNELS = (
    kernel(expand_dims, exact=True),
    kernel(reshape, exact=True),
    kernel(reshape_ios17, op="reshape", since="CoreML7", exact=True),
    kernel(reshape_like, since="CoreML6", exact=True),
    kernel(reverse, exact=True),
    kernel(reverse_sequence, exact=True),
    kernel(sliding_windows, exact=True),
    kernel(squeeze, exact=True),
    kernel(transpose, exact=True),
)
