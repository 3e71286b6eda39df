"""Two values in, one out, with NumPy's broadcasting. Source: Apple's MIL op reference, `elementwise_binary`.

Where the reference leaves int32 open: `real_div` truncates towards zero, `floor_div` and `mod` round as Python does,
`pow` is exact up to 2^53 and truncates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def add(x: Tensor, y: Tensor) -> Tensor:
    """X + y."""
    return x + y


def sub(x: Tensor, y: Tensor) -> Tensor:
    """X - y."""
    return x - y


def mul(x: Tensor, y: Tensor) -> Tensor:
    """x·y."""
    return x * y


def real_div(x: Tensor, y: Tensor) -> Tensor:
    """X / y."""
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def floor_div(x: Tensor, y: Tensor) -> Tensor:
    """X / y, rounded towards negative infinity."""
    return torch.div(x, y, rounding_mode="floor")


def mod(x: Tensor, y: Tensor) -> Tensor:
    """What `floor_div` leaves; it has y's sign."""
    return torch.remainder(x, y)


def pow(x: Tensor, y: Tensor) -> Tensor:
    """X to the power of y."""
    return torch.pow(x, y) if x.is_floating_point() else torch.pow(x.double(), y.double()).to(torch.int32)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The greater of x and y; NaN where either is NaN (the reference does not say)."""
    return torch.maximum(x, y)


def minimum(x: Tensor, y: Tensor) -> Tensor:
    """The lesser of x and y; NaN where either is NaN (the reference does not say)."""
    return torch.minimum(x, y)


def equal(x: Tensor, y: Tensor) -> Tensor:
    """X == y, as bool."""
    return x == y


def not_equal(x: Tensor, y: Tensor) -> Tensor:
    """X != y, as bool."""
    return x != y


def greater(x: Tensor, y: Tensor) -> Tensor:
    """X > y, as bool."""
    return x > y


def greater_equal(x: Tensor, y: Tensor) -> Tensor:
    """X >= y, as bool."""
    return x >= y


def less(x: Tensor, y: Tensor) -> Tensor:
    """X < y, as bool."""
    return x < y


def less_equal(x: Tensor, y: Tensor) -> Tensor:
    """X <= y, as bool."""
    return x <= y


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    """Both are true."""
    return torch.logical_and(x, y)


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    """At least one is true."""
    return torch.logical_or(x, y)


def logical_xor(x: Tensor, y: Tensor) -> Tensor:
    """Exactly one is true."""
    return torch.logical_xor(x, y)


KERNELS = (
    kernel(add),
    kernel(sub),
    kernel(mul),
    kernel(real_div),
    kernel(floor_div),
    kernel(mod),
    kernel(pow),
    kernel(maximum, exact=True),
    kernel(minimum, exact=True),
    kernel(equal),
    kernel(not_equal),
    kernel(greater),
    kernel(greater_equal),
    kernel(less),
    kernel(less_equal),
    kernel(logical_and),
    kernel(logical_or),
    kernel(logical_xor),
)
