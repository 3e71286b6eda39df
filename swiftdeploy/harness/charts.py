"""Geometry of the report's charts: numbers in, percentages and SVG path strings out.

All places are percent of a plot's width or height, so that the page can stretch plots without stretching text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A linear axis from `low` to `high` in the unit of its values."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where `value` lies, in percent of the axis, clipped to its ends."""
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        return round(100 * min(max(share, 0.0), 1.0), 3)

    def ticks(self, wanted: int = 4) -> tuple[float, ...]:
        """About `wanted` round values (1, 2 or 5 times a power of ten apart) within the axis."""
        span = self.high - self.low
        if span <= 0:
            return (self.low,)
        rough = span / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(round(k * step, 12) for k in range(first, last + 1))


def sample_axis(groups: Sequence[Sequence[float]]) -> Axis:
    """An axis that shows the first to 98th percentile of every group, with a little room.

    Latencies have a long tail to the right; showing all of it would squeeze the rest into a few pixels.
    """
    lows = [float(np.percentile(group, 1)) for group in groups]
    highs = [float(np.percentile(group, 98)) for group in groups]
    room = 0.04 * (max(highs) - min(lows)) or 0.01 * max(highs)
    return Axis(low=max(min(lows) - room, 0.0), high=max(highs) + room)


def deviation_axis(groups: Sequence[Sequence[float]]) -> Axis:
    """A symmetric axis for deviations in percent: as wide as the largest, and at least five percent to each side."""
    widest = max((abs(value) for group in groups for value in group), default=0.0)
    bound = max(5.0, widest * 1.1)
    return Axis(low=-bound, high=bound)


def histogram_path(samples: Sequence[float], axis: Axis, bins: int = 90) -> str:
    """The closed outline of a histogram in a 100 by 100 box, the highest bin at the top, without clipped samples."""
    counts, _ = np.histogram(samples, bins=bins, range=(axis.low, axis.high))
    tallest = max(int(counts.max()), 1)
    width = 100 / bins
    steps = "".join(f"V{100 - 100 * int(c) / tallest:.2f}H{(i + 1) * width:.2f}" for i, c in enumerate(counts))
    return f"M0 100{steps}V100Z"


def line_path(xs: Sequence[float], ys: Sequence[float], horizontal: Axis, vertical: Axis) -> str:
    """A polyline in a 100 by 100 box, the origin of `vertical` at the bottom."""
    points = [f"{horizontal.place(x):.2f} {100 - vertical.place(y):.2f}" for x, y in zip(xs, ys, strict=True)]
    return "M" + "L".join(points) if points else ""


def number(value: float) -> str:
    """A time with three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
