"""SplitMix64: the generator that schedule and bootstrap share with the Swift harness, number for number.

Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. The k-th number depends on
seed + k * GAMMA alone, so a whole stream is one vector operation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)


def stream(seed: int, count: int, *, start: int = 0) -> npt.NDArray[np.uint64]:
    """`count` numbers of `seed` (0 <= seed < 2**64) after the first `start`, uint64 of shape (count,)."""
    steps = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    z = np.uint64(seed) + steps * _GAMMA  # wraps, as the definition wants
    z = (z ^ (z >> np.uint64(30))) * _MIX_A
    z = (z ^ (z >> np.uint64(27))) * _MIX_B
    return z ^ (z >> np.uint64(31))


def indices(numbers: npt.NDArray[np.uint64], below: int) -> npt.NDArray[np.int64]:
    """`numbers` mapped to 0..below-1 by their upper 32 bits (multiply and shift), int64 of the same shape."""
    return ((numbers >> np.uint64(32)) * np.uint64(below) >> np.uint64(32)).astype(np.int64)


def shuffles(seed: int, length: int, count: int) -> tuple[tuple[int, ...], ...]:
    """`count` random orders of 0..length-1 from one stream (Fisher and Yates, from the end)."""
    draws = iter(stream(seed, max(length - 1, 0) * count).tolist())
    orders = []
    for _ in range(count):
        order = list(range(length))
        for i in range(length - 1, 0, -1):
            j = (next(draws) >> 32) * (i + 1) >> 32
            order[i], order[j] = order[j], order[i]
        orders.append(tuple(order))
    return tuple(orders)
