"""What is stated of one model on one compute unit, computed from raw samples.

The harness on the phone computes the same figures in Swift (`BenchCore/Statistics.swift`) and importing recomputes them
here. Both follow the definitions below to the order of additions, so that they agree to the last bit: sums run from
the left, quantiles interpolate between closest ranks (Hyndman and Fan, type 7), and random draws are SplitMix64's.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swiftdeploy.harness.splitmix import indices, stream

_DRAWS_AT_ONCE = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A bootstrap interval, in the unit of the samples."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """Latency figures in milliseconds.

    `std_ms` has divisor n - 1; `mad_ms` is unscaled; `cv` is std over mean; `drift` is the median of the last quarter
    of the samples over that of the first, minus one; `outliers` lie more than three interquartile ranges outside the
    quartiles. `estimate_ms` is the primary number: the median of the rounds' medians, with an interval from resampled
    rounds, since samples within a round are not independent. `median_interval` takes them as independent.
    """

    n: int
    min_ms: float
    p5_ms: float
    p50_ms: float
    mean_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    std_ms: float
    mad_ms: float
    cv: float
    median_interval: Interval
    drift: float
    outliers: int
    estimate_ms: float
    estimate_interval: Interval


def median(values: Sequence[float]) -> float:
    """The middle one of `values` (not empty, any order), or the mean of the two middle ones."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(ordered: Sequence[float], numerator: int, denominator: int) -> float:
    """The quantile numerator / denominator of ascending values, type 7; the rank is split in integers."""
    lower, rest = divmod((len(ordered) - 1) * numerator, denominator)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + rest / denominator * (ordered[upper] - ordered[lower])


def _sum(values: Sequence[float]) -> float:
    # Not sum(): from Python 3.12 on it compensates, and would differ from Swift in the last bits.
    return functools.reduce(operator.add, values, 0.0)


def bootstrap_medians(values: Sequence[float], *, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Medians of `resamples` draws with replacement, ascending, float64 of shape (resamples,)."""
    count = len(values)
    table = np.asarray(values, dtype=np.float64)
    middle = count // 2
    kth = middle if count % 2 else (middle - 1, middle)
    medians = np.empty(resamples)
    # In pieces: all draws at once would take gigabytes for a long run.
    piece = max(_DRAWS_AT_ONCE // count, 1)
    for first in range(0, resamples, piece):
        rows = min(piece, resamples - first)
        drawn = table[indices(stream(seed, rows * count, start=first * count), count)]
        ordered = np.partition(drawn.reshape(rows, count), kth, axis=1)
        found = ordered[:, middle] if count % 2 else (ordered[:, middle - 1] + ordered[:, middle]) / 2
        medians[first : first + rows] = found
    return np.sort(medians)


def bootstrap_median(values: Sequence[float], *, resamples: int, confidence_percent: int, seed: int) -> Interval:
    """The percentile interval of the median of `values`."""
    medians = bootstrap_medians(values, resamples=resamples, seed=seed).tolist()
    return Interval(
        low=quantile(medians, 100 - confidence_percent, 200), high=quantile(medians, 100 + confidence_percent, 200)
    )


def summarize(
    rounds: Sequence[Sequence[int]], *, resamples: int, confidence_percent: int, seed: int
) -> Statistics | None:
    """The statistics of rounds of nanoseconds, in the order in which they were taken; None for no sample at all."""
    measured = [[nanoseconds / 1e6 for nanoseconds in r] for r in rounds if r]
    samples = [value for r in measured for value in r]
    if not samples:
        return None
    ordered = sorted(samples)
    n = len(samples)
    mean = _sum(samples) / n
    squares = _sum([(value - mean) * (value - mean) for value in samples])
    std = float(np.sqrt(squares / (n - 1))) if n > 1 else 0.0
    middle = median(samples)
    low, high = quantile(ordered, 1, 4), quantile(ordered, 3, 4)
    fence = 3 * (high - low)
    quarter = max(n // 4, 1)
    medians = [median(r) for r in measured]
    interval = functools.partial(
        bootstrap_median, resamples=resamples, confidence_percent=confidence_percent, seed=seed
    )
    return Statistics(
        n=n,
        min_ms=ordered[0],
        p5_ms=quantile(ordered, 5, 100),
        p50_ms=middle,
        mean_ms=mean,
        p90_ms=quantile(ordered, 90, 100),
        p95_ms=quantile(ordered, 95, 100),
        p99_ms=quantile(ordered, 99, 100),
        max_ms=ordered[-1],
        std_ms=std,
        mad_ms=median([abs(value - middle) for value in samples]),
        cv=std / mean,
        median_interval=interval(samples),
        drift=median(samples[-quarter:]) / median(samples[:quarter]) - 1,
        outliers=sum(value < low - fence or value > high + fence for value in samples),
        estimate_ms=median(medians),
        estimate_interval=interval(medians),
    )
