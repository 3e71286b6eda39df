"""Where the resizing ops look in their input, and how they read between pixels.

In: sizes, boxes and coordinates. Out: positions in pixels (0 is the centre of the first one) and the values there.
Knows no op: `image_resizing` says which rule an op follows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grid_points(mode: str, start: Tensor, end: Tensor, count: int) -> Tensor:
    """`count` positions between `start` and `end`, by the sampling rule of Apple's `resize_bilinear`.

    `start` and `end` are centres of the first and last pixel to be covered, float64 of any one shape [...]; the answer
    is [..., count]. An inverted interval (`end` < `start`) is walked backwards. Unknown modes raise ValueError.
    """
    step = torch.arange(count, dtype=torch.float64)
    start, length = start.unsqueeze(-1), (end - start).unsqueeze(-1)
    sign = torch.where(length < 0, -1.0, 1.0).to(torch.float64)
    pixels = length + sign  # how many pixels the interval covers, signed
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        lone = 0.5 if mode == "ALIGN_CORNERS" else 0.0
        share = step / (count - 1) if count > 1 else torch.full((1,), lone, dtype=torch.float64)
        return start + length * share
    if mode == "DEFAULT":
        offset = step * pixels / count
    elif mode == "UNALIGN_CORNERS":
        offset = (step + 0.5) * pixels / count - 0.5 * sign
    elif mode == "OFFSET_CORNERS":
        offset = (step + 0.5) * sign * torch.clamp(length.abs(), min=1.0) / count
    else:
        raise ValueError(f"unknown sampling mode {mode!r}")
    # The written rule clamps to the interval's own ends; walking backwards swaps which end is the lower one.
    return start + sign * torch.minimum(torch.clamp(sign * offset, min=0.0), length.abs())


def axis_points(mode: str, size: int, count: int) -> Tensor:
    """`grid_points` over a whole axis of `size` pixels, [count] float64."""
    ends = torch.tensor((0.0, size - 1.0), dtype=torch.float64)
    return grid_points(mode, ends[0], ends[1], count)


def interpolate_axis(x: Tensor, axis: int, points: Tensor) -> Tensor:
    """`x` read at `points` (float64, within the axis) along `axis`, linearly between its two neighbours."""
    low = points.floor().clamp(max=x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    weight = (points - low).to(torch.float32).reshape(shape)
    below = low.to(torch.int64)
    above = (below + 1).clamp(max=x.shape[axis] - 1)
    return torch.lerp(x.index_select(axis, below), x.index_select(axis, above), weight)


def reflect(position: Tensor, low: float, high: float) -> Tensor:
    """`position` folded back into [low, high] as by mirrors at both ends; a span of zero gives `low`."""
    span = high - low
    if span <= 0:
        return torch.full_like(position, low)
    # The triangle wave of period 2·span.
    offset = torch.remainder(position - low, 2 * span)
    return low + torch.minimum(offset, 2 * span - offset)


def sample(x: Tensor, batch: Tensor, rows: Tensor, columns: Tensor, fill: float) -> Tensor:
    """`x` [B, C, H, W] read bilinearly at `rows`, `columns` [N, h, w] of image `batch` [N]: [N, C, h, w].

    A neighbour that lies outside the image counts as `fill`.
    """
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top).to(torch.float32), (columns - left).to(torch.float32)
    total = torch.zeros((), dtype=x.dtype)
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            value = sample_nearest(x, batch, row, column, fill)
            weight = (row_weight * column_weight).unsqueeze(1)
            # A neighbour of weight zero must not spread its infinity or NaN.
            total = total + torch.where(weight == 0, 0.0, value * weight)
    return total


def sample_nearest(x: Tensor, batch: Tensor, rows: Tensor, columns: Tensor, fill: float) -> Tensor:
    """`x` [B, C, H, W] at whole-numbered `rows`, `columns` [N, h, w] of image `batch` [N]: [N, C, h, w].

    A position outside the image gives `fill`.
    """
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    row = rows.clamp(0, height - 1).to(torch.int64)
    column = columns.clamp(0, width - 1).to(torch.int64)
    value = x[batch.reshape(-1, 1, 1), :, row, column].permute(0, 3, 1, 2)
    return torch.where(inside.unsqueeze(1), value, fill)
