"""Normalisations, each computed in float32 as a whole. Source: Apple's MIL op reference, `normalization`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """gamma·(x - mean) / sqrt(variance + epsilon) + beta, by channel (axis 1)."""
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon)


def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Each channel of each item normalised by its own mean and (biased) variance over the spatial axes."""
    flat = x.flatten(2)
    shape = (-1, *(1,) * (x.ndim - 2))
    normal = F.layer_norm(flat, flat.shape[2:], eps=epsilon).reshape(x.shape)
    scaled = normal if gamma is None else normal * gamma.reshape(shape)
    return scaled if beta is None else scaled + beta.reshape(shape)


def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """X / sqrt(sum(x²) + epsilon), the sum over the last three axes."""
    total = (x * x).sum(dim=(-3, -2, -1), keepdim=True)
    return x / torch.sqrt(total + epsilon)


def layer_norm(
    x: Tensor,
    axes: tuple[int, ...] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """`x` normalised by mean and (biased) variance over `axes` (default: all).

    `gamma` and `beta` have the sizes of those axes, in ascending order of axis.
    """
    over = sorted({axis % x.ndim for axis in axes}) if axes else list(range(x.ndim))
    if over == list(range(x.ndim - len(over), x.ndim)):
        return F.layer_norm(x, [x.shape[axis] for axis in over], gamma, beta, epsilon)
    order = [axis for axis in range(x.ndim) if axis not in over] + over
    moved = x.permute(order)
    normal = F.layer_norm(moved, moved.shape[-len(over) :], gamma, beta, epsilon)
    return normal.permute([order.index(axis) for axis in range(x.ndim)])


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """X / (k + alpha / size · sum of squares of `size` neighbouring channels)^beta."""
    return F.local_response_norm(x, size, alpha, beta, k)


KERNELS = (
    kernel(batch_norm),
    kernel(instance_norm),
    kernel(l2_norm),
    kernel(layer_norm),
    kernel(local_response_norm),
)
