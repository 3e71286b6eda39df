"""Branches, loops, lists and selection: Apple's `control_flow` family.

In: tensors, lists (`TensorList`, never changed in place) and nested blocks as callables. Out: whatever the chosen block
gives, or a new list. `const` is no kernel: the reader answers it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import TensorList, Value, kernel
from swiftdeploy.mil.numerics import TORCH_DTYPES, carrier


def cond(pred: bool, blocks: tuple[Callable[..., tuple[Any, ...]], ...]) -> tuple[Any, ...]:
    """The values of the first block if `pred` holds, else those of the second."""
    return blocks[0]() if pred else blocks[1]()


def while_loop(loop_vars: tuple[Value, ...], blocks: tuple[Callable[..., tuple[Any, ...]], ...]) -> tuple[Any, ...]:
    """`loop_vars` after the second block has run on them for as long as the first one held."""
    holds, body = blocks
    values = tuple(loop_vars)
    while bool(holds(*values)[0]):
        values = body(*values)
    return values


def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where `cond` holds and `b` elsewhere, all three broadcast together."""
    return torch.where(cond.to(torch.bool), a, b)


def make_list(
    elem_shape: tuple[Value, ...] = (), init_length: int = 1, dynamic_length: bool = True, dtype: str = "fp32"
) -> TensorList:
    """A list of `init_length` items, each zeros of `elem_shape`.

    A size that is a name becomes known with the first write; until then its items are unwritten.
    """
    del dynamic_length  # a write beyond a fixed length would be a broken program, and growing is what Core ML does
    sizes: list[Any] = []
    for part in elem_shape:
        sizes += part.reshape(-1).tolist() if isinstance(part, Tensor) else [part]
    if not all(isinstance(size, int) for size in sizes):
        return TensorList(items=(None,) * init_length)
    zero = torch.zeros(sizes, dtype=carrier(TORCH_DTYPES[dtype]))
    return TensorList(items=(zero,) * init_length)


def list_length(ls: TensorList) -> Tensor:
    """The number of items of `ls`, a scalar."""
    return torch.tensor(len(ls.items), dtype=torch.int32)


def list_read(ls: TensorList, index: int) -> Tensor:
    """Item `index` of `ls`. One that was never written and has no known shape raises IndexError."""
    item = ls.items[index]
    if item is None:
        raise IndexError(f"item {index} of the list was never written and its shape is unknown")
    return item


def list_write(ls: TensorList, index: int, value: Tensor) -> TensorList:
    """`ls` with `value` as item `index`; a shorter list first grows by zeros."""
    return _written(ls, {index: value})


def list_gather(ls: TensorList, indices: tuple[int, ...]) -> Tensor:
    """Items `indices` of `ls`, stacked along a new first axis."""
    return torch.stack([list_read(ls, index) for index in indices])


def list_scatter(ls: TensorList, indices: tuple[int, ...], value: Tensor) -> TensorList:
    """`ls` with the slices of `value` as its items `indices`; a shorter list first grows by zeros."""
    return _written(ls, dict(zip(indices, value.unbind(0), strict=True)))


def _written(ls: TensorList, values: dict[int, Tensor]) -> TensorList:
    items = list(ls.items)
    items += [None] * (max(values, default=-1) + 1 - len(items))
    for index, value in values.items():
        items[index] = value
    blank = torch.zeros_like(next(iter(values.values()))) if values else None
    return TensorList(items=tuple(blank if item is None else item for item in items))


KERNELS = (
    kernel(cond),
    kernel(while_loop),
    kernel(select, exact=True),
    kernel(make_list, exact=True),
    kernel(list_length, exact=True),
    kernel(list_read, exact=True),
    kernel(list_write, exact=True),
    kernel(list_gather, exact=True),
    kernel(list_scatter, exact=True),
)
