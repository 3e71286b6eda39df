"""Activations: one value in, one value out, the same shape. Source: Apple's MIL op reference, `activation`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(x, beta) where x >= 0, else min(alpha·x, beta)."""
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


def elu(x: Tensor, alpha: float) -> Tensor:
    """The value x where x > 0, else alpha·(e^x - 1)."""
    return torch.where(x > 0, x, alpha * torch.expm1(x))


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """x·Phi(x) with Phi by erf ("EXACT"), by tanh ("TANH_APPROXIMATION") or as sigmoid(1.702·x)."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in ("EXACT", "TANH_APPROXIMATION"):
        raise ValueError(f"gelu has no mode {mode!r}")
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """The value x where x >= 0, else alpha·x."""
    return F.leaky_relu(x, alpha)


def linear_activation(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha·x + beta."""
    return alpha * x + beta


def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """The value x where x > 0, else alpha_c·x, with one alpha a channel (axis 1)."""
    return F.prelu(x, alpha)


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return F.relu6(x)


def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha·tanh(beta·x)."""
    return alpha * torch.tanh(beta * x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return torch.sigmoid(x)


def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(max(alpha·x + beta, 0), 1)."""
    return (alpha * x + beta).clamp(0.0, 1.0)


def silu(x: Tensor) -> Tensor:
    """x·sigmoid(x)."""
    return F.silu(x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), written so that a large x does not overflow."""
    return torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)


def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """alpha_c·log(1 + e^(beta_c·x)), with one alpha and one beta a channel (axis 1)."""
    shape = (-1, *(1,) * (x.ndim - 2))
    return alpha.reshape(shape) * softplus(beta.reshape(shape) * x)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x divided by its sum along `axis`."""
    return torch.softmax(x, axis)


def softsign(x: Tensor) -> Tensor:
    """X / (1 + |x|)."""
    return F.softsign(x)


def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """The value x where x >= alpha, else 0."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


KERNELS = (
    kernel(clamped_relu),
    kernel(elu),
    kernel(gelu),
    kernel(leaky_relu),
    kernel(linear_activation),
    kernel(prelu),
    kernel(relu, exact=True),
    kernel(relu6, exact=True),
    kernel(scaled_tanh),
    kernel(sigmoid),
    kernel(sigmoid_hard),
    kernel(silu),
    kernel(softplus),
    kernel(softplus_parametric),
    kernel(softmax),
    kernel(softsign),
    kernel(thresholded_relu, exact=True),
)
