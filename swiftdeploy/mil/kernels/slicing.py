"""Cutting a box out of a tensor, or writing one into it. Source: Apple's MIL op reference, `tensor_transformation`."""

from __future__ import annotations

from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def slice_by_index(
    x: Tensor,
    begin: tuple[int, ...],
    end: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Tensor:
    """x[begin : end : stride] for each axis, with Python's rules for negative numbers.

    A mask ignores `begin` or `end` of its axis; a squeezed axis is the one element at `begin` and disappears.
    """
    steps, squeezed = _steps(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    backwards = [axis for axis, taken in enumerate(steps) if taken.step < 0]
    for axis, taken in enumerate(steps):
        x = _cut(x, axis, taken)
    x = x.flip(backwards) if backwards else x
    return x.reshape([size for axis, size in enumerate(x.shape) if axis not in squeezed]) if squeezed else x


def slice_by_size(x: Tensor, begin: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """`size` elements from `begin` for each axis; -1 takes all that follow, a negative `begin` counts from the end."""
    for axis, (start, count) in enumerate(zip(begin, size, strict=True)):
        first = start + x.shape[axis] if start < 0 else start
        x = x.narrow(axis, first, x.shape[axis] - first if count == -1 else count)
    return x


def slice_update(
    x: Tensor,
    update: Tensor,
    begin: tuple[int, ...],
    end: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Tensor:
    """`x` with the box that `slice_by_index` would cut out replaced by `update`."""
    steps, _ = _steps(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    result = x.clone()
    view = result
    backwards = [axis for axis, taken in enumerate(steps) if taken.step < 0]
    for axis, taken in enumerate(steps):
        view = _cut(view, axis, taken)
    filled = update.reshape([len(taken) for taken in steps])
    view.copy_(filled.flip(backwards) if backwards else filled)
    return result


def _cut(x: Tensor, axis: int, taken: range) -> Tensor:
    """A view of the elements at `taken` in ascending order, also where `taken` descends, as torch has no other view."""
    if len(taken) == x.shape[axis]:
        return x
    if not taken:
        return x.narrow(axis, 0, 0)
    taken = taken if taken.step > 0 else taken[::-1]
    index = (slice(None),) * axis + (slice(taken[0], taken[-1] + 1, taken.step),)
    return x[index]


def _steps(
    x: Tensor,
    begin: tuple[int, ...],
    end: tuple[int, ...],
    stride: tuple[int, ...] | None,
    begin_mask: tuple[bool, ...] | None,
    end_mask: tuple[bool, ...] | None,
    squeeze_mask: tuple[bool, ...] | None,
) -> tuple[list[range], list[int]]:
    """The indices that each axis keeps, and the axes that disappear."""
    steps, squeezed = [], []
    given = (begin, end, *(mask for mask in (stride, begin_mask, end_mask, squeeze_mask) if mask))
    if any(len(numbers) != x.ndim for numbers in given):
        raise ValueError(f"begin {begin}, end {end} and what goes with them do not fit rank {x.ndim}")
    for axis, size in enumerate(x.shape):
        if squeeze_mask and squeeze_mask[axis]:
            masked = bool(begin_mask and begin_mask[axis])
            first = 0 if masked else begin[axis] + size if begin[axis] < 0 else begin[axis]
            if not 0 <= first < size:
                raise IndexError(f"index {begin[axis]} is outside axis {axis} of size {size}")
            steps.append(range(first, first + 1))
            squeezed.append(axis)
            continue
        start = None if begin_mask and begin_mask[axis] else begin[axis]
        stop = None if end_mask and end_mask[axis] else end[axis]
        steps.append(range(*slice(start, stop, stride[axis] if stride else 1).indices(size)))
    return steps, squeezed


KERNELS = (
    kernel(slice_by_index, exact=True),
    kernel(slice_by_size, exact=True),
    kernel(slice_update, since="CoreML8", exact=True),
)
