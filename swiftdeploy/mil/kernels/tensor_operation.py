"""Making, joining, cutting and ordering tensors. Source: Apple's MIL op reference, `tensor_operation`.

Among equal values `topk` and `argsort` put the lower index first; the reference leaves it open.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil import numerics
from swiftdeploy.mil.kernels.padding import pad_axis
from swiftdeploy.mil.kernels.registry import Value, kernel


def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """The indices that sort `x` along `axis`."""
    return torch.argsort(x, dim=axis, descending=not ascending, stable=True)


def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """`x` with zeros outside `lower` diagonals below and `upper` above the main one; a negative number keeps all."""
    rows, columns = x.shape[-2:]
    distance = torch.arange(columns) - torch.arange(rows).unsqueeze(1)
    inside = torch.ones_like(distance, dtype=torch.bool)
    if lower >= 0:
        inside &= -distance <= lower
    if upper >= 0:
        inside &= distance <= upper
    return torch.where(inside, x, torch.zeros_like(x))


def concat(values: tuple[Tensor, ...], axis: int, interleave: bool = False) -> Tensor:
    """`values` one after the other along `axis`, or with `interleave` element by element in turn."""
    if interleave:
        stacked = torch.stack(values, dim=axis % values[0].ndim + 1)
        return stacked.flatten(axis % values[0].ndim, axis % values[0].ndim + 1)
    return torch.cat([value.reshape(1) if value.ndim == 0 else value for value in values], dim=axis)


def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The running sum along `axis`, without the element itself if `exclusive`, from the end if `reverse`."""
    ordered = x.flip(axis) if reverse else x
    total = torch.cumsum(ordered, axis)
    if exclusive:
        total = torch.cat([torch.zeros_like(total.narrow(axis, 0, 1)), total], dim=axis)
        total = total.narrow(axis, 0, x.shape[axis])
    return total.flip(axis) if reverse else total


def fill(shape: tuple[int, ...], out_dtype: torch.dtype, value: float = 0.0) -> Tensor:
    """A tensor of `shape` with `value` everywhere."""
    return torch.full(numerics.bounded(shape), value).to(numerics.carrier(out_dtype))


def fill_like(ref_tensor: Tensor, out_dtype: torch.dtype, value: float = 0.0) -> Tensor:
    """A tensor of the shape of `ref_tensor` with `value` everywhere."""
    return torch.full(ref_tensor.shape, value).to(numerics.carrier(out_dtype))


def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """Two axes: all sizes before `axis` multiplied, and all from it on."""
    cut = axis if axis >= 0 else axis + x.ndim
    return x.reshape(math.prod(x.shape[:cut]), math.prod(x.shape[cut:]))


def identity(x: Value) -> Value:
    """The value itself."""
    return x


def non_zero(x: Tensor) -> Tensor:
    """The indices of the elements that are not zero, one row each: (count, rank)."""
    return torch.nonzero(x)


def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Value = 1,
    off_value: Value = 0,
) -> Tensor:
    """`on_value` where the index on a new axis is that of `indices`, else `off_value`; out of range fits nowhere."""
    place = axis if axis >= 0 else axis + indices.ndim + 1
    numerics.bounded((*indices.shape, one_hot_vector_size))
    steps = torch.arange(one_hot_vector_size).reshape(-1, *(1,) * (indices.ndim - place))
    return torch.where(indices.unsqueeze(place) == steps, torch.as_tensor(on_value), torch.as_tensor(off_value))


def pad(x: Tensor, pad: tuple[int, ...], mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """`x` with `pad` = (before, after) elements around each of its last axes, as many as `pad` names."""
    if len(pad) % 2 or len(pad) > 2 * x.ndim or any(amount < 0 for amount in pad):
        raise ValueError(f"pad {pad} does not fit rank {x.ndim}")
    first = x.ndim - len(pad) // 2
    padding = [(pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    sizes = [size + sum(padding[axis - first]) if axis >= first else size for axis, size in enumerate(x.shape)]
    numerics.bounded(tuple(sizes))
    if mode == "constant":
        return F.pad(x, [amount for pair in reversed(padding) for amount in pair], value=constant_val)
    if mode not in ("reflect", "replicate"):
        raise ValueError(f"pad has no mode {mode!r}")
    for axis, (before, after) in enumerate(padding, start=first):
        x = pad_axis(x, axis, before, after, mode)
    return x


def range_1d(end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """start, start + step, ... as long as it is before `end`."""
    first, last, by = (number.item() for number in (start, end, step))
    numerics.bounded((max(0, math.ceil((last - first) / by)),))
    count = max(0, math.ceil((last - first) / by))
    return (first + by * torch.arange(count, dtype=torch.float64)).to(start.dtype)


def shape(x: Tensor) -> Tensor:
    """The sizes of `x`."""
    return torch.tensor(x.shape, dtype=torch.int32)


def split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: tuple[int, ...] | None = None
) -> tuple[Tensor, ...]:
    """`x` cut along `axis` into pieces of `split_sizes`, or into `num_splits` equal ones."""
    if split_sizes is not None:
        return torch.split(x, list(split_sizes), axis)
    if not num_splits or x.shape[axis] % num_splits:
        raise ValueError(f"{num_splits} pieces do not divide {x.shape[axis]}")
    return torch.split(x, x.shape[axis] // num_splits, axis)


def stack(values: tuple[Tensor, ...], axis: int) -> Tensor:
    """`values` side by side along a new axis."""
    return torch.stack(values, axis)


def tile(x: Tensor, reps: tuple[int, ...]) -> Tensor:
    """`x` repeated `reps` times along each axis."""
    if len(reps) != x.ndim:
        raise ValueError(f"reps {reps} do not fit rank {x.ndim}")
    numerics.bounded(tuple(size * count for size, count in zip(x.shape, reps, strict=True)))
    return x.repeat(reps)


def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """The `k` greatest values along `axis` (or, if `ascending`, the least; -1: all), and their indices.

    They come sorted also where `sort` does not ask for it.
    """
    del sort, output_indices_dtype  # any order is allowed; the declared type of the output repeats the dtype
    values, indices = torch.sort(x, dim=axis, descending=not ascending, stable=True)
    count = x.shape[axis] if k == -1 else k
    chosen = values.narrow(axis, 0, count), indices.narrow(axis, 0, count)
    return chosen if return_indices else chosen[:1]


KERNELS = (
    kernel(argsort),
    kernel(band_part, exact=True),
    kernel(concat, exact=True),
    kernel(cumsum),
    kernel(fill),
    kernel(fill_like, since="CoreML6"),
    kernel(flatten2d, exact=True),
    kernel(identity, exact=True),
    kernel(non_zero),
    kernel(one_hot),
    kernel(pad),
    kernel(range_1d),
    kernel(shape),
    kernel(split, exact=True),
    kernel(stack, exact=True),
    kernel(tile, exact=True),
    kernel(topk),
)
