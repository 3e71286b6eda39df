"""One function an op, grouped and named as in Apple's MIL op reference.

A family is one module that ends with its `KERNELS`; it is known here as soon as `_FAMILIES` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from swiftdeploy.mil.kernels import (
    constexpr_ops,
    control_flow,
    image_resizing,
    quantization_ops,
    random,
    recurrent,
    registry,
    scatter_gather,
    states,
    transformers,
)

_FAMILIES: tuple[ModuleType, ...] = (
    constexpr_ops,
    control_flow,
    image_resizing,
    quantization_ops,
    random,
    recurrent,
    scatter_gather,
    states,
    transformers,
)

KERNELS: Mapping[str, tuple[registry.Kernel, ...]] = registry.index(family.KERNELS for family in _FAMILIES)


def lookup(op: str, opset: str) -> registry.Kernel | None:
    """The newest kernel of `op` that `opset` (such as "CoreML6") knows, or None."""
    return registry.newest(KERNELS.get(op, ()), opset)
