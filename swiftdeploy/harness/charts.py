"""Geometry of the report's charts: numbers in, percentages and SVG path strings out.

All places are percent of a plot's width or height, so that the page can stretch plots without stretching text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swiftdeploy.axis import Axis


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
