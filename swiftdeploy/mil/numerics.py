"""The numerics policy, in one place: how a value that MIL declares in some dtype is carried, and when it is rounded.

* Floats travel as float32, whatever the program declares. A kernel computes in float32; the interpreter then rounds
  each output once to its declared dtype (`settle`). An fp32 program never pays for this.
* Integers travel as int32, those of 64 bits and uint32 as int64. A value that leaves the declared range wraps as two's
  complement does; what saturates by its own definition (`quantize`) clamps in its kernel. Kernels widen to int64 where
  torch wants indices.
* Booleans travel as bool.

This is Core ML's typed execution, not the Neural Engine's: accumulation there is narrower, and device truth comes from
a device. Knows torch and dtypes; knows no graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from swiftdeploy.mil.program import MAX_ELEMENTS

_FLOATS = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "fp64": torch.float64,
    "bf16": torch.bfloat16,
    "fp8e4m3fn": torch.float8_e4m3fn,
    "fp8e5m2": torch.float8_e5m2,
}
_INTEGERS = ("int4", "int8", "int16", "int32", "int64")
_UNSIGNED = ("uint1", "uint2", "uint3", "uint4", "uint6", "uint8", "uint16", "uint32")

# torch's stubs leave out the dtypes narrower than a byte, which is why these are looked up by name.
TORCH_DTYPES: dict[str, torch.dtype] = {
    "bool": torch.bool,
    **_FLOATS,
    **{name: getattr(torch, name) for name in (*_INTEGERS, *_UNSIGNED)},
}
_BITS: dict[torch.dtype, tuple[int, bool]] = {
    TORCH_DTYPES[name]: (int(name.removeprefix("u").removeprefix("int")), name in _INTEGERS)
    for name in (*_INTEGERS, *_UNSIGNED)
    if not name.endswith(("32", "64"))
}


def carrier(declared: torch.dtype) -> torch.dtype:
    """The dtype in which values that are declared as `declared` travel: float32, int32, int64 or bool."""
    if declared.is_floating_point:
        return torch.float32
    if declared in (torch.int64, TORCH_DTYPES["uint32"]):
        return torch.int64
    return torch.bool if declared is torch.bool else torch.int32


def integer_range(declared: torch.dtype) -> tuple[int, int]:
    """The least and the greatest value of an integer dtype, also of one narrower than a byte."""
    bits, signed = _BITS.get(declared, (32, True))
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def needs_settling(declared: torch.dtype) -> bool:
    """Whether a carried value may lie outside `declared`, so that `settle` has work to do."""
    if declared.is_floating_point:
        return declared not in (torch.float32, torch.float64)
    return declared in _BITS


def settle(value: Tensor, declared: torch.dtype) -> Tensor:
    """`value` rounded once to `declared` (to nearest even; overflow to infinity) or wrapped to it, and carried again.

    Any shape; a dtype that is not the carrier's is converted first, floats towards zero.
    """
    carried = value.to(carrier(declared))
    if not needs_settling(declared):
        return carried
    if declared.is_floating_point:
        return carried.to(declared).to(torch.float32)
    # Masking keeps the low bits of two's complement, also of a negative number.
    bits, signed = _BITS[declared]
    low = carried & ((1 << bits) - 1)
    return torch.where(low >= 1 << (bits - 1), low - (1 << bits), low) if signed else low


def bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape`, for a kernel whose result is as large as a value says. Raises ValueError above `MAX_ELEMENTS`."""
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"a tensor of shape {shape} is more than this runtime makes")
    return shape
