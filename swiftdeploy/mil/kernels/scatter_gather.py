"""Reading and writing by index: Apple's `scatter_gather` family.

In: values of any dtype and int32 indices. Out: the values' dtype. Up to iOS16 a negative index counts from the end.
Since iOS17 an index outside [0, size) is out of bounds: with `validate_indices` it raises IndexError, without it the
result is undefined but memory safe. Here such a read takes the nearest valid element and such a write does nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def gather(x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0) -> Tensor:
    """Slices of `x` along `axis` at `indices`: shape D[:axis] + N[batch_dims:] + D[axis+1:].

    The first `batch_dims` axes of both are walked together. An index outside [-size, size) raises IndexError.
    """
    return _gather(x, _wrapped(indices, x.shape[axis]), axis, batch_dims)


def gather_ios17(
    x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """`gather` for non-negative indices; see the module for the others."""
    return _gather(x, _bounded(indices, x.shape[axis], validate=validate_indices), axis, batch_dims)


def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    """One element of `x` for each of `indices` (same rank), which replace the coordinate along `axis`."""
    return x.gather(axis, _wrapped(indices, x.shape[axis]))


def gather_along_axis_ios17(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """`gather_along_axis` for non-negative indices; see the module for the others."""
    return x.gather(axis, _bounded(indices, x.shape[axis], validate=validate_indices))


def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    """Slices of `x` at the index vectors in the last axis of `indices`: shape K[:-1] + D[batch_dims + K[-1]:]."""
    sizes = _indexed_sizes(x, indices, batch_dims)
    return _gather_nd(x, _wrapped(indices, sizes), batch_dims)


def gather_nd_ios17(x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """`gather_nd` for non-negative indices; see the module for the others."""
    sizes = _indexed_sizes(x, indices, batch_dims)
    return _gather_nd(x, _bounded(indices, sizes, validate=validate_indices), batch_dims)


def scatter(data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add") -> Tensor:
    """`data` with the slices of `updates` combined into it along `axis` at `indices`.

    `updates` has shape D[:axis] + shape of `indices` + D[axis+1:]. Indices may repeat: "update" then keeps the last,
    every other mode applies all.
    """
    return _scatter(data, _wrapped(indices, data.shape[axis]), updates, axis, mode)


def scatter_ios17(
    data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """`scatter` for non-negative indices; see the module for the others."""
    if validate_indices:
        _check(indices, data.shape[axis])
    return _scatter(data, indices.to(torch.int64), updates, axis, mode)


def scatter_along_axis(data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add") -> Tensor:
    """`data` with each of `updates` combined into the place that `indices` (same shape) names along `axis`."""
    return _scatter_along_axis(data, _wrapped(indices, data.shape[axis]), updates, axis, mode)


def scatter_along_axis_ios17(
    data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """`scatter_along_axis` for non-negative indices; see the module for the others."""
    if validate_indices:
        _check(indices, data.shape[axis])
    return _scatter_along_axis(data, indices.to(torch.int64), updates, axis, mode)


def scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add") -> Tensor:
    """`data` with slices of `updates` combined into it at the index vectors in the last axis of `indices`."""
    return _scatter_nd(data, _wrapped(indices, _indexed_sizes(data, indices, 0)), updates, mode)


def scatter_nd_ios17(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """`scatter_nd` for non-negative indices; see the module for the others."""
    if validate_indices:
        _check(indices, _indexed_sizes(data, indices, 0))
    return _scatter_nd(data, indices.to(torch.int64), updates, mode)


def _indexed_sizes(x: Tensor, indices: Tensor, batch_dims: int) -> Tensor:
    return torch.tensor(x.shape[batch_dims : batch_dims + indices.shape[-1]])


def _check(indices: Tensor, sizes: int | Tensor) -> None:
    if bool(((indices < 0) | (indices >= sizes)).any()):
        raise IndexError(f"an index lies outside [0, {sizes}) and validate_indices is set")


def _wrapped(indices: Tensor, sizes: int | Tensor) -> Tensor:
    wide = indices.to(torch.int64)
    if bool(((wide < -sizes) | (wide >= sizes)).any()):
        raise IndexError(f"an index lies outside [-size, size) for size {sizes}")
    return torch.where(wide < 0, wide + sizes, wide)


def _bounded(indices: Tensor, sizes: int | Tensor, *, validate: bool) -> Tensor:
    if validate:
        _check(indices, sizes)
    wide = indices.to(torch.int64)
    return torch.minimum(wide.clamp(min=0), torch.as_tensor(sizes) - 1)


def _gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    axis = axis % x.ndim
    shape = (*x.shape[:axis], *indices.shape[batch_dims:], *x.shape[axis + 1 :])
    if batch_dims == 0:
        return x.index_select(axis, indices.reshape(-1)).reshape(shape)
    # One gather per batch element, side by side: the batch axes become one, and `axis` moves right behind it.
    batch = math.prod(x.shape[:batch_dims])
    flat = x.reshape(batch, *x.shape[batch_dims:])
    picked = indices.reshape(batch, -1)
    slices = [flat[k].index_select(axis - batch_dims, picked[k]) for k in range(batch)]
    return torch.stack(slices).reshape(shape)


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: int) -> Tensor:
    rank = indices.ndim - 1
    batch = [
        torch.arange(size).reshape([-1 if d == k else 1 for d in range(rank)])
        for k, size in enumerate(x.shape[:batch_dims])
    ]
    return x[(*batch, *indices.unbind(-1))]


def _scatter(data: Tensor, indices: Tensor, updates: Tensor, axis: int, mode: str) -> Tensor:
    axis = axis % data.ndim
    count = indices.numel()
    rows = updates.reshape(*data.shape[:axis], count, *data.shape[axis + 1 :])
    shape = [1] * data.ndim
    shape[axis] = count
    return _scatter_along_axis(data, indices.reshape(shape).expand_as(rows), rows, axis, mode)


def _scatter_along_axis(data: Tensor, indices: Tensor, updates: Tensor, axis: int, mode: str) -> Tensor:
    axis = axis % data.ndim
    # Everything becomes one flat write, where a place outside is a slot of its own that is dropped at the end.
    strides = [math.prod(data.shape[d + 1 :]) for d in range(data.ndim)]
    place = torch.zeros(indices.shape, dtype=torch.int64)
    for d, stride in enumerate(strides):
        along = [1] * data.ndim
        along[d] = -1
        step = indices if d == axis else torch.arange(indices.shape[d]).reshape(along)
        place = place + step * stride
    inside = (indices >= 0) & (indices < data.shape[axis])
    return _write(data, place, inside, updates, mode)


def _scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, mode: str) -> Tensor:
    depth = indices.shape[-1]
    inner = math.prod(data.shape[depth:])
    strides = torch.tensor([math.prod(data.shape[d + 1 :]) for d in range(depth)])
    sizes = torch.tensor(data.shape[:depth])
    first = (indices * strides).sum(-1).reshape(-1, 1)
    inside = ((indices >= 0) & (indices < sizes)).all(-1).reshape(-1, 1)
    place = first + torch.arange(inner).reshape(1, -1)
    return _write(data, place, inside.expand_as(place), updates, mode)


def _write(data: Tensor, place: Tensor, inside: Tensor, updates: Tensor, mode: str) -> Tensor:
    size = data.numel()
    flat = torch.cat((data.reshape(-1), data.new_zeros(1)))
    target = torch.where(inside, place, size).reshape(-1)
    values = updates.to(data.dtype).reshape(-1)
    if mode == "update":
        # torch leaves open which of several writes to one place wins; here the last one does.
        order = torch.full((size + 1,), -1, dtype=torch.int64)
        order.scatter_reduce_(0, target, torch.arange(target.numel()), reduce="amax")
        written = (order >= 0).nonzero().squeeze(1)
        flat[written] = values[order[written]]
    elif mode == "sub":
        flat = flat.scatter_reduce(0, target, -values, reduce="sum")
    elif mode == "div":
        divisor = torch.ones_like(flat).scatter_reduce(0, target, values, reduce="prod")
        flat = flat / divisor if flat.is_floating_point() else torch.div(flat, divisor, rounding_mode="trunc")
    elif mode in _REDUCTIONS:
        flat = flat.scatter_reduce(0, target, values, reduce=_REDUCTIONS[mode])
    else:
        raise ValueError(f"unknown scatter mode {mode!r}")
    return flat[:size].reshape(data.shape)


KERNELS = (
    kernel(gather, exact=True),
    kernel(gather_ios17, op="gather", since="CoreML7", exact=True),
    kernel(gather_along_axis, exact=True),
    kernel(gather_along_axis_ios17, op="gather_along_axis", since="CoreML7", exact=True),
    kernel(gather_nd, exact=True),
    kernel(gather_nd_ios17, op="gather_nd", since="CoreML7", exact=True),
    kernel(scatter),
    kernel(scatter_ios17, op="scatter", since="CoreML7"),
    kernel(scatter_along_axis),
    kernel(scatter_along_axis_ios17, op="scatter_along_axis", since="CoreML7"),
    kernel(scatter_nd),
    kernel(scatter_nd_ios17, op="scatter_nd", since="CoreML7"),
)
