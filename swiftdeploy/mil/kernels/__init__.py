"""One function an op, grouped and named as in Apple's MIL op reference.

A family is one module that ends with its `KERNELS`; it is known here as soon as `_FAMILIES` names it. Two of Apple's
families are large: `tensor_operation` continues in `suppression`, `tensor_transformation` in `slicing` and `blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from swiftdeploy.mil.kernels import (
    activation,
    blocks,
    classify,
    constexpr_ops,
    control_flow,
    conv,
    elementwise_binary,
    elementwise_unary,
    image_resizing,
    linear,
    normalization,
    pool,
    quantization_ops,
    random,
    recurrent,
    reduction,
    registry,
    scatter_gather,
    slicing,
    states,
    suppression,
    tensor_operation,
    tensor_transformation,
    transformers,
)

_FAMILIES: tuple[ModuleType, ...] = (
    activation,
    blocks,
    classify,
    constexpr_ops,
    control_flow,
    conv,
    elementwise_binary,
    elementwise_unary,
    image_resizing,
    linear,
    normalization,
    pool,
    quantization_ops,
    random,
    recurrent,
    reduction,
    scatter_gather,
    slicing,
    states,
    suppression,
    tensor_operation,
    tensor_transformation,
    transformers,
)

KERNELS: Mapping[str, tuple[registry.Kernel, ...]] = registry.index(family.KERNELS for family in _FAMILIES)


def lookup(op: str, opset: str) -> registry.Kernel | None:
    """The newest kernel of `op` that `opset` (such as "CoreML6") knows, or None."""
    return registry.newest(KERNELS.get(op, ()), opset)
