"""One value in, one value out, element by element. Source: Apple's MIL op reference, `elementwise_unary`.

The epsilons of `log`, `rsqrt` and `inverse` are added to x before the function, in float32: an epsilon that is declared
in half precision was rounded when the program was written, and is not rounded again here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swiftdeploy.mil import numerics
from swiftdeploy.mil.kernels.registry import kernel


def abs(x: Tensor) -> Tensor:
    """|x|."""
    return torch.abs(x)


def acos(x: Tensor) -> Tensor:
    """The inverse cosine, in radians."""
    return torch.acos(x)


def asin(x: Tensor) -> Tensor:
    """The inverse sine, in radians."""
    return torch.asin(x)


def atan(x: Tensor) -> Tensor:
    """The inverse tangent, in radians."""
    return torch.atan(x)


def atanh(x: Tensor) -> Tensor:
    """The inverse hyperbolic tangent."""
    return torch.atanh(x)


def ceil(x: Tensor) -> Tensor:
    """The least integer not below x."""
    return torch.ceil(x)


def cos(x: Tensor) -> Tensor:
    """The cosine of x radians."""
    return torch.cos(x)


def cosh(x: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return torch.cosh(x)


def erf(x: Tensor) -> Tensor:
    """The Gauss error function."""
    return torch.erf(x)


def exp(x: Tensor) -> Tensor:
    """e^x."""
    return torch.exp(x)


def floor(x: Tensor) -> Tensor:
    """The greatest integer not above x."""
    return torch.floor(x)


def round(x: Tensor) -> Tensor:
    """The nearest integer; of two, the even one."""
    return torch.round(x)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 as x is negative, zero or positive."""
    return torch.sign(x)


def sin(x: Tensor) -> Tensor:
    """The sine of x radians."""
    return torch.sin(x)


def sinh(x: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return torch.sinh(x)


def sqrt(x: Tensor) -> Tensor:
    """The square root."""
    return torch.sqrt(x)


def square(x: Tensor) -> Tensor:
    """x·x."""
    return x * x


def tan(x: Tensor) -> Tensor:
    """The tangent of x radians."""
    return torch.tan(x)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return torch.tanh(x)


def logical_not(x: Tensor) -> Tensor:
    """True where x is false."""
    return torch.logical_not(x)


def exp2(x: Tensor) -> Tensor:
    """2^x; of an int32 the integer part."""
    return torch.exp2(x) if x.is_floating_point() else torch.exp2(x.double()).to(torch.int32)


def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(max(x, alpha), beta)."""
    return x.clamp(alpha, beta)


def threshold(x: Tensor, alpha: float) -> Tensor:
    """max(x, alpha)."""
    return x.clamp(min=alpha)


def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """1 / (x + epsilon)."""
    return torch.reciprocal(x + epsilon)


def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """The natural logarithm of x + epsilon."""
    return torch.log(x + epsilon)


def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + epsilon)


def cast(x: Tensor, dtype: str) -> Tensor:
    """`x` as `dtype`: floats become integers by truncation, anything but zero becomes true.

    The reference does not say what happens to a float that int32 cannot hold; here it saturates and NaN becomes 0, as
    in an ARM conversion. A narrower integer then wraps.
    """
    declared = numerics.TORCH_DTYPES[dtype]
    if x.is_floating_point() and numerics.carrier(declared) is torch.int32:
        x = torch.nan_to_num(x.double(), nan=0.0).clamp(-(2.0**31), 2.0**31 - 1)
    return x.to(numerics.carrier(declared))


KERNELS = (
    kernel(abs, exact=True),
    kernel(acos),
    kernel(asin),
    kernel(atan),
    kernel(atanh),
    kernel(ceil, exact=True),
    kernel(cos),
    kernel(cosh),
    kernel(erf),
    kernel(exp),
    kernel(floor, exact=True),
    kernel(round, exact=True),
    kernel(sign, exact=True),
    kernel(sin),
    kernel(sinh),
    kernel(sqrt),
    kernel(square),
    kernel(tan),
    kernel(tanh),
    kernel(logical_not, exact=True),
    kernel(exp2),
    kernel(clip),
    kernel(threshold),
    kernel(inverse),
    kernel(log),
    kernel(rsqrt),
    kernel(cast),
)
