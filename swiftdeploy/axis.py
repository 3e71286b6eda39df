"""Figures on a page: where a value lies on an axis, and how it is written. Standard library only.

All places are percent of a plot's width or height, so that a page can stretch plots without stretching text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


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


def number(value: float) -> str:
    """A value with three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
