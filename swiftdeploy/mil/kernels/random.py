"""Random numbers: Apple's `random` family.

In: a shape or distributions, and a seed. Out: float32 draws. Shapes and distributions are Core ML's; the numbers cannot
be, since its generators are not published. A seed >= 0 gives the same draws each time; the default -1 takes them from
torch's global generator, so `torch.manual_seed` makes even those repeatable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def random_bernoulli(shape: tuple[int, ...], prob: float = 0.5, seed: int = -1) -> Tensor:
    """Draws of `shape`: 1.0 with probability `prob`, else 0.0."""
    # rand() lies in [0, 1), so the comparison is certain for prob 0 and for prob 1.
    return (torch.rand(shape, generator=_generator(seed)) < prob).to(torch.float32)


def random_categorical(x: Tensor, mode: str = "logits", size: int = 1, seed: int = -1) -> Tensor:
    """`size` class numbers for each distribution in the last axis of `x`, with replacement: D[:-1] + [size].

    `x` holds log-probabilities, or with `mode` "probs" probabilities; neither needs to be normalised.
    """
    values = x.to(torch.float32)
    if mode not in ("logits", "probs"):
        raise ValueError(f"unknown mode {mode!r}")
    weights = values if mode == "probs" else torch.softmax(values, dim=-1)
    flat = weights.reshape(-1, x.shape[-1])
    drawn = torch.multinomial(flat, size, replacement=True, generator=_generator(seed))
    return drawn.to(torch.float32).reshape(*x.shape[:-1], size)


def random_normal(shape: tuple[int, ...], mean: float = 0.0, stddev: float = 1.0, seed: int = -1) -> Tensor:
    """Normal draws of `shape`."""
    return torch.randn(shape, generator=_generator(seed)) * stddev + mean


def random_uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0, seed: int = -1) -> Tensor:
    """Uniform draws of `shape` from [`low`, `high`)."""
    drawn = torch.rand(shape, generator=_generator(seed)) * (high - low) + low
    # The scaling may round up to `high`, which the interval excludes.
    return drawn.clamp(max=math.nextafter(high, low)) if high > low else drawn


def _generator(seed: int) -> torch.Generator | None:
    return torch.Generator().manual_seed(seed) if seed >= 0 else None


KERNELS = (kernel(random_bernoulli), kernel(random_categorical), kernel(random_normal), kernel(random_uniform))
