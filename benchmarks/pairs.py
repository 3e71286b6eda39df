"""Paired, interleaved timing: every round runs each contender once, in a seeded random order.

Ratios of paired rounds are what is reported: absolute times of a shared machine mean little.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleave(
    contenders: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    warm_up: int,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each contender in each round, by `clock`; the rounds of all belong together by index."""
    order = random.Random(seed)
    for _ in range(warm_up):
        for run in contenders.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        names = list(contenders)
        order.shuffle(names)
        for name in names:
            start = clock()
            contenders[name]()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], contender: str, baseline: str) -> dict[str, float]:
    """Median of the paired ratios contender / baseline, with its quartiles; below 1 the contender is faster."""
    paired = [c / b for c, b in zip(seconds[contender], seconds[baseline], strict=True)]
    low, middle, high = statistics.quantiles(paired, n=4)
    return {"median": round(middle, 4), "p25": round(low, 4), "p75": round(high, 4), "rounds": len(paired)}


def milliseconds(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Median time of each contender, in milliseconds, for orientation."""
    return {name: round(statistics.median(values) * 1e3, 3) for name, values in seconds.items()}
